// What is asked of a row of logits: the greatest, what all of them add up to, the weights e^((logit - greatest) / T)
// under a mask with their sums; included once per instruction set, inside its namespace (no include guard, see
// vector.hpp).

// values, places: the k greatest of n numbers that a bitmap allows and where they are, the greatest first, of equals
// the first one first; k ≤ n. How many there are: what is refused or -inf counts for nothing. Sixty-four numbers at a
// time are compared with the least of those held: few blocks have one that is greater.
template <bool masked>
INLINE int top_of(const float* row, int n, const std::uint8_t* bits, int k, float* values, std::int32_t* places) {
  int held = 0;
  const auto look = [&](int i) {
    const float x = row[i];
    if (!(x > -__builtin_inff()) || (held == k && !(x > values[k - 1]))) return;
    if (masked && !(bits[i / 8] >> i % 8 & 1)) return;
    int at = held < k ? held++ : k - 1;
    for (; at > 0 && values[at - 1] < x; --at) {
      values[at] = values[at - 1];
      places[at] = places[at - 1];
    }
    values[at] = x;
    places[at] = i;
  };
  int i = 0;
  for (; i + 64 <= n; i += 64) {
    if (masked) {
      std::uint64_t words;
      __builtin_memcpy(&words, bits + i / 8, sizeof words);
      if (words == 0) continue;
    }
    const V most = vmax(vmax(load(row + i), load(row + i + 16)), vmax(load(row + i + 32), load(row + i + 48)));
    if (held < k || any(most > splat(values[k - 1])))
      for (int j = i; j < i + 64; ++j) look(j);
  }
  for (; i < n; ++i) look(i);
  return held;
}

// The same of all numbers; those that are not there are -inf, and the first of them.
void top(const float* row, int n, int k, float* values, std::int32_t* places) {
  int held = top_of<false>(row, n, nullptr, k, values, places);
  for (int i = 0; held < k && i < n; ++i)
    if (!(row[i] > -__builtin_inff())) values[held] = row[i], places[held++] = i;
}

// log Σ e^x over n numbers, of which one at least is finite.
float log_sum_exp(const float* row, int n) {
  float most = row[0];
  V high = splat(most), total[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
  int i = 0;
  for (; i + 16 <= n; i += 16) high = vmax(high, load(row + i));
  for (most = greatest(high); i < n; ++i) most = row[i] > most ? row[i] : most;
  for (i = 0; i + 64 <= n; i += 64)
    for (int j = 0; j < 4; ++j) total[j] += exp(load(row + i + 16 * j) - splat(most));
  double sum = 0;
  for (int j = 0; j < 4; ++j) {
    alignas(64) float each[16];
    store(each, total[j]);
    for (float part : each) sum += part;
  }
  for (; i < n; ++i) sum += __builtin_exp(static_cast<double>(row[i]) - most);
  return static_cast<float>(most + __builtin_log(sum));
}

constexpr int blocks_at_most = 512;

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

// What is left of the weights: those above `least`, and of those that equal it the ones up to the place `last`.
struct Remains {
  float least = 0;
  int last = -1;
  INLINE bool has(const float* w, int i) const { return w[i] > least || (w[i] == least && i <= last && least > 0); }
};

// A row and what is asked of it: a bitmap of whole words of 32 bits or null, the temperature.
struct Asked {
  const float* row;
  const std::uint8_t* mask;
  float temperature, most;  // `most`: the greatest logit that the mask allows, found by `weigh`
  INLINE void heated(const Wanted& wanted) {
    for (int i = 0; i < wanted.count; ++i)
      if (wanted.steps[i].what == Reshape::temperature) temperature *= static_cast<float>(wanted.steps[i].by);
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

// The row with a few logits changed, in `changed`: added to, or divided if positive and multiplied if negative.
INLINE const float* edited(const float* row, int n, const Edit* edits, int count, float* changed) {
  if (count == 0) return row;
  __builtin_memcpy(changed, row, sizeof(float) * static_cast<std::size_t>(n));
  for (const Edit* edit = edits; edit != edits + count; ++edit)
    for (int i = 0; i < edit->count; ++i) {
      float& x = changed[edit->tokens[i]];
      if (edit->what == Edit::add) {
        x += edit->by[i];
      } else {
        const float less = x / edit->by[0], more = x * edit->by[0];
        x = (edit->by[0] >= 1) == (less < more) ? less : more;
      }
    }
  return changed;
}

// The mask without the refused tokens, in `bits` if there are any.
INLINE const std::uint8_t* without(const std::uint8_t* mask, int n, const std::int32_t* refused, int refusals,
                                   std::uint8_t* bits) {
  if (refusals == 0) return mask;
  const auto bytes = static_cast<std::size_t>((n + 31) / 32 * 4);
  if (mask) {
    __builtin_memcpy(bits, mask, bytes);
  } else {
    __builtin_memset(bits, 255, bytes);
  }
  for (int i = 0; i < refusals; ++i) bits[refused[i] / 8] &= static_cast<std::uint8_t>(~(1 << refused[i] % 8));
  return bits;
}

// Writes the weights of a row into w, up to a whole number of vectors; false if the row is broken (not all of it are
// numbers, or one is infinitely likely, masked or not), or none is positive.
template <bool masked>
INLINE bool weigh_row(Asked& asked, int n, float* w, Masses& masses) {
  const float* row = asked.row;
  const std::uint8_t* bits = asked.mask;
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
  asked.most = greatest(vmax(high[0], high[1]));
  if (greatest(vmax(strange[0], strange[1])) > 0 || !(asked.most > lowest)) return false;
  const V scale = splat(1.0f / asked.temperature), far = splat(-87.0f), top_of = splat(asked.most);
  for (int b = 0, i = 0; b < masses.count; ++b) {
    V sums[2] = {splat(0.0f), splat(0.0f)};
    for (const int end = i + masses.block < padded_n ? i + masses.block : padded_n; i < end; i += 16) {
      const V x = (logits(i) - top_of) * scale;
      V weight = pick(x >= far, exp_within(x), splat(0.0f));
      if constexpr (masked) weight = pick(allowed_at(bits, i), weight, splat(0.0f));
      store(w + i, weight);
      sums[i / 16 & 1] += weight;
    }
    masses.total += masses.of[b] = static_cast<double>(sum(sums[0] + sums[1]));
  }
  return true;
}

INLINE bool weigh(Asked& asked, int n, float* w, Masses& masses) {
  return asked.mask ? weigh_row<true>(asked, n, w, masses) : weigh_row<false>(asked, n, w, masses);
}
