// Sixteen floats at once, in GCC's and Clang's vector extension; included once per instruction set, inside its namespace.
// No include guard: each kernels_*.cpp includes it under another target. Multiplication and addition are fused only where `fma`
// says so, so that every tile size rounds alike.

#define INLINE inline __attribute__((always_inline))

typedef float V __attribute__((vector_size(64)));
typedef std::int32_t I __attribute__((vector_size(64)));
typedef std::uint32_t U __attribute__((vector_size(64)));
typedef std::uint16_t H __attribute__((vector_size(32)));

INLINE V load(const float* p) {
  V v;
  __builtin_memcpy(&v, p, 64);
  return v;
}
INLINE void store(float* p, V v) { __builtin_memcpy(p, &v, 64); }
INLINE V splat(float f) { return V{f, f, f, f, f, f, f, f, f, f, f, f, f, f, f, f}; }
INLINE I splat(std::int32_t i) { return I{i, i, i, i, i, i, i, i, i, i, i, i, i, i, i, i}; }

INLINE V fma(V a, V b, V c) {
#if defined(ESPALIER_AVX512)
  return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(ESPALIER_AVX2)
  typedef float Half __attribute__((vector_size(32)));
  Half x[2], y[2], z[2];
  __builtin_memcpy(x, &a, 64), __builtin_memcpy(y, &b, 64), __builtin_memcpy(z, &c, 64);
  z[0] = (Half)_mm256_fmadd_ps((__m256)x[0], (__m256)y[0], (__m256)z[0]);
  z[1] = (Half)_mm256_fmadd_ps((__m256)x[1], (__m256)y[1], (__m256)z[1]);
  __builtin_memcpy(&c, z, 64);
  return c;
#else
  return a * b + c;
#endif
}

INLINE V vmax(V a, V b) { return a > b ? a : b; }

// The sum (the greatest) of the sixteen, always in the same order.
INLINE float sum(V v) {
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; ++i) v[i] += v[i + half];
  return v[0];
}
INLINE float greatest(V v) {
  float m = v[0];
  for (int i = 1; i < 16; ++i) m = v[i] > m ? v[i] : m;
  return m;
}

// Lane j of the answer is the sum of v[j]: a tree over lanes that lie 8, 4, 2, 1 apart, the same for every j.
INLINE V sums(V (&v)[16]) {
  for (int i = 0; i < 8; ++i)
    v[i] = __builtin_shufflevector(v[i], v[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
           __builtin_shufflevector(v[i], v[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  for (int i = 0; i < 4; ++i)
    v[i] = __builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
           __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
  for (int i = 0; i < 2; ++i)
    v[i] = __builtin_shufflevector(v[i], v[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
           __builtin_shufflevector(v[i], v[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
  return __builtin_shufflevector(v[0], v[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
         __builtin_shufflevector(v[0], v[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}

// e^x to about one unit in the last place: x = n ln 2 + r, a polynomial in r, n added to the exponent.
INLINE V exp(V x) {
  x = vmax(x, splat(-87.3f));
  x = x < splat(88.0f) ? x : splat(88.0f);
  const V magic = splat(12582912.0f);
  const V shifted = fma(x, splat(1.44269504f), magic);
  const V n = shifted - magic;
  V r = fma(n, splat(-0.693359375f), x);
  r = fma(n, splat(2.12194440e-4f), r);
  V p = splat(1.9875691500e-4f);
  p = fma(p, r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r + splat(1.0f));
  return (V)((I)p + (((I)shifted - (I)magic) << 23));
}
INLINE V tanh(V x) { return splat(1.0f) - splat(2.0f) / (exp(x + x) + splat(1.0f)); }
INLINE V silu(V x) { return x / (splat(1.0f) + exp(-x)); }
INLINE V gelu(V x) {
  const V inner = splat(0.7978845608f) * fma(splat(0.044715f) * x * x, x, x);
  return splat(0.5f) * x * (splat(1.0f) + tanh(inner));
}

// bfloat16: the upper half of a float, rounded to nearest even.
INLINE V load_bf16(const std::uint16_t* p) {
  H h;
  __builtin_memcpy(&h, p, 32);
  return (V)(__builtin_convertvector(h, U) << 16);
}
INLINE H to_bf16(V v) {
  const U u = (U)v;
  return __builtin_convertvector((u + 0x7fff + ((u >> 16) & 1)) >> 16, H);
}
INLINE void store_bf16(std::uint16_t* p, V v) {
  const H h = to_bf16(v);
  __builtin_memcpy(p, &h, 32);
}

// Sixteen numbers as steps of 4 bits above the least of them: digits of lanes 0 to 7 in the low halves of eight bytes, of lanes 8
// to 15 in the high ones; then the least and the step in bfloat16. What a step is too coarse for is off by half of it at most,
// and by the rounding of the two.
typedef std::uint8_t Bytes __attribute__((vector_size(8)));

INLINE float from_bf16(std::uint16_t h) {
  const std::uint32_t u = std::uint32_t{h} << 16;
  float f;
  __builtin_memcpy(&f, &u, 4);
  return f;
}
INLINE V load_i4(const std::uint8_t* p) {
  Bytes digits;
  std::uint16_t scale[2];
  __builtin_memcpy(&digits, p, 8), __builtin_memcpy(scale, p + 8, 4);
  const auto all = __builtin_shufflevector(digits & 15, digits >> 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return fma(__builtin_convertvector(__builtin_convertvector(all, I), V), splat(from_bf16(scale[1])), splat(from_bf16(scale[0])));
}
INLINE void store_i4(std::uint8_t* p, V v) {
  const float low = -greatest(-v), step = (greatest(v) - low) / 15.0f;
  const H rounded = to_bf16(V{low, step});
  const std::uint16_t scale[2] = {rounded[0], rounded[1]};
  const float from = from_bf16(scale[0]), by = from_bf16(scale[1]);
  V digit = by > 0 ? vmax((v - splat(from)) / splat(by), splat(0.0f)) : splat(0.0f);
  digit = digit < splat(15.0f) ? digit : splat(15.0f);
  const I whole = __builtin_convertvector(digit + splat(0.5f), I);
  std::uint8_t bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(whole[i] | whole[i + 8] << 4);
  __builtin_memcpy(p, bytes, 8), __builtin_memcpy(p + 8, scale, 4);
}
