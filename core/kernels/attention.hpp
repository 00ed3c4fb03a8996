// Attention of several rows at once; included once per instruction set, inside its namespace (no include guard, see
// vector.hpp).
//
// Thirty-two positions at a time (a block), keys are turned so that a lane belongs to a position and values so that a
// lane belongs to a dimension; rows whose past lies in the same slots share what was turned. Softmax is taken over a
// stretch of positions, and stretches are merged in order by their greatest score and sum. Blocks and stretches begin
// at fixed positions: what is computed for a row, and in which order, is the same whatever it was shared with, and
// whether stretches were done one after another or by several threads.

// One row's head among those that are multiplied at once.
struct Head {
  const std::int32_t* by;  // words: its queries or its weights
  float* to;
};

// to[0 … 31] of R heads: the products of their queries with a block of turned keys.
template <bool pairs, int R, int W>
INLINE void score_tile(const Head* heads, const std::int32_t* turned, int words) {
  V acc[R][W];
  clear(acc);
  const std::int32_t* by[R];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) by[r] = heads[r].by;
  for (int k = 0; k < words; ++k, turned += at_once) {
    I key[W];
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) key[i] = load(turned + 16 * i);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const I q = splat(by[r][k]);
#pragma GCC unroll 2
      for (int i = 0; i < W; ++i) acc[r][i] = add_product<pairs>(key[i], q, acc[r][i]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) store(heads[r].to + 16 * i, acc[r][i]);
}

// to[0 … 16 W - 1] of R heads += a block of turned values with their weights; `last`: which bits of the last word
// count.
template <bool pairs, int R, int W>
INLINE void mix_tile(const Head* heads, const std::int32_t* turned, int dim, int from, int end, std::int32_t last) {
  V acc[R][W];
  const std::int32_t* by[R];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
    by[r] = heads[r].by;
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) acc[r][i] = load(heads[r].to + 16 * i);
  }
  const auto add = [&](int j, std::int32_t bits) __attribute__((always_inline)) {
    I value[W];
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) value[i] = load(turned + j * dim + 16 * i) & splat(bits);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const I weight = splat(by[r][j]);
#pragma GCC unroll 2
      for (int i = 0; i < W; ++i) acc[r][i] = add_product<pairs>(value[i], weight, acc[r][i]);
    }
  };
  for (int j = from; j + 1 < end; ++j) add(j, -1);
  add(end - 1, last);
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int i = 0; i < W; ++i) store(heads[r].to + 16 * i, acc[r][i]);
}

// Heads that wait for a block, multiplied as many at a time as fit into the registers.
struct Waiting {
  Head heads[rows_together * heads_together];
  int count = 0;
};

template <bool pairs, int R = tallest>
INLINE void score_heads(const Head* heads, int count, const std::int32_t* turned, int words) {
  if (count == R) {
    if constexpr (R < narrow_from) {
      score_tile<pairs, R, 2>(heads, turned, words);
    } else {
      Head second[R];
      for (int r = 0; r < R; ++r) second[r] = {heads[r].by, heads[r].to + 16};
      score_tile<pairs, R, 1>(heads, turned, words);
      score_tile<pairs, R, 1>(second, turned + 16, words);
    }
  } else if constexpr (R > 1) {
    score_heads<pairs, R - 1>(heads, count, turned, words);
  }
}

template <bool pairs, int R = tallest>
INLINE void mix_heads(const Head* heads, int count, const std::int32_t* turned, int dim, int from, int end,
                      std::int32_t last) {
  if (count == R) {
    Head at[R];
    for (int r = 0; r < R; ++r) at[r] = heads[r];
    const auto on = [&](int by) {
      for (int r = 0; r < R; ++r) at[r].to += by;
      turned += by;
    };
    int k = 0;
    if constexpr (R < narrow_from)
      for (; k + 32 <= dim; k += 32, on(32)) mix_tile<pairs, R, 2>(at, turned, dim, from, end, last);
    for (; k < dim; k += 16, on(16)) mix_tile<pairs, R, 1>(at, turned, dim, from, end, last);
  } else if constexpr (R > 1) {
    mix_heads<pairs, R - 1>(heads, count, turned, dim, from, end, last);
  }
}

