// Tasks of the attention: which rows and heads go together, and how the stretches of a row are put together; included
// once per instruction set, inside its namespace (no include guard, see vector.hpp). Parts of forward.hpp's Step.

template <Kept kept>
inline void Step::attend_task(const Layer& layer, int i, const void* keys, const void* values) const {
  const int together = scratch.rows_each, groups = (pass.rows + together - 1) / together,
            shared = shape.heads / shape.kv_heads;
  const int pieces = pieces_of(shared), all = pieces * shape.kv_heads;
  const bool cut = scratch.stretches > 1;  // then all heads of a stretch come together: their keys lie side by side
  const int piece = cut ? i % all : i / groups, only = cut ? i / all % scratch.stretches : 0;
  const int row = (cut ? i / all / scratch.stretches : i % groups) * together, skip = piece % pieces * heads_together;
  const int kv_head = piece / pieces, heads = shared - skip < heads_together ? shared - skip : heads_together;
  const int query_head = kv_head * shared + skip, end = row + together < pass.rows ? row + together : pass.rows;
  Viewer rows[rows_together];
  Group group{keys,
              values,
              static_cast<std::size_t>(key),
              static_cast<std::size_t>(kv_head) * shape.head_dim,
              heads,
              shape.head_dim,
              shape.attention_cap,
              rows,
              end - row,
              nullptr,
              {}};
  int from = 0, to = 0;
  float* memory = scratch.attending + scratch.attending_each * thread;
  group.turned = reinterpret_cast<std::int32_t*>(memory);
  memory += at_once * padded(shape.head_dim);
  for (int r = row; r < end; ++r) {
    Viewer& viewer = rows[r - row];
    viewer.slots = pass.paths[r];
    viewer.first = first_seen(layer, r);
    viewer.end = viewer.known = pass.positions[r] + 1;
    viewer.scores = memory, memory += heads_together * stretch;
    viewer.part = memory, memory += heads_together * shape.head_dim;
    viewer.q = queries<kept>(r, query_head, heads, memory), memory += heads_together * shape.head_dim;
    from = r == row || viewer.first < from ? viewer.first : from;
    to = viewer.end > to ? viewer.end : to;
  }
  for (int r = 0; r < group.count; ++r)  // rows of one text: the later ones' slots are known to the earlier ones
    for (int other = 0; other < group.count; ++other)
      if (rows[r].slots == rows[other].slots && rows[r].known < rows[other].end) rows[r].known = rows[other].end;
  if (scratch.stretches > 1) {
    const int begin = only * stretch;
    if (begin >= to || begin + stretch <= from) return;
    if (piece == 0) walk_stretch<kept>(group, begin);
    attend_part<kept>(group, row, query_head, begin);
  } else {
    for (int begin = from / stretch * stretch; begin < to; begin += stretch)
      attend_next<kept>(group, row, query_head, begin);
    for (int r = row; r < end; ++r)
      for (int h = 0; h < heads; ++h)
        finish(mixed(r) + (query_head + h) * shape.head_dim, *state(r, query_head + h).total);
  }
}

template <Kept kept>
inline const std::int32_t* Step::queries(int row, int head, int heads, float* memory) const {
  const float* q = qkv(row) + head * shape.head_dim;
  if constexpr (can_pair && kept == Kept::bf16) {
    for (int k = 0; k < heads * shape.head_dim; k += 16)
      store_bf16(reinterpret_cast<std::uint16_t*>(memory) + k, load(q + k));
    return reinterpret_cast<const std::int32_t*>(memory);
  }
  return reinterpret_cast<const std::int32_t*>(q);
}

template <Kept kept>
inline void Step::attend_next(Group& group, int row, int query_head, int begin) const {
  attend_stretch<kept>(group, begin);
  for (int r = 0; r < group.count; ++r) {
    const Viewer& viewer = group.rows[r];
    if (!viewer.sees(begin, begin + stretch)) continue;
    for (int h = 0; h < group.heads; ++h)
      take_in(row + r, query_head + h, viewer.first >= begin, viewer.most[h], viewer.total[h],
              viewer.part + h * group.dim);
  }
}

template <Kept kept>
inline void Step::attend_part(Group& group, int row, int query_head, int begin) const {
  attend_stretch<kept>(group, begin);
  for (int r = 0; r < group.count; ++r) {
    const Viewer& viewer = group.rows[r];
    if (!viewer.sees(begin, begin + stretch)) continue;
    for (int h = 0; h < group.heads; ++h) {
      float* part = kept_part(row + r, query_head + h, begin);
      part[0] = viewer.most[h], part[1] = viewer.total[h];
      __builtin_memcpy(part + 16, viewer.part + h * group.dim, sizeof(float) * group.dim);
    }
  }
}
