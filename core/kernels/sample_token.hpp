// A token drawn from a row of logits under a mask, temperature and truncation; included once per instruction set,
// inside its namespace (no include guard, see vector.hpp).
//
// The row is read twice, for the greatest and for the weights e^((logit - greatest) / T), and their sums over blocks
// are taken on the way. Truncation looks for the least weight that is kept without sorting: how much lies above eight
// bounds is summed at once, and the bounds close in on it. The place of the flip is found among the blocks, then within
// one.

constexpr int blocks_at_most = 512, bounds_together = 8, few = 192;

// Σ of the weights of each block of `block` places, and of all.
struct Masses {
  int block, count;
  double of[blocks_at_most + 1], total;
  INLINE explicit Masses(int n) {
    block = (n / blocks_at_most + 16) / 16 * 16;
    if (block < 1024) block = 1024;
    count = (n + block - 1) / block;
    total = 0;
  }
};

INLINE float float_of(std::uint32_t bits) {
  float f;
  __builtin_memcpy(&f, &bits, sizeof f);
  return f;
}
INLINE std::uint32_t bits_of(float f) {
  std::uint32_t bits;
  __builtin_memcpy(&bits, &f, sizeof bits);
  return bits;
}

// What of the sixteen places from i on (a multiple of 16) a bitmap allows.
INLINE I allowed_at(const std::uint8_t* bits, int i) {
  alignas(64) static constexpr std::int32_t each[16] = {1 << 0,  1 << 1,  1 << 2,  1 << 3, 1 << 4,  1 << 5,
                                                        1 << 6,  1 << 7,  1 << 8,  1 << 9, 1 << 10, 1 << 11,
                                                        1 << 12, 1 << 13, 1 << 14, 1 << 15};
  const std::int32_t sixteen = bits[i / 8] | bits[i / 8 + 1] << 8;
  return (splat(sixteen) & load(each)) > splat(0);
}