template <class Use>
INLINE void in_tiles(const Head* heads, int count, const Use& use) {
  for (int i = 0; i < count; i += tallest) use(heads + i, count - i < tallest ? count - i : tallest);
}

// The slots of a block; what lies behind the last one that is known is that one again.
INLINE void slots_of(const Viewer& row, int from, std::int32_t* slots) {
  const int count = row.known - from < at_once ? row.known - from : at_once;
  __builtin_memcpy(slots, row.slots + from, sizeof(std::int32_t) * count);
  for (int i = count; i < at_once; ++i) slots[i] = slots[count - 1];
}

// Reads the keys and values of a stretch for all heads, in the order in which they lie. Of each slot a head takes too
// little for the processor's own prefetchers to follow; what lies side by side they bring at the memory's full speed.
template <Kept kept>
INLINE void walk_stretch(const Group& g, int begin) {
  const std::size_t bytes = bytes_of<kept>(g.width);
  const auto walk = [&](const void* base, const Viewer& row) {
    const int from = row.first > begin ? row.first : begin, to = row.end < begin + stretch ? row.end : begin + stretch;
    for (int i = from; i < to; ++i) {
      const auto* slot = static_cast<const std::byte*>(base) + static_cast<std::size_t>(row.slots[i]) * bytes;
      for (std::size_t b = 0; b < bytes; b += 64)
        static_cast<void>(*reinterpret_cast<const volatile std::byte*>(slot + b));
    }
  };
  for (int r = 0; r < g.count; ++r) {
    if (r > 0 && g.rows[r].slots == g.rows[r - 1].slots) continue;
    walk(g.keys, g.rows[r]);
    walk(g.values, g.rows[r]);
  }
}

// For every block of the positions from … to - 1: calls turn() when the slots differ from what was turned before, then
// use(row) for every row that sees it, and flush() before something else is turned.
template <class Turn, class Use, class Flush>
INLINE void over_blocks(Group& g, int begin, int to, const Turn& turn, const Use& use, const Flush& flush) {
  for (int from = begin; from < to; from += at_once) {
    const Viewer* held = nullptr;
    for (int r = 0; r < g.count; ++r) {
      Viewer& row = g.rows[r];
      if (!row.sees(from, from + at_once)) continue;
      if (!held || held->slots != row.slots || held->known != row.known) {
        std::int32_t slots[at_once];
        slots_of(row, from, slots);
        if (!held || __builtin_memcmp(slots, g.slots, sizeof slots) != 0) {
          if (held) flush();
          __builtin_memcpy(g.slots, slots, sizeof slots);
          turn();
        }
        held = &row;
      }
      use(row, from);
    }
    if (held) flush();
  }
}

// The scores of a block of one row: capped, and those of positions that it does not see the lowest. Returns the
// greatest.
INLINE V finish_scores(const Group& g, const Viewer& row, int from, float* scores, V top) {
  for (int half = 0; half < at_once; half += 16) {
    V v = load(scores + half);
    if (g.cap > 0) v = splat(g.cap) * tanh(v / splat(g.cap));
    if (from + half < row.first || from + half + 16 > row.end) {
      const I at = lanes() + splat(from + half);
      v = pick((at >= splat(row.first)) & (splat(row.end) > at), v, splat(lowest));
    }
    store(scores + half, v);
    top = vmax(top, v);
  }
  return top;
}

// Turns a head's scores into weights, in their place, not yet divided by their sum; returns the sum. In pairs they are
// rounded to bfloat16 first.
template <bool pairs>
INLINE float weigh(float* scores, int count, float most) {
  const V high = splat(most);
  V total = splat(0.0f);
  auto* rounded = reinterpret_cast<std::uint16_t*>(scores);
  for (int j = 0; j < count; j += 16) {
    const V score = load(scores + j), weight = pick(score > splat(lowest), exp(score - high), splat(0.0f));
    if constexpr (pairs) {
      store_bf16(rounded + j, weight);
      total += load_bf16(rounded + j);
    } else {
      store(scores + j, weight);
      total += weight;
    }
  }
  return sum(total);
}

