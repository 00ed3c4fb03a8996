// Products of weights in whole numbers (int8, int4, q8) with inputs in whole numbers of two digits; included once per
// instruction set, inside its namespace (no include guard, see vector.hpp). Sums of a group are integers, and exact:
// they may be added up in any order.

// acc + four products of an unsigned weight with a signed input each.
#if defined(ESPALIER_AVX512)
INLINE I dot_i8(const I& acc, const I& weights, const I& x) {
  return (I)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)weights, (__m512i)x);
}
#endif

// Weights of 4 bits lie two in a byte, those of the group's first half in the low digits.
template <int half>
INLINE I digits(const I& bytes) {
  if constexpr (half == 0) return bytes & splat(0x0f0f0f0f);
  return (bytes >> 4) & splat(0x0f0f0f0f);
}

// An input is scale * a whole number of 14 bits besides the sign, so that what rounded weights cost in exactness is
// what their own rounding costs. Sums `count` quads of inputs with bytes of weights into `whole`. With avx512 an input
// is 128 * high + low, both digits in 8 bits, and the high ones are done first; elsewhere it is one number of 16 bits,
// the even ones in one line and the odd ones in the next. Integers are exact either way.
template <int R, int W, bool fetching, class Bytes>
INLINE void multiply_whole(const std::byte* weights, const std::int32_t* x, int count, Fetch& f, const Bytes& bytes,
                           I (&whole)[R][W]) {
  const std::int32_t* w = reinterpret_cast<const std::int32_t*>(weights);
#if defined(ESPALIER_AVX512)
#pragma GCC unroll 2
  for (int quad = 0; quad < count; ++quad, w += panel_width) {
    if constexpr (fetching) fetch(f);
    I a[W];
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) a[i] = bytes(load(w + 16 * i));
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const I s = splat(x[r * 16 + quad]);
#pragma GCC unroll 2
      for (int i = 0; i < W; ++i) whole[r][i] = dot_i8(whole[r][i], a[i], s);
    }
  }
#else
  const I low = splat(0x00ff00ff);
  for (int quad = 0; quad < count; ++quad, w += panel_width) {
    if constexpr (fetching) fetch(f);
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) {
      const I a = bytes(load(w + 16 * i)), even = a & low, odd = shift_words(a, 8);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        whole[r][i] = add_pairs(whole[r][i], even, splat(x[r * 16 + quad]));
        whole[r][i] = add_pairs(whole[r][i], odd, splat(x[R * 16 + r * 16 + quad]));
      }
    }
  }
#endif
}

// The same for all digits of the inputs. Of few rows both digits are done at once, so that weights are taken apart once
// and more sums grow side by side.
template <int R, int W, bool fetching = true, class Bytes>
INLINE void multiply_group(const std::byte* weights, const std::int32_t* x, int count, Fetch& f, const Bytes& bytes,
                           I (&whole)[R][W]) {
  clear(whole);
#if defined(ESPALIER_AVX512)
  if constexpr (R <= few_rows) {
    const std::int32_t* w = reinterpret_cast<const std::int32_t*>(weights);
    I high[R][W];
    clear(high);
#pragma GCC unroll 2
    for (int quad = 0; quad < count; ++quad, w += panel_width) {
      if constexpr (fetching) fetch(f);
      I a[W];
#pragma GCC unroll 2
      for (int i = 0; i < W; ++i) a[i] = bytes(load(w + 16 * i));
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const I first = splat(x[r * 16 + quad]), second = splat(x[(R + r) * 16 + quad]);
#pragma GCC unroll 2
        for (int i = 0; i < W; ++i) {
          high[r][i] = dot_i8(high[r][i], a[i], first);
          whole[r][i] = dot_i8(whole[r][i], a[i], second);
        }
      }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
      for (int i = 0; i < W; ++i) whole[r][i] += high[r][i] << 7;
    return;
  }
#endif
  multiply_whole<R, W, fetching>(weights, x, count, f, bytes, whole);
#if defined(ESPALIER_AVX512)
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) whole[r][i] = whole[r][i] << 7;
  multiply_whole<R, W, false>(weights, x + R * 16, count, f, bytes, whole);
#endif
}

// A group of int8. Weights are stored as w + 128; the 128 times the sum of the inputs is taken off again.
template <int R, int W>
INLINE void multiply_i8(const Block& b, Fetch& f) {
  I whole[R][W];
  multiply_group(
      b.weights, reinterpret_cast<const std::int32_t*>(b.inputs), group_width / 4, f, [](const I& w) { return w; },
      whole);
  fetch(f);  // the scales
  const float* scales = reinterpret_cast<const float*>(b.weights + group_width * panel_width);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    const V s = splat(b.scales[r * b.stride]);
    const I offset = splat(-128 * (b.offsets[2 * r * b.stride] + b.offsets[2 * r * b.stride + 1]));
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) {
      float* at = b.sums + r * panel_width + 16 * i;
      store(at, fma(to_floats(whole[r][i] + offset), load(scales + 16 * i) * s, load(at)));
    }
  }
}

// Half a group of q8 or int4. There a weight is scale * digit + least: the least is multiplied with the sum of the
// inputs.
template <Kind kind, int half, int R, int W>
INLINE void multiply_half(const Block& b, Fetch& f) {
  constexpr bool is_i4 = kind == Kind::i4;
  constexpr int bytes = group_width * panel_width / (is_i4 ? 2 : 1);  // of the group's weights
  const std::int32_t* inputs = reinterpret_cast<const std::int32_t*>(b.inputs) + 8 * half;
  I whole[R][W];
  if constexpr (is_i4) {
    multiply_group<R, W, half == 0>(
        b.weights, inputs, group_width / 8, f, [](const I& w) { return digits<half>(w); }, whole);
  } else {
    multiply_group(b.weights + half * bytes / 2, inputs, group_width / 8, f, [](const I& w) { return w; }, whole);
  }
  const auto* scales =
      reinterpret_cast<const std::uint16_t*>(b.weights + bytes + (b.right ? -64 + 32 : 0)) + half * panel_width;
#pragma GCC unroll 2
  for (int i = 0; i < W; ++i) {
    const V scale = load_f16(scales + 16 * i), least = is_i4 ? load_f16(scales + 2 * panel_width + 16 * i) : V{};
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const float s = b.scales[r * b.stride];
      const std::int32_t total = b.offsets[2 * r * b.stride + half];
      float* at = b.sums + r * panel_width + 16 * i;
      if constexpr (is_i4) {
        const V so_far = fma(to_floats(whole[r][i]), scale * splat(s), load(at));
        store(at, fma(least, splat(s * static_cast<float>(total)), so_far));
      } else {
        store(at, fma(to_floats(whole[r][i] + splat(-128 * total)), scale * splat(s), load(at)));
      }
    }
  }
}
template <Kind kind, int R, int W>
INLINE void multiply_halves(const Block& b, Fetch& f) {
  multiply_half<kind, 0, R, W>(b, f);
  multiply_half<kind, 1, R, W>(b, f);
  fetch(f);  // scales
  if constexpr (kind == Kind::i4) fetch(f);
}
