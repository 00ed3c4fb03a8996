// Attention of several rows at once over keys and values in bfloat16, by products of pairs; for avx512 (see vector.hpp: no guard).
//
// Thirty-two positions at a time, keys are turned so that a lane belongs to a position and values so that a lane belongs to a
// dimension, each word with two of what is summed over. Rows whose past lies in the same slots share what was turned; what is
// computed for a row, and in which order, is the same whether it was shared or not.

constexpr int at_once = 32;
constexpr int widest = 256;  // of a head
typedef std::uint16_t Words __attribute__((vector_size(64)));

// A row of a group: what it sees, its queries (rounded, in pairs), and where its answer goes.
struct Viewer {
  const std::int32_t* slots;
  int first, end;  // positions
  float *scores, *out;
  std::int32_t q[heads_together * widest / 2];

  int from() const { return first / at_once * at_once; }
};

// The slots of thirty-two positions; what lies behind the last one is that one again.
struct Slots {
  I low = {}, high = {};

  Slots() = default;
  Slots(const Viewer& row, int from) {
    if (from + at_once <= row.end) {
      __builtin_memcpy(this, row.slots + from, sizeof *this);
    } else {
      for (int i = 0; i < 16; ++i) {
        low[i] = row.slots[from + i < row.end ? from + i : row.end - 1];
        high[i] = row.slots[from + 16 + i < row.end ? from + 16 + i : row.end - 1];
      }
    }
  }
  bool operator==(const Slots& other) const {
    const __m512i differs = (__m512i)((low ^ other.low) | (high ^ other.high));
    return _mm512_test_epi32_mask(differs, differs) == 0;
  }
  std::int32_t operator[](int i) const { return i < 16 ? low[i] : high[i - 16]; }
};

// The first (second) words of each pair within the quarters of two vectors, alternating; so the pairs of words, and the first and
// third (second and fourth) quarters.
INLINE I low_words(I a, I b) { return __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29); }
INLINE I high_words(I a, I b) { return __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31); }
INLINE I low_pairs(I a, I b) { return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29); }
INLINE I high_pairs(I a, I b) { return __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31); }
INLINE I even_quarters(I a, I b) { return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27); }
INLINE I odd_quarters(I a, I b) { return __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31); }

// The words number i of sixteen vectors become vector i.
INLINE void turn_words(I (&v)[16]) {
  I t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = low_words(v[i], v[i + 1]);
    t[i + 1] = high_words(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)  // v[i + c]: words c, c + 4, … of vectors i to i + 3
    for (int j = 0; j < 2; ++j) {
      v[i + 2 * j] = low_pairs(t[i + j], t[i + j + 2]);
      v[i + 2 * j + 1] = high_pairs(t[i + j], t[i + j + 2]);
    }
  for (int c = 0; c < 4; ++c) {
    const I even = even_quarters(v[c], v[c + 4]), odd = odd_quarters(v[c], v[c + 4]);
    const I even_too = even_quarters(v[c + 8], v[c + 12]), odd_too = odd_quarters(v[c + 8], v[c + 12]);
    t[c] = even_quarters(even, even_too);
    t[c + 4] = even_quarters(odd, odd_too);
    t[c + 8] = odd_quarters(even, even_too);
    t[c + 12] = odd_quarters(odd, odd_too);
  }
  for (int i = 0; i < 16; ++i) v[i] = t[i];
}

// What some heads of a group of rows see of one layer.
struct Group {
  const std::uint16_t *keys, *values;
  std::size_t width, at;  // of a slot; where these heads' keys and values begin in it
  int dim;
  float cap;
  Viewer* rows;
  int count;

  const std::uint16_t* line(const std::uint16_t* base, std::int32_t slot) const {
    return base + static_cast<std::size_t>(slot) * width + at;
  }

  // turned[2 * k + half]: dimensions 2 k and 2 k + 1 of sixteen keys.
  INLINE void turn_keys(const Slots& slots, int dim, I* turned) const {
    for (int half = 0; half < 2; ++half)
      for (int k = 0; k < dim; k += 32) {
        I v[16];
        for (int i = 0; i < 16; ++i) __builtin_memcpy(&v[i], line(keys, slots[16 * half + i]) + k, 64);
        turn_words(v);
        for (int i = 0; i < 16; ++i) turned[k + 2 * i + half] = v[i];
      }
  }

  // turned[16 * p + j]: of dimensions 16 p to 16 p + 15 the values of positions 2 j and 2 j + 1.
  INLINE void turn_values(const Slots& slots, int dim, I* turned) const {
    for (int j = 0; j < 16; ++j)
      for (int k = 0; k < dim; k += 32) {
        Words a, b;
        __builtin_memcpy(&a, line(values, slots[2 * j]) + k, 64);
        __builtin_memcpy(&b, line(values, slots[2 * j + 1]) + k, 64);
        turned[k + j] = (I)__builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41, 10, 42, 11,
                                                   43, 12, 44, 13, 45, 14, 46, 15, 47);
        turned[k + 16 + j] = (I)__builtin_shufflevector(a, b, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24, 56, 25,
                                                        57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63);
      }
  }
};

