// Rows times a packed matrix; included once per instruction set, inside its namespace (no include guard, see
// vector.hpp).
//
// A panel is worked off in blocks of inputs that stay in the first cache: a block is multiplied with every tile of rows
// before the next one is read. The products of a block are added up in registers and then added to the row's sums in
// memory, block after block, so that a row's rounding does not depend on how many rows there are, nor on the tile that
// it is in. Short chains are better than one long one, too: rounding errors grow with the number of terms in a chain.

template <Kind kind, int R, int W>
INLINE void multiply_block(const Block& b, Fetch& f) {
  if constexpr (kind == Kind::f32) multiply_f32<R, W>(b, f);
  if constexpr (kind == Kind::bf16) multiply_bf16<R, W>(b, f);
  if constexpr (kind == Kind::i8) multiply_i8<R, W>(b, f);
  if constexpr (kind == Kind::i4 || kind == Kind::q8) multiply_halves<kind, R, W>(b, f);
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
    case Kind::q8: return rows_times_panel_of<Kind::q8>(m, x, panel, next, done);
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
