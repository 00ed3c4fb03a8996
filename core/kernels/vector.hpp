// Sixteen floats at once, as so many registers as the instruction set needs for them; included once per instruction
// set, inside its namespace (no include guard: each kernels_*.cpp includes it under another target).
//
// A register is a vector of GCC's and Clang's extension; V and I are one of them (avx512), two (avx2) or four. A vector
// wider than a register would be kept in memory by the compiler. Multiplication and addition are fused only where `fma`
// says so, so that every tile size rounds alike.

#define INLINE inline __attribute__((always_inline))

#if defined(ESPALIER_AVX512)
constexpr int register_bytes = 64;
#elif defined(ESPALIER_AVX2)
constexpr int register_bytes = 32;
#else
constexpr int register_bytes = 16;
#endif

typedef float F __attribute__((vector_size(register_bytes)));
typedef std::int32_t N __attribute__((vector_size(register_bytes)));
typedef std::uint32_t UN __attribute__((vector_size(register_bytes)));
typedef std::uint16_t HN __attribute__((vector_size(register_bytes / 2)));

template <class H>
struct Two {
  H low, high;
};
template <class H>
Two(H, H) -> Two<H>;

#if defined(ESPALIER_AVX512)
typedef F V;
typedef N I;
#elif defined(ESPALIER_AVX2)
typedef Two<F> V;
typedef Two<N> I;
#else
typedef Two<Two<F> > V;
typedef Two<Two<N> > I;
#endif

#define LANEWISE(op)                                          \
  template <class H>                                          \
  INLINE auto operator op(const Two<H>& a, const Two<H>& b) { \
    return Two{a.low op b.low, a.high op b.high};             \
  }
LANEWISE(+)
LANEWISE(-)
LANEWISE(*)
LANEWISE(/)
LANEWISE(&)
LANEWISE(|)
LANEWISE(>)
LANEWISE(<)
LANEWISE(>=)
#undef LANEWISE
template <class H>
INLINE Two<H> operator<<(const Two<H>& a, int n) {
  return {a.low << n, a.high << n};
}
template <class H>
INLINE Two<H> operator>>(const Two<H>& a, int n) {
  return {a.low >> n, a.high >> n};
}
template <class H>
INLINE Two<H>& operator+=(Two<H>& a, const Two<H>& b) {
  a.low += b.low, a.high += b.high;
  return a;
}
template <class H>
INLINE Two<H> operator-(const Two<H>& a) {
  return {-a.low, -a.high};
}

template <class T>
INLINE T load_as(const void* p) {
  if constexpr (sizeof(T) == register_bytes) {
    T v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  } else {
    typedef decltype(T::low) Half;
    return {load_as<Half>(p), load_as<Half>(static_cast<const char*>(p) + sizeof(Half))};
  }
}
template <class T>
INLINE void store_as(void* p, const T& v) {
  if constexpr (sizeof(T) == register_bytes) {
    __builtin_memcpy(p, &v, sizeof v);
  } else {
    store_as(p, v.low);
    store_as(static_cast<char*>(p) + sizeof v.low, v.high);
  }
}
template <class T, class S>
INLINE T splat_as(S s) {
  if constexpr (sizeof(T) == register_bytes) {
    return s - T{};  // every lane; the compiler makes one broadcast of it
  } else {
    const auto half = splat_as<decltype(T::low)>(s);
    return {half, half};
  }
}
INLINE V load(const float* p) { return load_as<V>(p); }
INLINE I load(const std::int32_t* p) { return load_as<I>(p); }
INLINE void store(float* p, const V& v) { store_as(p, v); }
INLINE void store(std::int32_t* p, const I& v) { store_as(p, v); }
INLINE V splat(float f) { return splat_as<V>(f); }
INLINE I splat(std::int32_t i) { return splat_as<I>(i); }

// What is done register by register: `f` of the registers of one, two or three vectors.
#define LIFT(name)                               \
  template <class... H>                          \
  INLINE auto name(const Two<H>&... v) {         \
    return Two{name(v.low...), name(v.high...)}; \
  }

INLINE F fma(F a, F b, F c) {
#if defined(ESPALIER_AVX512)
  return (F)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(ESPALIER_AVX2)
  return (F)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (F)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}
