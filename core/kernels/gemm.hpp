// Rows times a packed matrix; included once per instruction set, inside its namespace (no include guard, see
// vector.hpp).
//
// A panel is worked off in blocks of inputs that stay in the first cache: a block is multiplied with every tile of rows
// before the next one is read. The products of a block are added up in registers and then added to the row's sums in
// memory, block after block, so that a row's rounding does not depend on how many rows there are, nor on the tile that
// it is in. Short chains are better than one long one, too: rounding errors grow with the number of terms in a chain.

constexpr int ahead =
    2048;  // bytes of a panel fetched before they are used; the hardware's own prefetcher stops at page ends
constexpr int rows_at_once = 96;  // whose sums are held beside a panel

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
  const float* scales;          // int8 and int4: of the rows' group, `stride` apart
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

// The same for all digits of the inputs.
template <int R, int W, bool fetching = true, class Bytes>
INLINE void multiply_group(const std::byte* weights, const std::int32_t* x, int count, Fetch& f, const Bytes& bytes,
                           I (&whole)[R][W]) {
  clear(whole);
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

// Half a group of int4: a weight is scale * digit + least, so the least is multiplied with the sum of the inputs.
template <int half, int R, int W>
INLINE void multiply_half_i4(const Block& b, Fetch& f) {
  I whole[R][W];
  multiply_group<R, W, half == 0>(
      b.weights, reinterpret_cast<const std::int32_t*>(b.inputs) + 8 * half, group_width / 8, f,
      [](const I& w) { return digits<half>(w); }, whole);
  const auto* scales =
      reinterpret_cast<const std::uint16_t*>(b.weights + group_width * panel_width / 2 + (b.right ? -64 + 32 : 0)) +
      half * panel_width;
#pragma GCC unroll 2
  for (int i = 0; i < W; ++i) {
    const V scale = load_f16(scales + 16 * i), least = load_f16(scales + 2 * panel_width + 16 * i);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const float s = b.scales[r * b.stride];
      float* at = b.sums + r * panel_width + 16 * i;
      const V so_far = fma(to_floats(whole[r][i]), scale * splat(s), load(at));
      store(at, fma(least, splat(s * static_cast<float>(b.offsets[2 * r * b.stride + half])), so_far));
    }
  }
}
template <int R, int W>
INLINE void multiply_i4(const Block& b, Fetch& f) {
  multiply_half_i4<0, R, W>(b, f);
  multiply_half_i4<1, R, W>(b, f);
  fetch(f), fetch(f);  // scales and leasts
}

template <Kind kind, int R, int W>
INLINE void multiply_block(const Block& b, Fetch& f) {
  if constexpr (kind == Kind::f32) multiply_f32<R, W>(b, f);
  if constexpr (kind == Kind::bf16) multiply_bf16<R, W>(b, f);
  if constexpr (kind == Kind::i8) multiply_i8<R, W>(b, f);
  if constexpr (kind == Kind::i4) multiply_i4<R, W>(b, f);
}

template <Kind kind, int R>
void multiply_tile(const Block& b, Fetch f) {
  if constexpr (R < narrow_from) {
    multiply_block<kind, R, 2>(b, f);
  } else {  // half a panel at a time: the second half finds its lines in the first cache
    Block half = b;
    multiply_block<kind, R, 1>(half, f);
    half.weights += 64;
    half.sums += 16;
    half.right = true;
    multiply_block<kind, R, 1>(half, f);
  }
}

template <Kind kind, int R = tallest>
INLINE void multiply_height(int rows, const Block& b, const Fetch& f) {
  if (rows == R) {
    multiply_tile<kind, R>(b, f);
  } else if constexpr (R > 1) {
    multiply_height<kind, R - 1>(rows, b, f);
  }
}

// A block of bfloat16 in float32: what several tiles would each widen again. The products are made in the same order.
INLINE void widen(const std::byte* weights, int width, float* to) {
  const std::int32_t* w = reinterpret_cast<const std::int32_t*>(weights);
  const I odd = splat(static_cast<std::int32_t>(0xffff0000));
  for (int k = 0; k < width; k += 2, w += panel_width, to += 2 * panel_width)
    for (int i = 0; i < panel_width; i += 16) {
      const I pair = load(w + i);
      store(to + i, as_floats(pair << 16));
      store(to + panel_width + i, as_floats(pair & odd));
    }
}

