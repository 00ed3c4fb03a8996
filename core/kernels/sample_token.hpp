// A token drawn from a row of logits under a mask, temperature and truncation; included once per instruction set,
// inside its namespace (no include guard, see vector.hpp).
//
// The row is read once: what comes of it are weights e^((logit - greatest) / T) and their sums over blocks of 1,024.
// Truncation looks for the least weight that is kept, without sorting. The place of the flip is found among the blocks,
// then within one.

constexpr int drawn_together = 1024;

// Σ of n weights that are greater than a bound: a few at a time in float, those sums in double.
INLINE double mass_above(const float* w, int n, float bound) {
  const V least = splat(bound);
  double total = 0;
  int i = 0;
  while (i + 64 <= n) {
    V lane[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
    for (int end = n - i < 512 ? n : i + 512; i + 64 <= end; i += 64)
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const V v = load(w + i + 16 * j);
        lane[j] += pick(v > least, v, splat(0.0f));
      }
    total += static_cast<double>(sum((lane[0] + lane[1]) + (lane[2] + lane[3])));
  }
  for (; i < n; ++i) total += w[i] > bound ? w[i] : 0;
  return total;
}

// Weights at or under `least` become 0, but for the first `equals` of those that equal it.
INLINE void cut(float* w, int n, float least, int equals) {
  for (int i = 0; i < n; ++i) {
    if (w[i] > least) continue;
    if (w[i] == least && equals > 0) {
      --equals;
    } else {
      w[i] = 0;
    }
  }
}

// Keeps the k greatest and those that equal the k-th.
INLINE void keep_top_k(float* w, int n, int k, float* room) {
  if (k >= n) return;
  float kth;
  if (k <= 256) {
    auto* places = reinterpret_cast<std::int32_t*>(room + k);
    top(w, n, k, room, places);
    kth = room[k - 1];
  } else {
    __builtin_memcpy(room, w, sizeof(float) * n);
    std::nth_element(room, room + k - 1, room + n, [](float a, float b) { return a > b; });
    kth = room[k - 1];
  }
  cut(w, n, kth, n);
}

// Keeps the fewest of the greatest whose mass is at least p of the whole; of equals the first.
INLINE void keep_top_p(float* w, int n, double p, float* room) {
  const double wanted = p * mass_above(w, n, 0);
  float bound = 0;  // the greatest weight is 1: few of them are needed as a rule
  double above = 0;
  for (const float next : {1e-2f, 1e-4f, 1e-6f})
    if (above < wanted) above = mass_above(w, n, bound = next);
  if (above < wanted) bound = 0;
  int count = 0;
  for (int i = 0; i < n; i += 16) {
    const int live = n - i < 16 ? n - i : 16;
    if (live == 16 && !any(load(w + i) > splat(bound))) continue;
    for (int j = i; j < i + live; ++j)
      if (w[j] > bound) room[count++] = w[j];
  }
  float *begin = room, *end = room + count, least = 0;
  double before = 0;
  int equals = n;
  while (
      begin <
      end) {  // the least that is kept lies among begin … end; `before` is the mass of those greater than all of them
    const float pivot = begin[(end - begin) / 2];
    float* const greater = std::partition(begin, end, [&](float x) { return x > pivot; });
    float* const equal = std::partition(greater, end, [&](float x) { return x == pivot; });
    double mass = 0;
    for (const float* x = begin; x < greater; ++x) mass += *x;
    if (before + mass >= wanted) {
      end = greater;
      continue;
    }
    before += mass;
    least = pivot;
    equals = 0;
    for (float* x = greater; x < equal && before < wanted; ++x, ++equals) before += pivot;
    if (before >= wanted) break;
    begin = equal;
  }
  if (least > 0) cut(w, n, least, equals);
}

