// Rows that look at one layer, and their keys and values turned for them, block by block; included once per
// instruction set, inside its namespace (no include guard, see vector.hpp). What for: see attention.hpp.

constexpr float lowest = -3e38f;  // for -inf, of which differences are not numbers

// Keys, values and what they are multiplied with are words of 4 bytes: a float, or two bf16 whose products are added.
#if defined(ESPALIER_AVX512)
constexpr bool can_pair = true;
#else
constexpr bool can_pair = false;
#endif

template <bool pairs>
INLINE V add_product(const I& word, const I& by, const V& acc) {
  if constexpr (pairs) return dot_bf16(acc, word, by);
  return fma(as_floats(word), as_floats(by), acc);
}

// A row of a group: what it sees, and where its queries, weights and answer are.
struct Viewer {
  const std::int32_t* slots;  // of positions 0, 1, … up to `known`
  int first, end, known;      // it sees positions first … end - 1
  const std::int32_t* q;      // words
  float *scores, *part;       // per head: a stretch of scores, then weights; its mix of the stretch
  float most[heads_together], total[heads_together];

  bool sees(int from, int to) const { return from < end && to > first; }
};

// What some heads of a group of rows see of one layer.
struct Group {
  const void *keys, *values;
  std::size_t width, at;  // of a slot; where these heads' keys and values begin in it
  int heads, dim;
  float cap;
  Viewer* rows;
  int count;
  std::int32_t* turned;  // a block of keys or values
  std::int32_t slots[at_once];

  std::size_t place(int i) const { return static_cast<std::size_t>(slots[i]) * width + at; }
};

// Sixteen keys or values from number `at` on, a multiple of sixteen.
template <Kept kept>
INLINE V load_kv(const void* base, std::size_t at) {
  if constexpr (kept == Kept::f32) return load(static_cast<const float*>(base) + at);
  if constexpr (kept == Kept::bf16) return load_bf16(static_cast<const std::uint16_t*>(base) + at);
  return load_i4(static_cast<const std::uint8_t*>(base) + at / 16 * i4_bytes);
}

// The bytes of so many numbers of keys or values, a multiple of sixteen.
template <Kept kept>
constexpr std::size_t bytes_of(std::size_t count) {
  return kept == Kept::f32 ? 4 * count : kept == Kept::bf16 ? 2 * count : count / 16 * i4_bytes;
}

template <Kept kept>
INLINE void store_kv(void* base, std::size_t at, const V& v) {
  if constexpr (kept == Kept::f32) return store(static_cast<float*>(base) + at, v);
  if constexpr (kept == Kept::bf16) return store_bf16(static_cast<std::uint16_t*>(base) + at, v);
  store_i4(static_cast<std::uint8_t*>(base) + at / 16 * i4_bytes, v);
}

// A square of words turned: the words number i of all vectors become vector i.
constexpr int square = register_bytes / 4;
#if defined(ESPALIER_AVX512)
#define SHUFFLE(name, ...) \
  INLINE N name(N a, N b) { return __builtin_shufflevector(a, b, __VA_ARGS__); }