// For each bound how much of n weights lies above it: their sum, or how many they are.
template <bool counted>
INLINE void above(const float* w, int n, const float* bounds, double* found) {
  constexpr int lanes = register_bytes == 64 ? 8 : 4;
  for (int j = 0; j < bounds_together; ++j) found[j] = 0;
  for (int from = 0; from < n; from += 1024) {
    const int to = from + 1024 < n ? from + 1024 : n;
    for (int first = 0; first < bounds_together; first += lanes) {
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

// Weights at or under `least` become 0, but for the first `equals` of those that equal it; the sums are taken anew.
INLINE void cut(float* w, int n, float least, int equals, Masses& masses) {
  const V bound = splat(least), none = splat(0.0f);
  masses.total = 0;
  for (int b = 0, i = 0; b < masses.count; ++b) {
    V sums[2] = {none, none};
    for (const int end = i + masses.block < n ? i + masses.block : n; i < end; i += 16) {
      const V v = load(w + i);
      V kept = pick(v > bound, v, none);
      if (equals > 0 && any(pick(v > bound, splat(-1.0f), v) >= bound)) {
        alignas(64) float left[16];
        store(left, kept);
        for (int j = 0; j < 16; ++j)
          if (w[i + j] == least && equals > 0) left[j] = least, --equals;
        kept = load(left);
      }
      store(w + i, kept);
      sums[i / 16 & 1] += kept;
    }
    masses.total += masses.of[b] = static_cast<double>(sum(sums[0] + sums[1]));
  }
}

// Cuts off all but the greatest weights, which are wanted in a sum (or a number) of at least `wanted`: the fewest, of
// equals the first (counted: all that equal the last). Sums above the bit patterns lo and hi are known; `hi` is the
// pattern of the greatest weight, and no more than what is above `lo` is needed.
template <bool counted>
INLINE void keep_greatest(float* w, int n, double wanted, std::uint32_t lo, double above_lo, float* room,
                          Masses& masses) {
  std::uint32_t hi = bits_of(1.0f);
  double above_hi = 0;
  while (hi - lo > 1 && hi > lo) {  // the least that is kept is above lo and at most hi
    if (above_lo - above_hi <= few * (counted ? 1.0 : static_cast<double>(float_of(lo)))) break;
    float bounds[bounds_together];
    double found[bounds_together];
    std::uint32_t at[bounds_together];
    for (int j = 0; j < bounds_together; ++j) {
      at[j] = lo + static_cast<std::uint32_t>(static_cast<std::uint64_t>(hi - lo) * static_cast<std::uint64_t>(j + 1) /
                                              (bounds_together + 1));
      bounds[j] = float_of(at[j]);
    }
    above<counted>(w, n, bounds, found);
    for (int j = bounds_together - 1; j >= 0; --j) {
      if (found[j] >= wanted) {
        lo = at[j], above_lo = found[j];
        break;
      }
      hi = at[j], above_hi = found[j];
    }
  }
  const float low = float_of(lo), high = float_of(hi);
  int count = 0;
  double before = 0;
  const V lowest_kept = splat(low);
  for (int from = 0; from < n; from += 1024) {
    const V most = splat(high);
    V sums = splat(0.0f);
    for (int i = from, end = from + 1024 < n ? from + 1024 : n; i < end; i += 16) {
      const V v = load(w + i), greater = pick(v > most, v, splat(0.0f));
      sums += counted ? pick(v > most, splat(1.0f), splat(0.0f)) : greater;
      if (!any((v - greater) > lowest_kept)) continue;
      for (int j = i; j < i + 16; ++j)
        if (w[j] > low && w[j] <= high) room[count++] = w[j];
    }
    before += static_cast<double>(sum(sums));
  }
  if (hi - lo > 1) std::sort(room, room + count, [](float a, float b) { return a > b; });
  float least = high;
  int equals = 0;
  for (int i = 0; i < count && before < wanted; ++i, ++equals) {
    if (room[i] != least) least = room[i], equals = 0;
    before += counted ? 1.0 : static_cast<double>(room[i]);
  }
  if (counted && before < wanted) return;  // there are not so many
  cut(w, n, least, counted ? n : equals, masses);
}

// Keeps the k greatest and those that equal the k-th.
INLINE void keep_top_k(float* w, int n, int size, int k, float* room, Masses& masses) {
  if (k < size) keep_greatest<true>(w, n, k, 0, n, room, masses);
}

// Keeps the fewest of the greatest whose mass is at least p of the whole; of equals the first. Weights under
// (1 - p) / n of the whole are not needed even together.
INLINE void keep_top_p(float* w, int n, double p, float* room, Masses& masses) {
  if (!(masses.total > 0)) return;
  const double spare = (1 - p) * masses.total / n * (1 - 1e-3);
  keep_greatest<false>(w, n, p * masses.total, spare < 1 ? bits_of(static_cast<float>(spare)) : 0, masses.total, room,
                       masses);
}

// Writes the weights of a row into w, up to a whole number of vectors; false if the row is broken (not all of it are
// numbers, or one is infinitely likely, masked or not), or none is positive.
template <bool masked>
INLINE bool weigh_row(const float* row, int n, const std::uint8_t* bits, float temperature, float* w, Masses& masses) {
  const V infinite = splat(__builtin_inff()), never = splat(-__builtin_inff());
  alignas(64) float rest[16];
  const int whole = n / 16 * 16, padded_n = (n + 15) / 16 * 16;
  for (int j = 0; j < 16; ++j) rest[j] = whole + j < n ? row[whole + j] : -__builtin_inff();
  const auto logits = [&](int i) __attribute__((always_inline)) { return load(i < whole ? row + i : rest); };
  V high[2] = {splat(lowest), splat(lowest)}, strange[2] = {splat(0.0f), splat(0.0f)};
  for (int i = 0; i < padded_n; i += 32)
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const int at = i + 16 * j < padded_n ? i + 16 * j : i;
      V x = logits(at);
      strange[j] = pick(infinite > x, strange[j], splat(1.0f));  // false for what is no number
      if constexpr (masked) x = pick(allowed_at(bits, at), x, never);
      high[j] = vmax(x, high[j]);
    }
  const float most = greatest(vmax(high[0], high[1]));
  if (greatest(vmax(strange[0], strange[1])) > 0 || !(most > lowest)) return false;
  const V scale = splat(1.0f / temperature), far = splat(-87.0f), top_of = splat(most);
  for (int b = 0, i = 0; b < masses.count; ++b) {
    V sums[2] = {splat(0.0f), splat(0.0f)};
    for (const int end = i + masses.block < padded_n ? i + masses.block : padded_n; i < end; i += 16) {
      const V x = (logits(i) - top_of) * scale;
      V weight = pick(x >= far, exp(x), splat(0.0f));
      if constexpr (masked) weight = pick(allowed_at(bits, i), weight, splat(0.0f));
      store(w + i, weight);
      sums[i / 16 & 1] += weight;
    }
    masses.total += masses.of[b] = static_cast<double>(sum(sums[0] + sums[1]));
  }
  return true;
}

// The token at which the running sum of the weights passes u times their total; -1 if there is none.
INLINE int find(const float* w, int n, double u, const Masses& masses) {
  if (!(masses.total > 0 && masses.total < 1e300)) return -1;
  const double wanted = u * masses.total;
  double passed = 0;
  int last = -1;
  for (int b = 0; b < masses.count; passed += masses.of[b], ++b) {
    if (masses.of[b] == 0 || (passed + masses.of[b] <= wanted && b + 1 < masses.count)) continue;
    double sum = passed;
    for (int i = b * masses.block; i < n && i < (b + 1) * masses.block; ++i) {
      sum += static_cast<double>(w[i]);
      if (w[i] > 0) last = i;
      if (w[i] > 0 && sum > wanted) return i;
    }
  }
  for (int i = n - 1; last < 0; --i)  // a product rounded up to the total: the last possible one
    if (w[i] > 0) last = i;
  return last;
}

// A token of the row's law by one flip u in [0, 1); -1 if nothing can be drawn. `mask` is a bitmap of whole words of 32
// bits, or null; `room`: 2 n + n / 32 + 128 floats.
int draw(const float* row, int n, const std::uint8_t* mask, const std::int32_t* refused, int refusals,
         const Reshape* steps, int count, double u, float* room) {
  float *w = room, *spare = room + n + 32;
  if (refusals > 0) {
    auto* bits = reinterpret_cast<std::uint8_t*>(room + 2 * n + 64);
    const int bytes = (n + 31) / 32 * 4;
    if (mask) {
      __builtin_memcpy(bits, mask, bytes);
    } else {
      __builtin_memset(bits, 255, bytes);
    }
    for (int i = 0; i < refusals; ++i) bits[refused[i] / 8] &= static_cast<std::uint8_t>(~(1 << refused[i] % 8));
    mask = bits;
  }
  float temperature = 1;
  for (int i = 0; i < count; ++i)
    if (steps[i].what == Reshape::temperature) temperature *= static_cast<float>(steps[i].by);
  Masses masses(n);
  const bool fine = mask ? weigh_row<true>(row, n, mask, temperature, w, masses)
                         : weigh_row<false>(row, n, mask, temperature, w, masses);
  if (!fine) return -1;
  const int whole = (n + 15) / 16 * 16;
  for (int i = 0; i < count; ++i) switch (steps[i].what) {
      case Reshape::temperature: break;
      case Reshape::top_k:
        keep_top_k(w, whole, n, steps[i].by < n ? static_cast<int>(steps[i].by) : n, spare, masses);
        break;
      case Reshape::top_p:
        if (steps[i].by < 1) keep_top_p(w, whole, steps[i].by, spare, masses);
        break;
      case Reshape::min_p:  // the greatest weight is 1; as the shaper allows for rounding, so does this
        if (steps[i].by > 0) cut(w, whole, static_cast<float>(steps[i].by * (1 - 1e-7)), whole, masses);
        break;
    }
  return find(w, n, u, masses);
}