// Calls done(row, panel, low, high) with the products of every row with one panel. `next`: the panel read after this
// one.
template <Kind kind, class Done>
void rows_times_panel_of(const Matrix& m, const Tiles& x, int panel, const std::byte* next, const Done& done) {
  constexpr int size = bytes_of_input(kind), most_inputs = inputs_of_block(kind);
  const int inputs = most_inputs == block && blocks > 1 ? x.depth : most_inputs;
  const int groups = x.depth / group_width, most = rows_at_once / x.tile * x.tile,
            tiles = (x.rows + x.tile - 1) / x.tile;
  const std::size_t bytes = m.panel_bytes(), whole_block = bytes * inputs / x.depth;
  const std::byte* w = m.data + bytes * panel;
  alignas(64) float sums[rows_at_once * panel_width],
      wide[kind == Kind::bf16 && !bf16_pairs ? most_inputs * panel_width : 16];
  V low = splat(0.0f), high = low;
  if (m.bias) low = load(m.bias + panel * panel_width), high = load(m.bias + panel * panel_width + 16);
  for (int first = 0; first < x.rows; first += most) {
    const int count = x.rows - first < most ? x.rows - first : most;
    for (int k = 0; k < count * panel_width; k += 16) store(sums + k, splat(0.0f));
    for (int k = 0; k < x.depth; k += inputs) {
      Block b;
      b.width = x.depth - k < inputs ? x.depth - k : inputs;
      b.stride = groups;
      const std::size_t at = bytes * k / x.depth;
      b.weights = w + at;
      const bool widened = kind == Kind::bf16 && !bf16_pairs && x.rows > 3 * tallest;
      if (widened) {
        widen(b.weights, b.width, wide);
        b.weights = reinterpret_cast<const std::byte*>(wide);
      }
      for (int row = 0; row < count; row += x.tile) {
        const int rows = count - row < x.tile ? count - row : x.tile, tile = (first + row) / x.tile;
        const std::size_t group = (static_cast<std::size_t>(first) + row) * groups + k / group_width;
        b.inputs =
            x.data + (static_cast<std::size_t>(first + row) * x.depth + static_cast<std::size_t>(rows) * k) * size;
        b.scales = x.scales + group;
        b.offsets = x.offsets + 2 * group;
        b.sums = sums + row * panel_width;
        const int reads = tiles * (rows < narrow_from ? 1 : 2) * (widened ? 2 : 1);
        const Fetch f =
            reads == 1 ? Fetch{w + at + ahead, 128} : Fetch{next + at + whole_block * tile / tiles, 128 / reads};
        if (widened) {
          multiply_height<Kind::f32>(rows, b, f);
        } else {
          multiply_height<kind>(rows, b, f);
        }
      }
    }
    for (int row = 0; row < count; ++row)
      done(first + row, panel, load(sums + row * panel_width) + low, load(sums + row * panel_width + 16) + high);
  }
}

template <class Done>
void rows_times_panel(const Matrix& m, const Tiles& x, int panel, const std::byte* next, const Done& done) {
  switch (m.kind) {
    case Kind::f32: return rows_times_panel_of<Kind::f32>(m, x, panel, next, done);
    case Kind::bf16: return rows_times_panel_of<Kind::bf16>(m, x, panel, next, done);
    case Kind::i8: return rows_times_panel_of<Kind::i8>(m, x, panel, next, done);
    case Kind::i4: return rows_times_panel_of<Kind::i4>(m, x, panel, next, done);
  }
}

// Tiles of nearly equal height for this many rows.
INLINE Tiles tiles_for(const Scratch& s, Kind kind, int rows, int depth) {
  const int count = (rows + tallest - 1) / tallest;
  return Tiles{kind, rows, depth, (rows + count - 1) / count, s.tiles, s.scales, s.offsets};
}

// Writes one group of 64 inputs as whole numbers into two lines: see multiply_whole.
INLINE void put_whole(const float* x, std::byte* first, std::byte* second, float* scale, std::int32_t* sums) {
  V top = splat(0.0f);
  for (int k = 0; k < group_width; k += 16) top = vmax(top, vmax(load(x + k), -load(x + k)));
  const float most = greatest(top);
  const V inverse = splat(most > 0 ? 16256.0f / most : 0.0f),
          magic = splat(12582912.0f);  // 127 * 128: the high digit is at most 127
  I total[2] = {splat(0), splat(0)};
  for (int k = 0; k < group_width; k += 16) {
    const I whole = as_words(load(x + k) * inverse + magic) - as_words(magic);
    total[k >= group_width / 2] += whole;
#if defined(ESPALIER_AVX512)
    typedef std::int8_t B __attribute__((vector_size(16)));
    const I high = (whole + splat(64)) >> 7;
    const B high_bytes = __builtin_convertvector(high, B), low_bytes = __builtin_convertvector(whole - (high << 7), B);
    __builtin_memcpy(first + k, &high_bytes, 16);
    __builtin_memcpy(second + k, &low_bytes, 16);
#else
    alignas(64) std::int32_t each[16];
    std::int16_t even[8], odd[8];
    store(each, whole);
    for (int q = 0; q < 8; ++q) {
      even[q] = static_cast<std::int16_t>(each[2 * q]);
      odd[q] = static_cast<std::int16_t>(each[2 * q + 1]);
    }
    __builtin_memcpy(first + k, even, 16);
    __builtin_memcpy(second + k, odd, 16);
#endif
  }
  for (int half = 0; half < 2; ++half) {
    alignas(64) std::int32_t each[16];
    store(each, total[half]);
    sums[half] = 0;
    for (int i = 0; i < 16; ++i) sums[half] += each[i];
  }
  *scale = most / 16256.0f;
}

// Writes one row of `depth` floats (padded with zeros) into its lines, converted.
void put(const Tiles& t, int row, const float* x) {
  const int tile = row / t.tile, r = row % t.tile;
  const int rows = t.rows - tile * t.tile < t.tile ? t.rows - tile * t.tile : t.tile;
  const std::size_t at = static_cast<std::size_t>(tile) * t.tile * t.depth, next = static_cast<std::size_t>(rows) * 64;
  const bool whole = t.kind != Kind::f32 && t.kind != Kind::bf16;
  std::byte* to = t.data + at * static_cast<std::size_t>(whole ? 2 : bytes_of_input(t.kind)) + r * 64;
  if (whole) {
    const int groups = t.depth / group_width;
    const std::size_t group = at / group_width + static_cast<std::size_t>(r) * groups;
    for (int g = 0; g < groups; ++g, to += 2 * next)
      put_whole(x + g * group_width, to, to + next, t.scales + group + g, t.offsets + 2 * (group + g));
  } else if (bytes_of_input(t.kind) == 4) {
    for (int k = 0; k < t.depth; k += 16, to += next) store(reinterpret_cast<float*>(to), load(x + k));
  } else {
    for (int k = 0; k < t.depth; k += 32, to += next) {
      store_bf16(reinterpret_cast<std::uint16_t*>(to), load(x + k));
      store_bf16(reinterpret_cast<std::uint16_t*>(to) + 16, load(x + k + 16));
    }
  }
}
