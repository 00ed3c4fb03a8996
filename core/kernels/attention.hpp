// Attention of one row; included once per instruction set, inside its namespace (no include guard, see vector.hpp).
// Up to four heads that share keys and values are done at once; each head's sums are the same as if it were done alone.

// Sixteen keys or values from number `at` on, a multiple of sixteen.
template <Kept kept>
INLINE V load_kv(const void* base, std::size_t at) {
  if constexpr (kept == Kept::f32) return load(static_cast<const float*>(base) + at);
  if constexpr (kept == Kept::bf16) return load_bf16(static_cast<const std::uint16_t*>(base) + at);
  return load_i4(static_cast<const std::uint8_t*>(base) + at / 16 * i4_bytes);
}

template <Kept kept>
INLINE void store_kv(void* base, std::size_t at, V v) {
  if constexpr (kept == Kept::f32) return store(static_cast<float*>(base) + at, v);
  if constexpr (kept == Kept::bf16) return store_bf16(static_cast<std::uint16_t*>(base) + at, v);
  store_i4(static_cast<std::uint8_t*>(base) + at / 16 * i4_bytes, v);
}

// What some heads of one row see of one layer: the slots of its past, itself the last.
struct Past {
  const void *keys, *values;
  const std::int32_t* slots;
  int first, end;         // positions
  std::size_t width, at;  // of a slot; where these heads' keys and values begin in it
  int dim;
  float cap;

  std::size_t place(int position) const { return static_cast<std::size_t>(slots[position]) * width + at; }
};

constexpr float lowest = -3e38f;  // for -inf, of which differences are not numbers

// scores[h * stride + j] = q of head h · k of position first + j, sixteen positions at a time; the last block is filled up.
// `fixed` is the heads' dimension where it is known to the compiler, else 0. Returns the greatest scores, lane by lane.
template <Kept kept, int heads, int fixed>
INLINE void score(const Past& past, const float* q, float* scores, std::size_t stride, V (&top)[heads]) {
  const int dim = fixed ? fixed : past.dim;
  for (int h = 0; h < heads; ++h) top[h] = splat(lowest);
  for (int j = past.first; j < past.end; j += 16) {
    const int live = past.end - j < 16 ? past.end - j : 16;
    V partial[heads][16];
    for (int i = 0; i < 16; ++i) {
      const std::size_t at = past.place(j + (i < live ? i : live - 1));
      V s[heads];
      for (int h = 0; h < heads; ++h) s[h] = splat(0.0f);
      for (int k = 0; k < dim; k += 16) {
        const V key = load_kv<kept>(past.keys, at + k);
        for (int h = 0; h < heads; ++h) s[h] = fma(load(q + h * dim + k), key, s[h]);
      }
      for (int h = 0; h < heads; ++h) partial[h][i] = s[h];
    }
    for (int h = 0; h < heads; ++h) {
      V block = sums(partial[h]);
      if (past.cap > 0) block = splat(past.cap) * tanh(block / splat(past.cap));
      for (int i = live; i < 16; ++i) block[i] = lowest;
      store(scores + h * stride + (j - past.first), block);
      top[h] = vmax(top[h], block);
    }
  }
}

// Turns a head's scores into weights, not yet divided by their sum; returns what to multiply with instead.
INLINE float weigh(float* scores, int count, V top) {
  const V high = splat(greatest(top));
  V total = splat(0.0f);
  for (int j = 0; j < count; j += 16) {
    V weight = exp(load(scores + j) - high);
    for (int i = count - j; i < 16; ++i) weight[i] = 0;  // what fills the block up
    store(scores + j, weight);
    total += weight;
  }
  return 1.0f / sum(total);
}

// out of head h = the values of the positions weighted with its scores, 64 dimensions at a time.
template <Kept kept, int heads, int fixed>
INLINE void mix(const Past& past, const float* scores, std::size_t stride, const float (&scale)[heads], float* out) {
  const int dim = fixed ? fixed : past.dim, count = past.end - past.first;
  for (int k = 0; k < dim; k += 64) {
    const int parts = fixed ? 4 : (dim - k < 64 ? dim - k : 64) / 16;
    V acc[heads][4];
    for (int h = 0; h < heads; ++h)
      for (int p = 0; p < 4; ++p) acc[h][p] = splat(0.0f);
    for (int j = 0; j < count; ++j) {
      const std::size_t at = past.place(past.first + j) + k;
      V weight[heads];
      for (int h = 0; h < heads; ++h) weight[h] = splat(scores[h * stride + j]);
      for (int p = 0; p < parts; ++p) {
        const V value = load_kv<kept>(past.values, at + 16 * p);
        for (int h = 0; h < heads; ++h) acc[h][p] = fma(weight[h], value, acc[h][p]);
      }
    }
    for (int h = 0; h < heads; ++h)
      for (int p = 0; p < parts; ++p) store(out + h * dim + k + 16 * p, acc[h][p] * splat(scale[h]));
  }
}

template <Kept kept, int heads, int fixed>
void attend_heads(const Past& past, const float* q, float* scores, std::size_t stride, float* out) {
  V top[heads];
  float scale[heads];
  score<kept, heads, fixed>(past, q, scores, stride, top);
  for (int h = 0; h < heads; ++h) scale[h] = weigh(scores + h * stride, past.end - past.first, top[h]);
  mix<kept, heads, fixed>(past, scores, stride, scale, out);
}

template <Kept kept, int heads>
INLINE void attend_dim(const Past& past, const float* q, float* scores, std::size_t stride, float* out) {
#if defined(ESPALIER_AVX512)
  if (past.dim == 64) return attend_heads<kept, heads, 64>(past, q, scores, stride, out);
#endif
  attend_heads<kept, heads, 0>(past, q, scores, stride, out);
}

template <Kept kept>
INLINE void attend(const Past& past, int heads, const float* q, float* scores, std::size_t stride, float* out) {
  switch (heads) {
    case 1: return attend_dim<kept, 1>(past, q, scores, stride, out);
    case 2: return attend_dim<kept, 2>(past, q, scores, stride, out);
    case 3: return attend_dim<kept, 3>(past, q, scores, stride, out);
    default: return attend_dim<kept, 4>(past, q, scores, stride, out);
  }
}
