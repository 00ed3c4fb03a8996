// Tasks shared out among the team, norms and turns of a row; included once per instruction set, inside its namespace
// (no include guard, see vector.hpp).

template <class Task>
INLINE void each(Team& team, int thread, int tasks, const Task& task) {
  for (int i = team.take(thread, tasks); i < tasks; i = team.take(thread, tasks)) task(i);
  team.meet();
}

// out = x / rms(x) * weight over n values (n a multiple of 16 or padded with zeros up to one).
void rms_norm(const float* x, const float* weight, int n, float eps, float* out) {
  V total = splat(0.0f);
  for (int k = 0; k < n; k += 16) total = fma(load(x + k), load(x + k), total);
  const V scale = splat(1.0f / __builtin_sqrtf(sum(total) / static_cast<float>(n) + eps));
  for (int k = 0; k < n; k += 16) store(out + k, load(x + k) * scale * load(weight + k));
}

// The pairs (i, i + n / 2) of a head turned by the angles of its position; turn: n / 2 cosines, then n / 2 sines.
void turn(float* x, const float* turn, int n) {
  const int half = n / 2;
  for (int i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half], c = turn[i], s = turn[i + half];
    x[i] = a * c - b * s;
    x[i + half] = b * c + a * s;
  }
}
