// Which weights of a row truncation keeps; included once per instruction set, inside its namespace (no include guard,
// see vector.hpp).
//
// The least weight that is kept is looked for without sorting: how much lies above eight bounds is summed at once, and
// the bounds close in on it. A sixteenth of the row says where the first bounds are best put, so that one look at the
// whole row leaves few weights between two of them. Those are copied, and the bounds close in on the copy.

constexpr int bounds_together = 8, few = 192;
constexpr std::uint32_t fine = 1 << 17;  // of a pattern: weights that differ by a sixty-fourth

// For each bound how much of n weights lies above it: their sum, or how many they are.
template <bool counted, int many>
INLINE void above(const float* w, int n, const float* bounds, double* found) {
  constexpr int lanes = register_bytes == 64 ? many : 4;
  for (int j = 0; j < many; ++j) found[j] = 0;
  for (int from = 0; from < n; from += 1024) {
    const int to = from + 1024 < n ? from + 1024 : n;
    for (int first = 0; first < many; first += lanes) {
      V sums[lanes], bound[lanes];
#pragma GCC unroll 8
      for (int j = 0; j < lanes; ++j) sums[j] = splat(0.0f), bound[j] = splat(bounds[first + j]);
      for (int i = from; i < to; i += 16) {
        const V v = load(w + i);
#pragma GCC unroll 8
        for (int j = 0; j < lanes; ++j) sums[j] += pick(v > bound[j], counted ? splat(1.0f) : v, splat(0.0f));
      }
#pragma GCC unroll 8
      for (int j = 0; j < lanes; ++j) found[first + j] += static_cast<double>(sum(sums[j]));
    }
  }
}

// The least that is kept lies above the bit pattern lo and not above hi, above which there is so much.
struct Bracket {
  std::uint32_t lo, hi;
  double above_hi;

  // One look at n weights, of which `wanted` are kept, by so many bounds in rising order.
  template <bool counted, int many>
  INLINE void close_in(const float* w, int n, double wanted, const std::uint32_t* at) {
    float bounds[many];
    double found[many];
    for (int j = 0; j < many; ++j) bounds[j] = float_of(at[j]);
    above<counted, many>(w, n, bounds, found);
    for (int j = many - 1; j >= 0; --j) {
      if (at[j] <= lo || at[j] >= hi) continue;
      if (found[j] >= wanted) {
        lo = at[j];
        break;
      }
      hi = at[j], above_hi = found[j];
    }
  }

  // The same with bounds that lie evenly between lo and hi.
  template <bool counted>
  INLINE void close_in(const float* w, int n, double wanted) {
    std::uint32_t at[bounds_together];
    for (int j = 0; j < bounds_together; ++j)
      at[j] = lo + static_cast<std::uint32_t>(static_cast<std::uint64_t>(hi - lo) * static_cast<std::uint64_t>(j + 1) /
                                              (bounds_together + 1));
    close_in<counted, bounds_together>(w, n, wanted, at);
  }
};

// Memory for the weights between two bounds and their places, and for a sixteenth of the row.
struct Between {
  float* values;
  std::int32_t* places;
  float* sample;
  int count = 0;
};

// Narrows the bracket by a look at a sixteenth of the row and one at the row; how many of the sixteenth are left in it.
template <bool counted>
INLINE int guess(const float* w, int n, double wanted, double total, Bracket& bracket, float* sample) {
  int size = 0;
  V mass = splat(0.0f);
  for (int i = 0; i < n; i += 256, size += 16) {
    const V v = load(w + i);
    store(sample + size, v);
    mass += v;
  }
  const double whole = counted ? size : static_cast<double>(sum(mass)),
               share = counted ? 1.0 * size / n : whole / total;
  if (!(whole > 0)) return size;
  Bracket guessed{bracket.lo, bracket.hi, 0};
  while (guessed.hi - guessed.lo > fine) guessed.close_in<counted>(sample, size, wanted * share);
  static constexpr std::int64_t apart[4] = {-12, -2, 3, 13};
  std::uint32_t at[4];
  for (int j = 0; j < 4; ++j) {
    const std::int64_t bits = guessed.lo + apart[j] * fine;
    at[j] = static_cast<std::uint32_t>(bits < 0 ? 0 : bits);
  }
  bracket.close_in<counted, 4>(w, n, wanted, at);
  int left = 0;
  for (int i = 0; i < size; ++i) left += sample[i] > float_of(bracket.lo) && sample[i] <= float_of(bracket.hi);
  return left;
}

// Copies what lies within the bracket, and sums what lies above it, block by block.
INLINE void copy_between(const float* w, int n, const Bracket& bracket, Between& between, Masses& masses) {
  const float low = float_of(bracket.lo), high = float_of(bracket.hi);
  const V lower = splat(low), upper = splat(high), none = splat(0.0f);
  int count = 0;
  for (int b = 0, i = 0; b < masses.count; ++b) {
    V sums[2] = {none, none};
    for (const int end = i + masses.block < n ? i + masses.block : n; i < end; i += 16) {
      const V v = load(w + i), greater = pick(v > upper, v, none);
      sums[i / 16 & 1] += greater;
      if (!any((v - greater) > lower)) continue;
      for (int j = i; j < i + 16; ++j) {  // without a branch that cannot be foretold
        between.values[count] = w[j];
        between.places[count] = j;
        count += w[j] > low && w[j] <= high;
      }
    }
    masses.of[b] = static_cast<double>(sum(sums[0] + sums[1]));
  }
  between.count = count;
}

