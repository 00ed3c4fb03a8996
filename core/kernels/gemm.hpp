// Rows times a packed matrix; included once per instruction set, inside its namespace (no include guard, see vector.hpp).

constexpr int ahead = 1024;  // bytes of a panel fetched before they are used; the hardware's own prefetcher stops at page ends

// Sums are taken in blocks of so many inputs, and the blocks are added up: rounding errors grow with the square root of the
// number of terms in a chain, and two short chains are better than a long one.
constexpr int block = 128;

template <int R>
INLINE void clear(V (&acc)[R][2]) {
  for (int r = 0; r < R; ++r) acc[r][0] = acc[r][1] = splat(0.0f);
}
template <int R>
INLINE void add(V (&acc)[R][2], const V (&part)[R][2]) {
  for (int r = 0; r < R; ++r) acc[r][0] += part[r][0], acc[r][1] += part[r][1];
}

// The products of R rows with the 32 outputs of one panel. x: the rows' values side by side, for each input.
template <int R>
INLINE void multiply_f32(const std::byte* panel, const std::byte* rows, int depth, V (&acc)[R][2]) {
  const float* w = reinterpret_cast<const float*>(panel);
  const float* x = reinterpret_cast<const float*>(rows);
  clear(acc);
  for (int done = 0; done < depth; done += block) {
    const int end = depth - done < block ? depth - done : block;
    V part[R][2];
    clear(part);
    for (int k = 0; k < end; ++k, w += panel_width, x += R) {
      __builtin_prefetch(w + ahead / 4);
      __builtin_prefetch(w + ahead / 4 + 16);
      const V a = load(w), b = load(w + 16);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const V s = splat(x[r]);
        part[r][0] = fma(a, s, part[r][0]);
        part[r][1] = fma(b, s, part[r][1]);
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
INLINE void multiply_bf16(const std::byte* panel, const std::byte* rows, int depth, V (&acc)[R][2]) {
  const float* w = reinterpret_cast<const float*>(panel);  // read as words of two bf16
  const std::int32_t* x = reinterpret_cast<const std::int32_t*>(rows);
  clear(acc);
  for (int done = 0; done < depth; done += block) {
    const int end = depth - done < block ? depth - done : block;
    V part[R][2];
    clear(part);
    for (int k = 0; k < end; k += 2, w += panel_width, x += R) {
      __builtin_prefetch(w + ahead / 4);
      __builtin_prefetch(w + ahead / 4 + 16);
      const I a = (I)load(w), b = (I)load(w + 16);
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const I s = splat(x[r]);
        part[r][0] = dot_bf16(part[r][0], a, s);
        part[r][1] = dot_bf16(part[r][1], b, s);
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
template <bool fetch, int R>
INLINE void multiply_digits(const std::byte* weights, const std::int32_t* x, I (&whole)[R][2]) {
  const float* w = reinterpret_cast<const float*>(weights);
#pragma GCC unroll 2
  for (int quad = 0; quad < group_width / 4; ++quad, w += panel_width, x += R) {
    if constexpr (fetch) {
      __builtin_prefetch(w + ahead / 4);
      __builtin_prefetch(w + ahead / 4 + 16);
    }
    const I a = (I)load(w), b = (I)load(w + 16);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const I s = splat(x[r]);
      whole[r][0] = dot_i8(whole[r][0], a, s);
      whole[r][1] = dot_i8(whole[r][1], b, s);
    }
  }
}

// An input is scale * (128 * high + low), both digits in 8 bits: 14 bits besides the sign, so that what int8 costs in exactness
// is what it costs the weights. Weights are stored as w + 128; `offsets` takes the 128 times the sum of the inputs off again.
// Integers are exact; the groups are added in order.
template <int R>
INLINE void multiply_i8(const std::byte* panel, const std::byte* rows, int depth, const float* scales, const std::int32_t* offsets,
                        V (&acc)[R][2]) {
  const std::int32_t* x = reinterpret_cast<const std::int32_t*>(rows);
  clear(acc);
  for (int k = 0; k < depth; k += group_width, panel += group_bytes, scales += R, offsets += R) {
    I whole[R][2];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) whole[r][0] = whole[r][1] = splat(0);
    multiply_digits<true>(panel, x, whole);
    x += group_width / 4 * R;
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      whole[r][0] = (whole[r][0] << 7) + splat(offsets[r]);
      whole[r][1] = (whole[r][1] << 7) + splat(offsets[r]);
    }
    multiply_digits<false>(panel, x, whole);
    x += group_width / 4 * R;
    const float* w = reinterpret_cast<const float*>(panel + group_width * panel_width);
    const V low = load(w), high = load(w + 16);  // the group's scales
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const V s = splat(scales[r]);
      acc[r][0] = fma(__builtin_convertvector(whole[r][0], V), low * s, acc[r][0]);
      acc[r][1] = fma(__builtin_convertvector(whole[r][1], V), high * s, acc[r][1]);
    }
  }
}

// Calls done(row, panel, low, high) with the products of every row with one panel.
template <int R, class Done>
void tile_times_panel(const Matrix& m, const Tiles& x, int tile, int panel, const Done& done) {
  V acc[R][2];
  const std::size_t at = static_cast<std::size_t>(tile) * x.tile * x.depth;
  const std::byte* w = m.data + m.panel_bytes() * panel;
  if (m.kind == Kind::f32) {
    multiply_f32<R>(w, x.data + at * 4, x.depth, acc);
  } else if (m.kind == Kind::bf16) {
    multiply_bf16<R>(w, x.data + at * 2, x.depth, acc);
  } else {
    const std::size_t group = at / group_width;
    multiply_i8<R>(w, x.data + at * 2, x.depth, x.scales + group, x.offsets + group, acc);
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
INLINE void tile_of_height(int rows, const Matrix& m, const Tiles& x, int tile, int panel, const Done& done) {
  if (rows == R) {
    tile_times_panel<R>(m, x, tile, panel, done);
  } else if constexpr (R > 1) {
    tile_of_height<R - 1>(rows, m, x, tile, panel, done);
  }
}

template <class Done>
void rows_times_panel(const Matrix& m, const Tiles& x, int panel, const Done& done) {
  for (int tile = 0; tile * x.tile < x.rows; ++tile) {
    const int rows = x.rows - tile * x.tile < x.tile ? x.rows - tile * x.tile : x.tile;
    tile_of_height<tallest>(rows, m, x, tile, panel, done);
  }
}

// Tiles of nearly equal height for this many rows.
INLINE Tiles tiles_for(const Scratch& s, Kind kind, int rows, int depth) {
  const int most = kind == Kind::i8 && tallest > 8 ? 8 : tallest;  // integers need as many accumulators again, for the floats
  const int count = (rows + most - 1) / most;
  return Tiles{kind, rows, depth, (rows + count - 1) / count, s.tiles, s.scales, s.offsets};
}

// Writes one row of `depth` floats (padded with zeros) into its place, converted.
void put(const Tiles& t, int row, const float* x) {
  const int tile = row / t.tile, r = row % t.tile;
  const int rows = t.rows - tile * t.tile < t.tile ? t.rows - tile * t.tile : t.tile;
  const std::size_t at = static_cast<std::size_t>(tile) * t.tile * t.depth;
  if (t.kind == Kind::f32) {
    float* to = reinterpret_cast<float*>(t.data) + at + r;
    for (int k = 0; k < t.depth; ++k) to[static_cast<std::size_t>(k) * rows] = x[k];
    return;
  }
  alignas(64) std::int32_t words[16];
  if (t.kind == Kind::bf16) {
    std::int32_t* to = reinterpret_cast<std::int32_t*>(t.data + at * 2) + r;
    for (int k = 0; k < t.depth; k += 32) {
      store_bf16(reinterpret_cast<std::uint16_t*>(words), load(x + k));
      store_bf16(reinterpret_cast<std::uint16_t*>(words) + 16, load(x + k + 16));
      for (int i = 0; i < 16; ++i, to += rows) *to = words[i];
    }
    return;
  }
  std::int32_t* to = reinterpret_cast<std::int32_t*>(t.data + at * 2) + r;
  const std::size_t group = at / group_width;
  for (int g = 0; g < t.depth / group_width; ++g, x += group_width) {
    V top = splat(0.0f);
    for (int k = 0; k < group_width; k += 16) top = vmax(top, vmax(load(x + k), -load(x + k)));
    const float most = greatest(top);
    const V inverse = splat(most > 0 ? 16256.0f / most : 0.0f);  // 127 * 128: the high digit stays within 127
    I total = splat(0);
    alignas(64) std::int32_t low[16];
    for (int k = 0; k < group_width; k += 16) {
      const V magic = splat(12582912.0f);
      const I whole = (I)(load(x + k) * inverse + magic) - (I)magic;
      const I high = (whole + splat(64)) >> 7;
      total += whole;
      typedef std::int8_t B __attribute__((vector_size(16)));
      const B high_bytes = __builtin_convertvector(high, B), low_bytes = __builtin_convertvector(whole - (high << 7), B);
      __builtin_memcpy(reinterpret_cast<std::byte*>(words) + k, &high_bytes, 16);
      __builtin_memcpy(reinterpret_cast<std::byte*>(low) + k, &low_bytes, 16);
    }
    int whole = 0;
    for (int i = 0; i < 16; ++i) whole += total[i];
    t.scales[group + static_cast<std::size_t>(g) * rows + r] = most / 16256.0f;
    t.offsets[group + static_cast<std::size_t>(g) * rows + r] = -128 * whole;
    for (int i = 0; i < 16; ++i, to += rows) *to = words[i];
    for (int i = 0; i < 16; ++i, to += rows) *to = low[i];
  }
}