SHUFFLE(low_words, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
SHUFFLE(high_words, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
SHUFFLE(low_pairs, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
SHUFFLE(high_pairs, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
SHUFFLE(even_quarters, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
SHUFFLE(odd_quarters, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#elif defined(ESPALIER_AVX2)
#define SHUFFLE(name, ...) \
  INLINE N name(N a, N b) { return __builtin_shufflevector(a, b, __VA_ARGS__); }
SHUFFLE(low_words, 0, 8, 1, 9, 4, 12, 5, 13)
SHUFFLE(high_words, 2, 10, 3, 11, 6, 14, 7, 15)
SHUFFLE(low_pairs, 0, 1, 8, 9, 4, 5, 12, 13)
SHUFFLE(high_pairs, 2, 3, 10, 11, 6, 7, 14, 15)
SHUFFLE(even_quarters, 0, 1, 2, 3, 8, 9, 10, 11)
SHUFFLE(odd_quarters, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define SHUFFLE(name, ...) \
  INLINE N name(N a, N b) { return __builtin_shufflevector(a, b, __VA_ARGS__); }
SHUFFLE(low_words, 0, 4, 1, 5)
SHUFFLE(high_words, 2, 6, 3, 7)
SHUFFLE(low_pairs, 0, 1, 4, 5)
SHUFFLE(high_pairs, 2, 3, 6, 7)
#endif
#undef SHUFFLE

INLINE void turn_square(N (&v)[square]) {
  N t[square];
#pragma GCC unroll 8
  for (int i = 0; i < square; i += 2) {
    t[i] = low_words(v[i], v[i + 1]);
    t[i + 1] = high_words(v[i], v[i + 1]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < square; i += 4)  // v[i + c]: words c, c + 4, … of vectors i to i + 3
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      v[i + 2 * j] = low_pairs(t[i + j], t[i + j + 2]);
      v[i + 2 * j + 1] = high_pairs(t[i + j], t[i + j + 2]);
    }
#if defined(ESPALIER_AVX512)
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const N even = even_quarters(v[c], v[c + 4]), odd = odd_quarters(v[c], v[c + 4]);
    const N even_too = even_quarters(v[c + 8], v[c + 12]), odd_too = odd_quarters(v[c + 8], v[c + 12]);
    t[c] = even_quarters(even, even_too);
    t[c + 4] = even_quarters(odd, odd_too);
    t[c + 8] = odd_quarters(even, even_too);
    t[c + 12] = odd_quarters(odd, odd_too);
  }
#pragma GCC unroll 16
  for (int i = 0; i < square; ++i) v[i] = t[i];
#elif defined(ESPALIER_AVX2)
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    t[c] = even_quarters(v[c], v[c + 4]);
    t[c + 4] = odd_quarters(v[c], v[c + 4]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < square; ++i) v[i] = t[i];
#endif
}

// turned[32 * k + i]: word k of key i. In bfloat16 words are turned before they are taken apart: half the work.
template <Kept kept, bool pairs>
INLINE void turn_keys(const Group& g, int dim) {
  const int step = kept == Kept::bf16 ? 2 * square : square;
  alignas(64) float apart[square * 16];
  for (int i = 0; i < at_once; i += square)
    for (int k = 0; k < dim; k += kept == Kept::i4 ? 16 : step) {
      if constexpr (kept == Kept::i4) {
        for (int j = 0; j < square; ++j) store(apart + 16 * j, load_kv<kept>(g.keys, g.place(i + j) + k));
        for (int part = 0; part < 16; part += square) {
          N v[square];
          for (int j = 0; j < square; ++j) __builtin_memcpy(&v[j], apart + 16 * j + part, sizeof(N));
          turn_square(v);
          for (int j = 0; j < square; ++j) __builtin_memcpy(g.turned + (k + part + j) * at_once + i, &v[j], sizeof(N));
        }
      } else {
        const int size = kept == Kept::f32 ? 4 : 2;
        N v[square];
#pragma GCC unroll 16
        for (int j = 0; j < square; ++j) {
          const std::byte* key = static_cast<const std::byte*>(g.keys) + (g.place(i + j) + k) * size;
          if (step > 16 && k + step > dim) {  // dimensions come in sixteens
            v[j] = N{};
            __builtin_memcpy(&v[j], key, sizeof(N) / 2);
          } else {
            __builtin_memcpy(&v[j], key, sizeof(N));
          }
        }
        turn_square(v);
#pragma GCC unroll 16
        for (int j = 0; j < square; ++j) {
          if constexpr (kept == Kept::f32 || pairs) {
            __builtin_memcpy(g.turned + (k / (pairs ? 2 : 1) + j) * at_once + i, &v[j], sizeof(N));
          } else {
            const N even = v[j] << 16, odd = v[j] & static_cast<std::int32_t>(0xffff0000);
            __builtin_memcpy(g.turned + (k + 2 * j) * at_once + i, &even, sizeof(N));
            __builtin_memcpy(g.turned + (k + 2 * j + 1) * at_once + i, &odd, sizeof(N));
          }
        }
      }
    }
}

// turned[dim * j + k]: number k of value j, of values 2 j and 2 j + 1 in pairs.
template <Kept kept, bool pairs>
INLINE void turn_values(const Group& g, int dim) {
  std::int32_t* const turned = g.turned;
  if constexpr (pairs) {
#if defined(ESPALIER_AVX512)
    if (dim % 32 == 0) {
      typedef std::uint16_t Words __attribute__((vector_size(64)));
      const auto* values = static_cast<const std::uint16_t*>(g.values);
      for (int j = 0; j < at_once / 2; ++j) {
        const std::uint16_t *first = values + g.place(2 * j), *second = values + g.place(2 * j + 1);
        for (int k = 0; k < dim; k += 32) {
          const Words a = load_as<Words>(first + k), b = load_as<Words>(second + k);
          store(turned + j * dim + k,
                (I)__builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41,
                                           10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47));
          store(turned + j * dim + k + 16,
                (I)__builtin_shufflevector(a, b, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56,
                                           25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63));
        }
      }
      return;
    }
#endif
    for (int j = 0; j < at_once / 2; ++j)
      for (int k = 0; k < dim; k += 16) {
        const I even = as_words(load_kv<kept>(g.values, g.place(2 * j) + k)),
                odd = as_words(load_kv<kept>(g.values, g.place(2 * j + 1) + k));
        store(turned + j * dim + k, (even >> 16 & splat(0xffff)) | odd);
      }
  } else {
    for (int j = 0; j < at_once; ++j)
      for (int k = 0; k < dim; k += 16) store(turned + j * dim + k, as_words(load_kv<kept>(g.values, g.place(j) + k)));
  }
}