// Whether all of a row are numbers and none is infinitely likely, masked or not.
INLINE bool is_law(const float* row, int n) {
  const V infinite = splat(__builtin_inff());
  V strange = splat(0.0f);
  int i = 0;
  for (; i + 16 <= n; i += 16)
    strange = pick(infinite > load(row + i), strange, splat(1.0f));  // false for what is no number
  bool fine = !(greatest(strange) > 0);
  for (; i < n; ++i) fine = fine && row[i] < __builtin_inff();
  return fine;
}

// Writes the weights of a row into w; false if it is broken, or none is positive.
INLINE bool weigh_row(const float* row, int n, const std::uint8_t* mask, const std::int32_t* refused, int refusals,
                      float temperature, float* w) {
  if (!is_law(row, n)) return false;
  float most = lowest;
  if (mask) {
    for (int i = 0; i < n; ++i) w[i] = mask[i] ? row[i] : -__builtin_inff();
  } else {
    __builtin_memcpy(w, row, sizeof(float) * n);
  }
  for (int i = 0; i < refusals; ++i) w[refused[i]] = -__builtin_inff();
  const int whole = (n + 15) / 16 * 16;
  for (int j = n; j < whole; ++j) w[j] = -__builtin_inff();
  V high = splat(lowest);
  for (int i = 0; i < whole; i += 16) high = vmax(load(w + i), high);
  most = greatest(high);
  if (!(most > lowest)) return false;
  const V scale = splat(1.0f / temperature), far = splat(-87.0f);
  for (int i = 0; i < whole; i += 16) {
    const V x = (load(w + i) - splat(most)) * scale;
    store(w + i, pick(x >= far, exp(x), splat(0.0f)));
  }
  return true;
}

// The token at which the running sum of the weights passes u times their total; -1 if there is none.
INLINE int find(const float* w, int n, double u) {
  constexpr int blocks = 512;
  const int fitting = (n / blocks + 16) / 16 * 16, block = fitting > drawn_together ? fitting : drawn_together;
  double mass[blocks + 1], total = 0;
  for (int b = 0; b * block < n; ++b) {
    const int at = b * block;
    mass[b] = mass_above(w + at, n - at < block ? n - at : block, 0);
    total += mass[b];
  }
  if (!(total > 0 && total < 1e300)) return -1;
  const double wanted = u * total;
  double passed = 0;
  int last = -1;
  for (int b = 0; b * block < n; passed += mass[b], ++b) {
    if (mass[b] == 0 || (passed + mass[b] <= wanted && (b + 1) * block < n)) continue;
    double sum = passed;
    for (int i = b * block; i < n && i < (b + 1) * block; ++i) {
      sum += w[i];
      if (w[i] > 0) last = i;
      if (w[i] > 0 && sum > wanted) return i;
    }
  }
  for (int i = n - 1; last < 0; --i)  // a product rounded up to the total: the last possible one
    if (w[i] > 0) last = i;
  return last;
}

// A token of the row's law by one flip u in [0, 1); -1 if nothing can be drawn. `room`: 2 n + 64 floats.
int draw(const float* row, int n, const std::uint8_t* mask, const std::int32_t* refused, int refusals,
         const Reshape* steps, int count, double u, float* room) {
  float *w = room, *spare = room + n + 32;
  float temperature = 1;
  for (int i = 0; i < count; ++i)
    if (steps[i].what == Reshape::temperature) temperature *= static_cast<float>(steps[i].by);
  if (!weigh_row(row, n, mask, refused, refusals, temperature, w)) return -1;
  for (int i = 0; i < count; ++i) switch (steps[i].what) {
      case Reshape::temperature: break;
      case Reshape::top_k: keep_top_k(w, n, steps[i].by < n ? static_cast<int>(steps[i].by) : n, spare); break;
      case Reshape::top_p:
        if (steps[i].by < 1) keep_top_p(w, n, steps[i].by, spare);
        break;
      case Reshape::min_p:  // the greatest weight is 1; as the shaper allows for rounding, so does this
        for (int j = 0; j < n; ++j)
          if (w[j] < static_cast<float>(steps[i].by * (1 - 1e-7))) w[j] = 0;
        break;
    }
  return find(w, n, u);
}
