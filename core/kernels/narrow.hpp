// Sixteen floats out of, and into, the formats that take less room: bfloat16, half precision, steps of 4 bits; included
// once per instruction set, inside its namespace (no include guard, see vector.hpp).

// bfloat16: the upper half of a float, rounded to nearest even.
template <class T = V>
INLINE T load_bf16(const std::uint16_t* p) {
  if constexpr (sizeof(T) == register_bytes) {
    HN h;
    __builtin_memcpy(&h, p, sizeof h);
    return (T)(__builtin_convertvector(h, UN) << 16);
  } else {
    typedef decltype(T::low) Half;
    return {load_bf16<Half>(p), load_bf16<Half>(p + sizeof(Half) / 4)};
  }
}
INLINE void store_bf16(std::uint16_t* p, F v) {
  const UN u = (UN)v;
  const HN h = __builtin_convertvector((u + 0x7fff + ((u >> 16) & 1)) >> 16, HN);
  __builtin_memcpy(p, &h, sizeof h);
}
template <class H>
INLINE void store_bf16(std::uint16_t* p, const Two<H>& v) {
  store_bf16(p, v.low);
  store_bf16(p + sizeof(H) / 4, v.high);
}

// IEEE half precision, finite.
template <class T = V>
INLINE T load_f16(const std::uint16_t* p) {
  if constexpr (sizeof(T) == register_bytes) {
    HN h;
    __builtin_memcpy(&h, p, sizeof h);
#if defined(ESPALIER_AVX512)
    return (T)_mm512_cvtph_ps((__m256i)h);
#elif defined(ESPALIER_AVX2)
    return (T)_mm256_cvtph_ps((__m128i)h);
#else
    const UN u = __builtin_convertvector(h, UN);
    const T size = (T)((u & 0x7fffu) << 13) * 0x1p112f;
    return (T)((UN)size | ((u & 0x8000u) << 16));
#endif
  } else {
    typedef decltype(T::low) Half;
    return {load_f16<Half>(p), load_f16<Half>(p + sizeof(Half) / 4)};
  }
}

// Sixteen numbers as steps of 4 bits above the least of them: digits of lanes 0 to 7 in the low halves of eight bytes,
// of lanes 8 to 15 in the high ones; then the least and the step in bfloat16. What a step is too coarse for is off by
// half of it at most, and by the rounding of the two.
INLINE float from_bf16(std::uint16_t h) {
  const std::uint32_t u = std::uint32_t{h} << 16;
  float f;
  __builtin_memcpy(&f, &u, 4);
  return f;
}
INLINE V load_i4(const std::uint8_t* p) {
  std::uint16_t scale[2];
  __builtin_memcpy(scale, p + 8, 4);
  alignas(64) std::int32_t digits[16];
  for (int i = 0; i < 8; ++i) digits[i] = p[i] & 15, digits[i + 8] = p[i] >> 4;
  return fma(to_floats(load(digits)), splat(from_bf16(scale[1])), splat(from_bf16(scale[0])));
}
INLINE void store_i4(std::uint8_t* p, const V& v) {
  const float low = -greatest(-v), step = (greatest(v) - low) / 15.0f;
  alignas(64) float pair[16] = {low, step};
  std::uint16_t scale[16];
  store_bf16(scale, load(pair));
  const float from = from_bf16(scale[0]), by = from_bf16(scale[1]);
  const V digit = by > 0 ? vmin(vmax((v - splat(from)) / splat(by), splat(0.0f)), splat(15.0f)) : splat(0.0f);
  alignas(64) std::int32_t whole[16];
  store(whole, to_whole(digit + splat(0.5f)));
  std::uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(whole[i] | whole[i + 8] << 4);
  __builtin_memcpy(p, bytes, 8), __builtin_memcpy(p + 8, scale, 4);
}
