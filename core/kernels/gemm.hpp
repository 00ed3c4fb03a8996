// Rows times a packed matrix; included once per instruction set, inside its namespace (no include guard, see vector.hpp).

constexpr int ahead = 2048;  // bytes of a panel fetched before they are used; the hardware's own prefetcher stops at page ends

// Sums are taken in blocks of so many inputs, and the blocks are added up: rounding errors grow with the square root of the
// number of terms in a chain, and two short chains are better than a long one.
constexpr int block = 128;

// What is brought into the cache while a tile is multiplied. A single tile streams its panel: the fetch runs `ahead` of it. Where
// several tiles share a panel, only the first would wait for memory and the others would leave it idle, so each of them
// fetches its part of the panel after this one, no nearer than the second level.
struct Fetch {
  const std::byte* at;
  int step;  // bytes for each 128 bytes of weights: 128, or 128 / number of tiles
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

template <int R>
INLINE void clear(V (&acc)[R][2]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) acc[r][0] = acc[r][1] = splat(0.0f);
}
template <int R>
INLINE void add(V (&acc)[R][2], const V (&part)[R][2]) {
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) acc[r][0] += part[r][0], acc[r][1] += part[r][1];
}

// The products of R rows with the 32 outputs of one panel.
template <int R>
INLINE void multiply_f32(const std::byte* panel, const std::byte* rows, int depth, Fetch f, V (&acc)[R][2]) {
  const float* w = reinterpret_cast<const float*>(panel);
  const float* x = reinterpret_cast<const float*>(rows);
  clear(acc);
  for (int done = 0; done < depth; done += block) {
    const int end = depth - done < block ? depth - done : block;
    V part[R][2];
    clear(part);
    for (int line = 0; line < end; line += 16, x += R * 16) {
      for (int k = 0; k < 16; ++k, w += panel_width) {
        fetch(f);
        const V a = load(w), b = load(w + 16);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
          const V s = splat(x[r * 16 + k]);
          part[r][0] = fma(a, s, part[r][0]);
          part[r][1] = fma(b, s, part[r][1]);
        }
      }
    }
    add(acc, part);
  }
}

// acc + the product of the even inputs + the product of the odd ones, of pairs of bf16.
INLINE V dot_bf16(V acc, I pair, I x) {
#if defined(ESPALIER_AVX512)
  return (V)_mm512_dpbf16_ps((__m512)acc, (__m512bh)pair, (__m512bh)x);
#else
  acc = fma((V)(pair << 16), (V)(x << 16), acc);
  return fma((V)(pair & splat(static_cast<std::int32_t>(0xffff0000))), (V)(x & splat(static_cast<std::int32_t>(0xffff0000))), acc);
#endif
}

template <int R>
INLINE void multiply_bf16(const std::byte* panel, const std::byte* rows, int depth, Fetch f, V (&acc)[R][2]) {
  const float* w = reinterpret_cast<const float*>(panel);  // read as words of two bf16
  const std::int32_t* x = reinterpret_cast<const std::int32_t*>(rows);
  clear(acc);
  for (int done = 0; done < depth; done += block) {
    const int end = depth - done < block ? depth - done : block;
    V part[R][2];
    clear(part);
    for (int line = 0; line < end; line += 32, x += R * 16) {
      for (int k = 0; k < 16; ++k, w += panel_width) {
        fetch(f);
        const I a = (I)load(w), b = (I)load(w + 16);
#pragma GCC unroll 12
        for (int r = 0; r < R; ++r) {
          const I s = splat(x[r * 16 + k]);
          part[r][0] = dot_bf16(part[r][0], a, s);
          part[r][1] = dot_bf16(part[r][1], b, s);
        }
      }
    }
    add(acc, part);
  }
}

// acc + four products of an unsigned weight with a signed input each.
INLINE I dot_i8(I acc, I weights, I x) {
#if defined(ESPALIER_AVX512)
  return (I)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)weights, (__m512i)x);