// The mixes of one stretch: each row's `part`, `most` and `total`.
template <Kept kept, int fixed>
void attend_stretch_of(Group& g, int begin) {
  const int dim = fixed ? fixed : g.dim;
  constexpr bool pairs = can_pair && kept == Kept::bf16;
  const int words = pairs ? dim / 2 : dim;
  int end = begin;
  for (int r = 0; r < g.count; ++r) end = g.rows[r].end > end ? g.rows[r].end : end;
  if (end > begin + stretch) end = begin + stretch;
  Waiting waiting;
  over_blocks(
      g, begin, end, [&] { turn_keys<kept, pairs>(g, dim); },
      [&](Viewer& row, int from) {
        for (int h = 0; h < g.heads; ++h)
          waiting.heads[waiting.count++] = {row.q + h * words, row.scores + h * stretch + (from - begin)};
      },
      [&] {
        in_tiles(waiting.heads, waiting.count,
                 [&](const Head* heads, int count) { score_heads<pairs>(heads, count, g.turned, words); });
        waiting.count = 0;
      });
  for (int r = 0; r < g.count; ++r) {
    Viewer& row = g.rows[r];
    if (!row.sees(begin, end)) continue;
    const int from = row.first > begin ? (row.first - begin) / at_once * at_once : 0;
    const int to = ((row.end < end ? row.end : end) - begin + at_once - 1) / at_once * at_once;
    for (int h = 0; h < g.heads; ++h) {
      float* scores = row.scores + h * stretch;
      V top = splat(lowest);
      for (int j = from; j < to; j += at_once) top = finish_scores(g, row, begin + j, scores + j, top);
      row.most[h] = greatest(top);
      row.total[h] = weigh<pairs>(scores + from, to - from, row.most[h]);
      if (pairs && from) __builtin_memmove(scores + from / 2, scores + from, sizeof(float) * (to - from) / 2);
    }
    for (int k = 0; k < g.heads * dim; k += 16) store(row.part + k, splat(0.0f));
  }
  const auto mix = [&](const Head* all, int together, int from, int to) {
    const std::int32_t last = pairs && to % 2 ? 0x0000ffff : -1;  // of a pair of positions the second may be unseen
    in_tiles(all, together, [&](const Head* heads, int count) {
      mix_heads<pairs>(heads, count, g.turned, dim, pairs ? from / 2 : from, pairs ? (to + 1) / 2 : to, last);
    });
  };
  over_blocks(
      g, begin, end, [&] { turn_values<kept, pairs>(g, dim); },
      [&](Viewer& row, int from) {
        const int low = row.first > from ? row.first - from : 0,
                  high = row.end - from < at_once ? row.end - from : at_once;
        Head heads[heads_together];
        for (int h = 0; h < g.heads; ++h) {
          const float* weights = row.scores + h * stretch + (pairs ? (from - begin) / 2 : from - begin);
          heads[h] = {reinterpret_cast<const std::int32_t*>(weights), row.part + h * dim};
          if (low == 0 && high == at_once) waiting.heads[waiting.count++] = heads[h];
        }
        if (low > 0 || high < at_once)
          mix(heads, g.heads, low, high);  // what it does not see is not even multiplied with 0
      },
      [&] {
        if (waiting.count) mix(waiting.heads, waiting.count, 0, at_once);
        waiting.count = 0;
      });
}

template <Kept kept>
INLINE void attend_stretch(Group& g, int begin) {
  if (g.dim == 64) return attend_stretch_of<kept, 64>(g, begin);
  attend_stretch_of<kept, 0>(g, begin);
}

// Merges what was mixed of a later stretch into what was mixed before it: (most, total) and n numbers `out`.
INLINE void merge(float* most, float* total, float* out, float later_most, float later_total, const float* later,
                  int n) {
  const float high = *most > later_most ? *most : later_most;
  const V before = exp(splat(*most - high)), after = exp(splat(later_most - high));
  alignas(64) float scale[2][16];
  store(scale[0], before), store(scale[1], after);
  *total = *total * scale[0][0] + later_total * scale[1][0];
  *most = high;
  for (int k = 0; k < n; k += 16) store(out + k, fma(load(later + k), after, load(out + k) * before));
}