// What is left if only the greatest weights are kept, which are wanted in a sum (or a number) of at least `wanted`: the
// fewest, of equals the first (counted: all that equal the last). Nothing under the pattern lo is needed. The sums are
// taken anew.
template <bool counted>
INLINE Remains keep_greatest(const float* w, int n, double wanted, std::uint32_t lo, Between& between, Masses& masses) {
  Bracket bracket{lo, bits_of(1.0f), 0};
  if (n > 4096) {
    int left = guess<counted>(w, n, wanted, masses.total, bracket, between.sample);
    for (; left > n / 256 + 16 && bracket.hi - bracket.lo > 1; left /= bounds_together)
      bracket.close_in<counted>(w, n, wanted);
  }
  copy_between(w, n, bracket, between, masses);
  float* values = between.values;
  const int padded_count = (between.count + 15) / 16 * 16;
  for (int i = between.count; i < padded_count; ++i) values[i] = 0;
  const double before = bracket.above_hi, more = wanted - before;
  Bracket inner{bracket.lo, bracket.hi, 0};
  const auto within = [&](int i) { return values[i] > float_of(inner.lo) && values[i] <= float_of(inner.hi); };
  int left = between.count;
  while (left > few && inner.hi - inner.lo > 1) {
    inner.close_in<counted>(values, padded_count, more);
    left = 0;
    for (int i = 0; i < between.count; ++i) left += within(i);
  }
  float* sorted = between.sample;  // `few` of them, or all equal
  float least = float_of(inner.hi);
  int equals = 0;
  double held = inner.above_hi;
  if (left > few) {
    equals = counted ? left : static_cast<int>(__builtin_ceil((more - held) / static_cast<double>(least)));
  } else {
    left = 0;
    for (int i = 0; i < between.count; ++i)
      if (within(i)) sorted[left++] = values[i];
    std::sort(sorted, sorted + left, [](float a, float b) { return a > b; });
    for (int i = 0; i < left && held < more; ++i, ++equals) {
      if (sorted[i] != least) least = sorted[i], equals = 0;
      held += counted ? 1.0 : static_cast<double>(sorted[i]);
    }
  }
  Remains kept{least, -1};
  if (counted) equals = n;
  masses.total = 0;
  for (int i = 0; i < between.count; ++i) {
    if (values[i] == least && equals > 0) --equals, kept.last = between.places[i];
    if (values[i] > least || (values[i] == least && between.places[i] <= kept.last))
      masses.of[between.places[i] / masses.block] += static_cast<double>(values[i]);
  }
  for (int b = 0; b < masses.count; ++b) masses.total += masses.of[b];
  return kept;
}

// Zeroes what is not kept, and takes the sums anew.
INLINE void cut(float* w, int n, const Remains& kept, Masses& masses) {
  const V bound = splat(kept.least), none = splat(0.0f);
  masses.total = 0;
  for (int b = 0, i = 0; b < masses.count; ++b) {
    V sums[2] = {none, none};
    for (const int end = i + masses.block < n ? i + masses.block : n; i < end; i += 16) {
      const V v = load(w + i);
      V left = pick(v > bound, v, none);
      if (i <= kept.last && any(pick(v > bound, splat(-1.0f), v) >= bound)) {
        alignas(64) float each[16];
        for (int j = 0; j < 16; ++j) each[j] = kept.has(w, i + j) ? w[i + j] : 0;
        left = load(each);
      }
      store(w + i, left);
      sums[i / 16 & 1] += left;
    }
    masses.total += masses.of[b] = static_cast<double>(sum(sums[0] + sums[1]));
  }
}

// What is left of n weights (padded with zeros to whole vectors) after these steps. What all but the last one refuse is
// zeroed; what that one refuses need not be.
INLINE Remains truncate(float* w, int n, const Reshape* steps, int count, Between& between, Masses& masses) {
  const int whole = (n + 15) / 16 * 16;
  Remains kept;
  for (const Reshape* step = steps; step != steps + count; ++step) {
    if (step->what == Reshape::temperature || !(masses.total > 0)) continue;
    if (kept.least > 0) cut(w, whole, kept, masses);
    kept = Remains{};
    if (step->what == Reshape::top_k && step->by < n) {
      kept = keep_greatest<true>(w, whole, step->by, 0, between, masses);
    } else if (step->what == Reshape::top_p && step->by < 1) {
      // weights under (1 - p) / n of the whole are not needed even together
      const double spare = (1 - step->by) * masses.total / whole * (1 - 1e-3);
      kept = keep_greatest<false>(w, whole, step->by * masses.total, spare < 1 ? bits_of(static_cast<float>(spare)) : 0,
                                  between, masses);
    } else if (step->what == Reshape::min_p && step->by > 0) {
      // the greatest weight is 1; as the shaper allows for rounding, so does this
      kept = Remains{static_cast<float>(step->by * (1 - 1e-7)), whole};
      cut(w, whole, kept, masses);
      kept = Remains{};
    }
  }
  return kept;
}
