// A token drawn from a row of logits under a mask, temperature and truncation, and the most probable ones of such a
// row; included once per instruction set, inside its namespace (no include guard, see vector.hpp).
//
// The row is read twice, for the greatest and for the weights, and their sums over blocks are taken on the way. The
// place of the flip is found among the blocks, then within one.

// Memory for one row: weights, what truncation copies, the changed row, the mask without refused tokens.
struct Room {
  float *w, *changed;
  std::uint8_t* bits;
  Between between;
  INLINE Room(float* room, int n) {
    const int each = (n + 31) / 16 * 16;
    w = room, changed = room + each;
    between.values = room + 2 * each;
    between.places = reinterpret_cast<std::int32_t*>(room + 3 * each);
    between.sample = room + 4 * each;
    bits = reinterpret_cast<std::uint8_t*>(room + 4 * each + each / 16 + 256);
  }
};

// The token at which the running sum of the weights that are kept passes u times their total; -1 if there is none.
INLINE int find(const float* w, int n, double u, const Remains& kept, const Masses& masses) {
  if (!(masses.total > 0 && masses.total < 1e300)) return -1;
  const double wanted = u * masses.total;
  double passed = 0;
  int last = -1;
  for (int b = 0; b < masses.count; passed += masses.of[b], ++b) {
    if (masses.of[b] == 0 || (passed + masses.of[b] <= wanted && b + 1 < masses.count)) continue;
    double sum = passed;
    for (int i = b * masses.block; i < n && i < (b + 1) * masses.block; ++i) {
      if (!kept.has(w, i)) continue;
      sum += static_cast<double>(w[i]);
      last = i;
      if (sum > wanted) return i;
    }
  }
  for (int i = n - 1; last < 0; --i)  // a product rounded up to the total: the last possible one
    if (kept.has(w, i)) last = i;
  return last;
}

// What a row's law is made of: the row edited, masked, weighed and truncated; not `sound` if nothing can be drawn.
struct Law {
  Room room;
  Asked asked;
  Masses masses;
  Remains kept;
  bool sound;
  INLINE Law(const Wanted& wanted, int n, float* memory)
      : room(memory, n),
        asked{edited(wanted.row, n, wanted.edits, wanted.edited, room.changed),
              without(wanted.mask, n, wanted.refused, wanted.refusals, room.bits), 1, 0},
        masses(n) {
    asked.heated(wanted);
    sound = weigh(asked, n, room.w, masses);
    if (sound) kept = truncate(room.w, n, wanted.steps, wanted.count, room.between, masses);
  }
};

// A token of the row's law by one flip u in [0, 1); -1 if nothing can be drawn. The mask is a bitmap of whole words of
// 32 bits, or null; `room`: 5 n + 1024 floats.
int draw(const Wanted& wanted, int n, double u, float* memory) {
  const Law law(wanted, n, memory);
  if (!law.sound) return -1;
  return find(law.room.w, n, u, law.kept, law.masses);
}

// The k most probable tokens of the row's law with their log-probabilities, the best first, of equals the first; how
// many there are, or -1 if the row is broken, allows none or has to be read in greater detail. 0 < k ≤ n.
int likeliest(const Wanted& wanted, int n, int k, float* values, std::int32_t* places, float* memory) {
  const Law law(wanted, n, memory);
  if (!law.sound) return -1;
  if (!(law.masses.total > 0)) return -1;
  const int held = law.asked.mask ? top_of<true>(law.asked.row, n, law.asked.mask, k, values, places)
                                  : top_of<false>(law.asked.row, n, law.asked.mask, k, values, places);
  const double scale = 1.0 / static_cast<double>(law.asked.temperature), total = __builtin_log(law.masses.total);
  int left = 0;
  for (int i = 0; i < held; ++i) {
    const double far = (static_cast<double>(values[i]) - law.asked.most) * scale, weight = law.room.w[places[i]];
    if (far < -80 && wanted.asks(Reshape::top_k)) return -1;  // of the k, though no float holds it?
    if (law.kept.least > 0 ? !law.kept.has(law.room.w, places[i]) : wanted.truncates() && weight == 0) continue;
    places[left] = places[i];
    values[left++] = static_cast<float>(far - total);
  }
  return left;
}
