// What is asked of a row of logits: the greatest, and what all of them add up to; included once per instruction set,
// inside its namespace (no include guard, see vector.hpp).

// values, places: the k greatest of n numbers and where they are, the greatest first, of equals the first one first; k
// ≤ n. Sixty-four numbers at a time are compared with the least of those held: few blocks have one that is greater.
void top(const float* row, int n, int k, float* values, std::int32_t* places) {
  int held = 0;
  const auto look = [&](int i) {
    if (held == k && !(row[i] > values[k - 1])) return;
    int at = held < k ? held++ : k - 1;
    for (; at > 0 && values[at - 1] < row[i]; --at) {
      values[at] = values[at - 1];
      places[at] = places[at - 1];
    }
    values[at] = row[i];
    places[at] = i;
  };
  int i = 0;
  for (; i < k; ++i) look(i);
  for (; i + 64 <= n; i += 64) {
    const V most = vmax(vmax(load(row + i), load(row + i + 16)), vmax(load(row + i + 32), load(row + i + 48)));
    if (any(most > splat(values[k - 1])))
      for (int j = i; j < i + 64; ++j) look(j);
  }
  for (; i < n; ++i) look(i);
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