LIFT(fma)

INLINE F vmax(F a, F b) { return a > b ? a : b; }
INLINE F vmin(F a, F b) { return a < b ? a : b; }
INLINE F pick(N mask, F yes, F no) { return mask ? yes : no; }
INLINE F as_floats(N bits) { return (F)bits; }
INLINE N as_words(F v) { return (N)v; }
INLINE F to_floats(N whole) { return __builtin_convertvector(whole, F); }
INLINE N to_whole(F v) { return __builtin_convertvector(v, N); }  // towards zero
LIFT(vmax)
LIFT(vmin)
LIFT(pick)
LIFT(as_floats)
LIFT(as_words)
LIFT(to_floats)
LIFT(to_whole)

// acc + for each lane the sum of the products of its two halves of 16 bits, signed.
INLINE N add_pairs(N acc, N a, N b) {
#if defined(ESPALIER_AVX512)
  return (N)_mm512_dpwssd_epi32((__m512i)acc, (__m512i)a, (__m512i)b);
#elif defined(ESPALIER_AVX2)
  return acc + (N)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__aarch64__)
  const int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
  return acc + (N)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
#elif defined(__SSE2__)
  return acc + (N)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  return acc + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}
LIFT(add_pairs)

// The lanes of 16 bits moved right, zeros from the left.
INLINE N shift_words(N v, int by) {
  typedef std::uint16_t W __attribute__((vector_size(register_bytes)));
  return (N)((W)v >> static_cast<std::uint16_t>(by));
}
template <class H>
INLINE Two<H> shift_words(const Two<H>& v, int by) {
  return {shift_words(v.low, by), shift_words(v.high, by)};
}

INLINE bool any(N mask) {
#if defined(ESPALIER_AVX512)
  return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(ESPALIER_AVX2)
  return _mm256_testz_si256((__m256i)mask, (__m256i)mask) == 0;
#else
  std::uint64_t word[register_bytes / 8], all = 0;
  __builtin_memcpy(word, &mask, sizeof word);
  for (std::uint64_t w : word) all |= w;
  return all != 0;
#endif
}
template <class H>
INLINE bool any(const Two<H>& mask) {
  return any(mask.low | mask.high);
}

// Lane by lane 0 to 15.
INLINE I lanes() {
  alignas(64) static constexpr std::int32_t numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return load(numbers);
}

// The sum (the greatest) of the sixteen, always in the same order: of lanes that lie 8, 4, 2, 1 apart.
typedef float Quarter __attribute__((vector_size(16)));
struct Quarters {
  Quarter q[4];
  INLINE explicit Quarters(const V& v) {
    alignas(64) float all[16];
    store(all, v);
    for (int i = 0; i < 4; ++i) __builtin_memcpy(&q[i], all + 4 * i, 16);
  }
};
INLINE float sum(const V& v) {
  const Quarters of(v);
  const Quarter four = (of.q[0] + of.q[2]) + (of.q[1] + of.q[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
}
INLINE float greatest(const V& v) {
  const Quarters of(v);
  const Quarter a = of.q[0] > of.q[2] ? of.q[0] : of.q[2], b = of.q[1] > of.q[3] ? of.q[1] : of.q[3],
                four = a > b ? a : b;
  const float x = four[0] > four[2] ? four[0] : four[2], y = four[1] > four[3] ? four[1] : four[3];
  return x > y ? x : y;
}

// e^x to about one unit in the last place: x = n ln 2 + r, a polynomial in r, n added to the exponent. For x from -87.3
// to 88 only.
INLINE V exp_within(const V& x) {
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
  return as_floats(as_words(p) + ((as_words(shifted) - as_words(magic)) << 23));
}
INLINE V exp(const V& x) { return exp_within(vmin(vmax(x, splat(-87.3f)), splat(88.0f))); }
INLINE V tanh(const V& x) { return splat(1.0f) - splat(2.0f) / (exp(x + x) + splat(1.0f)); }
INLINE V silu(const V& x) { return x / (splat(1.0f) + exp(-x)); }
INLINE V gelu(const V& x) {
  const V inner = splat(0.7978845608f) * fma(splat(0.044715f) * x * x, x, x);
  return splat(0.5f) * x * (splat(1.0f) + tanh(inner));
}
