// A block of a packed panel times a tile of rows, in registers, for each kind of weights; included once per instruction
// set, inside its namespace (no include guard, see vector.hpp).
//
// A tile is `R` rows by `W` vectors of outputs, as many as the registers hold beside the weights. The products of a
// block are added up there in one fixed order and only then added to the sums in memory: see gemm.hpp.

constexpr int ahead =
    2048;  // bytes of a panel fetched before they are used; the hardware's own prefetcher stops at page ends
constexpr int rows_at_once = 96;  // whose sums are held beside a panel
constexpr int few_rows = 4;       // of whole numbers with avx512: the sums of both digits fit into the registers

// How many rows fit into the registers beside the weights, and whether they take a whole panel (32 outputs) or half of
// it.
#if defined(ESPALIER_AVX512)
constexpr int tallest = tile_rows, narrow_from = 99;
#elif defined(ESPALIER_AVX2) || defined(__aarch64__)
constexpr int tallest = 6, narrow_from = 4;
#else
constexpr int tallest = 3, narrow_from = 2;
#endif

// bfloat16 is multiplied in pairs where there is an instruction for it; elsewhere the inputs stay float32.
#if defined(ESPALIER_AVX512)
constexpr bool bf16_pairs = true;
#else
constexpr bool bf16_pairs = false;
#endif

constexpr int block = 128;  // inputs whose products are added up in registers
constexpr int blocks =
    register_bytes == 64 ? 1 << 20 : 1;  // done with a tile before the next: wide registers leave time to read again

constexpr int inputs_of_block(Kind kind) { return kind == Kind::f32 || kind == Kind::bf16 ? block : group_width; }
constexpr int bytes_of_input(Kind kind) { return kind == Kind::f32 || (kind == Kind::bf16 && !bf16_pairs) ? 4 : 2; }

// What is brought into the cache while a tile is multiplied. A single tile streams its panel: the fetch runs `ahead` of
// it. Where several tiles share a panel, only the first would wait for memory and the others would leave it idle, so
// each of them fetches its part of the panel after this one, no nearer than the second level.
struct Fetch {
  const std::byte* at;
  int step;  // bytes for each 128 bytes of weights: 128, or 128 / number of times that they are read
};

INLINE void fetch(Fetch& f) {
  if (f.step == 128) {
    __builtin_prefetch(f.at);
    __builtin_prefetch(f.at + 64);
  } else {
    __builtin_prefetch(f.at, 0, 2);
  }
  f.at += f.step;
}

// A block of a panel and of a tile's rows: where its weights, inputs and sums are.
struct Block {
  const std::byte *weights, *inputs;
  int width;                    // inputs
  const float* scales;          // whole numbers: of the rows' group, `stride` apart
  const std::int32_t* offsets;  // two to each of them
  int stride;
  float* sums;         // per row 32
  bool right = false;  // the second half of the panel: what is not 4 bytes wide does not lie 64 bytes on
};

template <int R, int W, class T>
INLINE void clear(T (&part)[R][W]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) part[r][i] = T{};
}
template <int R, int W>
INLINE void add_to(float* sums, const V (&part)[R][W]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) {
      float* at = sums + r * panel_width + 16 * i;
      store(at, load(at) + part[r][i]);
    }
}

template <int R, int W>
INLINE void multiply_f32(const Block& b, Fetch& f) {
  const float *w = reinterpret_cast<const float*>(b.weights), *x = reinterpret_cast<const float*>(b.inputs);
  V part[R][W];
  clear(part);
  for (int line = 0; line < b.width; line += 16, x += R * 16) {
    if (line > 0 && line % block == 0) {
      add_to(b.sums, part);
      clear(part);
    }
    for (int k = 0; k < 16; ++k, w += panel_width) {
      fetch(f);
      V a[W];
#pragma GCC unroll 2
      for (int i = 0; i < W; ++i) a[i] = load(w + 16 * i);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const V s = splat(x[r * 16 + k]);
#pragma GCC unroll 2
        for (int i = 0; i < W; ++i) part[r][i] = fma(a[i], s, part[r][i]);
      }
    }
  }
  add_to(b.sums, part);
}

// acc + the product of the even inputs + the product of the odd ones, of pairs of bf16.
INLINE V dot_bf16(const V& acc, const I& pair, const I& x) {
#if defined(ESPALIER_AVX512)
  return (V)_mm512_dpbf16_ps((__m512)acc, (__m512bh)pair, (__m512bh)x);
#else
  const I odd = splat(static_cast<std::int32_t>(0xffff0000));
  return fma(as_floats(pair & odd), as_floats(x & odd), fma(as_floats(pair << 16), as_floats(x << 16), acc));
#endif
}

template <int R, int W>
INLINE void multiply_bf16(const Block& b, Fetch& f) {
  const std::int32_t* w = reinterpret_cast<const std::int32_t*>(b.weights);  // words of two bf16
  V part[R][W];
  clear(part);
  if constexpr (bf16_pairs) {
    const std::int32_t* x = reinterpret_cast<const std::int32_t*>(b.inputs);
    for (int line = 0; line < b.width; line += 32, x += R * 16) {
      if (line > 0 && line % block == 0) {
        add_to(b.sums, part);
        clear(part);
      }
      for (int k = 0; k < 16; ++k, w += panel_width) {
        fetch(f);
        I a[W];
#pragma GCC unroll 2
        for (int i = 0; i < W; ++i) a[i] = load(w + 16 * i);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
          const I s = splat(x[r * 16 + k]);
#pragma GCC unroll 2
          for (int i = 0; i < W; ++i) part[r][i] = dot_bf16(part[r][i], a[i], s);
        }
      }
    }
  } else {
    const float* x = reinterpret_cast<const float*>(b.inputs);
    const I odd = splat(static_cast<std::int32_t>(0xffff0000));
    for (int line = 0; line < b.width; line += 16, x += R * 16)
      for (int k = 0; k < 16; k += 2, w += panel_width) {
        fetch(f);
#pragma GCC unroll 2
        for (int i = 0; i < W; ++i) {
          const I pair = load(w + 16 * i);
          const V first = as_floats(pair << 16), second = as_floats(pair & odd);
#pragma GCC unroll 12
          for (int r = 0; r < R; ++r) part[r][i] = fma(first, splat(x[r * 16 + k]), part[r][i]);
#pragma GCC unroll 12
          for (int r = 0; r < R; ++r) part[r][i] = fma(second, splat(x[r * 16 + k + 1]), part[r][i]);
        }
      }
  }
  add_to(b.sums, part);
}