#else
  for (int shift = 0; shift < 32; shift += 8) acc += ((weights >> shift) & 255) * (x << (24 - shift) >> 24);
  return acc;
#endif
}

// One half of the inputs of a group (the high or the low digits) times the group's weights, added to `whole`.
template <bool fetching, int R>
INLINE void multiply_digits(const std::byte* weights, const std::int32_t* x, Fetch& f, I (&whole)[R][2]) {
  const float* w = reinterpret_cast<const float*>(weights);
#pragma GCC unroll 2
  for (int quad = 0; quad < group_width / 4; ++quad, w += panel_width) {
    if constexpr (fetching) fetch(f);
    const I a = (I)load(w), b = (I)load(w + 16);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const I s = splat(x[r * 16 + quad]);
      whole[r][0] = dot_i8(whole[r][0], a, s);
      whole[r][1] = dot_i8(whole[r][1], b, s);
    }
  }
}

// An input is scale * (128 * high + low), both digits in 8 bits: 14 bits besides the sign, so that what int8 costs in exactness
// is what it costs the weights. Weights are stored as w + 128; `offsets` takes the 128 times the sum of the inputs off again.
// Integers are exact; the groups are added in order.
template <int R>
INLINE void multiply_i8(const std::byte* panel, const std::byte* rows, int depth, const float* scales, const std::int32_t* offsets, Fetch f,
                        V (&acc)[R][2]) {
  const std::int32_t* x = reinterpret_cast<const std::int32_t*>(rows);
  const int groups = depth / group_width;
  clear(acc);
  for (int g = 0; g < groups; ++g, panel += group_bytes, x += 2 * R * 16) {
    I whole[R][2];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) whole[r][0] = whole[r][1] = splat(0);
    multiply_digits<true>(panel, x, f, whole);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      whole[r][0] = (whole[r][0] << 7) + splat(offsets[r * groups + g]);
      whole[r][1] = (whole[r][1] << 7) + splat(offsets[r * groups + g]);
    }
    multiply_digits<false>(panel, x + R * 16, f, whole);
    fetch(f);  // the scales
    const float* w = reinterpret_cast<const float*>(panel + group_width * panel_width);
    const V low = load(w), high = load(w + 16);  // the group's scales
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const V s = splat(scales[r * groups + g]);
      acc[r][0] = fma(__builtin_convertvector(whole[r][0], V), low * s, acc[r][0]);
      acc[r][1] = fma(__builtin_convertvector(whole[r][1], V), high * s, acc[r][1]);
    }
  }
}

// Calls done(row, panel, low, high) with the products of every row with one panel.
template <int R, class Done>
void tile_times_panel(const Matrix& m, const Tiles& x, int tile, int panel, Fetch f, const Done& done) {
  V acc[R][2];
  const std::size_t at = static_cast<std::size_t>(tile) * x.tile * x.depth;
  const std::byte* w = m.data + m.panel_bytes() * panel;
  if (m.kind == Kind::f32) {
    multiply_f32<R>(w, x.data + at * 4, x.depth, f, acc);
  } else if (m.kind == Kind::bf16) {
    multiply_bf16<R>(w, x.data + at * 2, x.depth, f, acc);
  } else {
    const std::size_t group = at / group_width;
    multiply_i8<R>(w, x.data + at * 2, x.depth, x.scales + group, x.offsets + group, f, acc);
  }
  V low = splat(0.0f), high = low;
  if (m.bias) low = load(m.bias + panel * panel_width), high = load(m.bias + panel * panel_width + 16);
  for (int r = 0; r < R; ++r) done(tile * x.tile + r, panel, acc[r][0] + low, acc[r][1] + high);
}

// With 32 registers of 64 bytes twelve rows fit; elsewhere four are plenty.
#if defined(ESPALIER_AVX512)
constexpr int tallest = tile_rows;
#else
constexpr int tallest = 4;
#endif

template <int R, class Done>
INLINE void tile_of_height(int rows, const Matrix& m, const Tiles& x, int tile, int panel, Fetch f, const Done& done) {
  if (rows == R) {
    tile_times_panel<R>(m, x, tile, panel, f, done);
  } else if constexpr (R > 1) {
    tile_of_height<R - 1>(rows, m, x, tile, panel, f, done);
  }
}