// scores[h * stride + j] = q of head h · k of position from + j; those that the row does not see are the lowest.
template <int heads>
INLINE void score_block(const Group& group, const Viewer& row, int from, int dim, const I* turned, std::size_t stride,
                        V (&top)[heads]) {
  V s[heads][2];
  for (int h = 0; h < heads; ++h) s[h][0] = s[h][1] = splat(0.0f);
  for (int k = 0; k < dim / 2; ++k)
    for (int h = 0; h < heads; ++h) {
      const I q = splat(row.q[h * (dim / 2) + k]);
      s[h][0] = dot_bf16(s[h][0], turned[2 * k], q);
      s[h][1] = dot_bf16(s[h][1], turned[2 * k + 1], q);
    }
  const I lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const bool whole = from >= row.first && from + at_once <= row.end;
  for (int h = 0; h < heads; ++h)
    for (int half = 0; half < 2; ++half) {
      V v = s[h][half];
      if (group.cap > 0) v = splat(group.cap) * tanh(v / splat(group.cap));
      if (!whole) {
        const I at = lanes + splat(from + 16 * half);
        v = (at >= splat(row.first)) & (at < splat(row.end)) ? v : splat(lowest);
      }
      store(row.scores + h * stride + (from - row.from()) + 16 * half, v);
      top[h] = vmax(top[h], v);
    }
}

// Turns a head's scores into weights in bfloat16, in their place, not yet divided by their sum; returns what to multiply with
// instead.
INLINE float weigh_bf16(float* scores, int count, V top) {
  const V high = splat(greatest(top));
  V total = splat(0.0f);
  auto* weights = reinterpret_cast<std::uint16_t*>(scores);
  for (int j = 0; j < count; j += 16) {
    const V score = load(scores + j);
    const V weight = score > splat(lowest) ? exp(score - high) : splat(0.0f);
    store_bf16(weights + j, weight);
    total += load_bf16(weights + j);
  }
  return 1.0f / sum(total);
}

// out of head h += the values of thirty-two positions weighted, `parts` times sixteen dimensions from k on.
template <int heads, int parts>
INLINE void mix_part(const Viewer& row, int from, int dim, int k, const I* turned, std::size_t stride) {
  V acc[heads][parts];
  const float* weights[heads];  // read as words of two bf16
  for (int h = 0; h < heads; ++h) {
    weights[h] = row.scores + h * stride + (from - row.from()) / 2;
    for (int p = 0; p < parts; ++p) acc[h][p] = load(row.out + h * dim + k + 16 * p);
  }
  for (int j = 0; j < 16; ++j)
    for (int h = 0; h < heads; ++h) {
      const I pair = (I)splat(weights[h][j]);
      for (int p = 0; p < parts; ++p) acc[h][p] = dot_bf16(acc[h][p], turned[k + 16 * p + j], pair);
    }
  for (int h = 0; h < heads; ++h)
    for (int p = 0; p < parts; ++p) store(row.out + h * dim + k + 16 * p, acc[h][p]);
}

template <int heads>
INLINE void mix_block(const Viewer& row, int from, int dim, const I* turned, std::size_t stride) {
  int k = 0;
  for (; k + 64 <= dim; k += 64) mix_part<heads, 4>(row, from, dim, k, turned, stride);
  if (k < dim) mix_part<heads, 2>(row, from, dim, k, turned, stride);
}

// Calls `use` for every row and block of positions that it sees, with what `turn` makes of the block's slots.
template <class Turn, class Use>
INLINE void over_blocks(const Group& group, I* turned, const Turn& turn, const Use& use) {
  int begin = group.rows[0].from(), end = 0;
  for (int r = 0; r < group.count; ++r) {
    begin = group.rows[r].from() < begin ? group.rows[r].from() : begin;
    end = group.rows[r].end > end ? group.rows[r].end : end;
  }
  for (int from = begin; from < end; from += at_once) {
    Slots held;
    bool any = false;
    for (int r = 0; r < group.count; ++r) {
      const Viewer& row = group.rows[r];
      if (from < row.from() || from >= row.end) continue;
      const Slots slots(row, from);
      if (!any || !(slots == held)) turn(slots, turned);
      any = true;
      held = slots;
      use(r, from);
    }
  }
}

template <int heads, int fixed>
void attend_group(const Group& group, std::size_t stride) {
  const int dim = fixed ? fixed : group.dim;
  alignas(64) I turned[widest];
  V top[rows_together][heads];
  for (int r = 0; r < group.count; ++r)
    for (int h = 0; h < heads; ++h) top[r][h] = splat(lowest);
  over_blocks(group, turned, [&](const Slots& slots, I* to) { group.turn_keys(slots, dim, to); },
              [&](int r, int from) { score_block<heads>(group, group.rows[r], from, dim, turned, stride, top[r]); });
  float scale[rows_together][heads];
  for (int r = 0; r < group.count; ++r) {
    const Viewer& row = group.rows[r];
    for (int h = 0; h < heads; ++h)
      scale[r][h] = weigh_bf16(row.scores + h * stride, (row.end - row.from() + at_once - 1) / at_once * at_once, top[r][h]);
    for (int k = 0; k < heads * dim; k += 16) store(row.out + k, splat(0.0f));
  }
  over_blocks(group, turned, [&](const Slots& slots, I* to) { group.turn_values(slots, dim, to); },
              [&](int r, int from) { mix_block<heads>(group.rows[r], from, dim, turned, stride); });
  for (int r = 0; r < group.count; ++r)
    for (int h = 0; h < heads; ++h)
      for (int k = 0; k < dim; k += 16)
        store(group.rows[r].out + h * dim + k, load(group.rows[r].out + h * dim + k) * splat(scale[r][h]));
}

template <int heads>
INLINE void attend_group_of(const Group& group, std::size_t stride) {
  if (group.dim == 64) return attend_group<heads, 64>(group, stride);
  attend_group<heads, 0>(group, stride);
}

INLINE void attend_together(const Group& group, int heads, std::size_t stride) {
  switch (heads) {
    case 1: return attend_group_of<1>(group, stride);
    case 2: return attend_group_of<2>(group, stride);
    case 3: return attend_group_of<3>(group, stride);
    default: return attend_group_of<4>(group, stride);
  }
}