// `next`: the panel that this thread will read after this one.
template <class Done>
void rows_times_panel(const Matrix& m, const Tiles& x, int panel, const std::byte* next, const Done& done) {
  const int tiles = (x.rows + x.tile - 1) / x.tile;
  const std::size_t bytes = m.panel_bytes();
  for (int tile = 0; tile < tiles; ++tile) {
    const int rows = x.rows - tile * x.tile < x.tile ? x.rows - tile * x.tile : x.tile;
    const Fetch f = tiles == 1 ? Fetch{m.data + bytes * panel + ahead, 128} : Fetch{next + bytes * tile / tiles, 128 / tiles};
    tile_of_height<tallest>(rows, m, x, tile, panel, f, done);
  }
}

// Tiles of nearly equal height for this many rows.
INLINE Tiles tiles_for(const Scratch& s, Kind kind, int rows, int depth) {
  const int most = kind == Kind::i8 && tallest > 8 ? 8 : tallest;  // integers need as many accumulators again, for the floats
  const int count = (rows + most - 1) / most;
  return Tiles{kind, rows, depth, (rows + count - 1) / count, s.tiles, s.scales, s.offsets};
}

// Writes one group of 64 inputs as int8: the high digits, then the low ones one line further on.
INLINE void put_digits(const float* x, std::byte* high_at, std::byte* low_at, float* scale, std::int32_t* offset) {
  typedef std::int8_t B __attribute__((vector_size(16)));
  V top = splat(0.0f);
  for (int k = 0; k < group_width; k += 16) top = vmax(top, vmax(load(x + k), -load(x + k)));
  const float most = greatest(top);
  const V inverse = splat(most > 0 ? 16256.0f / most : 0.0f);  // 127 * 128: the high digit stays within 127
  I total = splat(0);
  for (int k = 0; k < group_width; k += 16) {
    const V magic = splat(12582912.0f);
    const I whole = (I)(load(x + k) * inverse + magic) - (I)magic;
    const I high = (whole + splat(64)) >> 7;
    total += whole;
    const B high_bytes = __builtin_convertvector(high, B), low_bytes = __builtin_convertvector(whole - (high << 7), B);
    __builtin_memcpy(high_at + k, &high_bytes, 16);
    __builtin_memcpy(low_at + k, &low_bytes, 16);
  }
  int whole = 0;
  for (int i = 0; i < 16; ++i) whole += total[i];
  *scale = most / 16256.0f;
  *offset = -128 * whole;
}

// Writes one row of `depth` floats (padded with zeros) into its lines, converted.
void put(const Tiles& t, int row, const float* x) {
  const int tile = row / t.tile, r = row % t.tile;
  const int rows = t.rows - tile * t.tile < t.tile ? t.rows - tile * t.tile : t.tile;
  const std::size_t at = static_cast<std::size_t>(tile) * t.tile * t.depth, next = static_cast<std::size_t>(rows) * 64;
  std::byte* to = t.data + at * (t.kind == Kind::f32 ? 4 : 2) + r * 64;
  if (t.kind == Kind::f32) {
    for (int k = 0; k < t.depth; k += 16, to += next) store(reinterpret_cast<float*>(to), load(x + k));
  } else if (t.kind == Kind::bf16) {
    for (int k = 0; k < t.depth; k += 32, to += next) {
      store_bf16(reinterpret_cast<std::uint16_t*>(to), load(x + k));
      store_bf16(reinterpret_cast<std::uint16_t*>(to) + 16, load(x + k + 16));
    }
  } else {
    const int groups = t.depth / group_width;
    const std::size_t group = at / group_width + static_cast<std::size_t>(r) * groups;
    for (int g = 0; g < groups; ++g, to += 2 * next)
      put_digits(x + g * group_width, to, to + next, t.scales + group + g, t.offsets + group + g);
  }
}
