// One pass through the layers; included once per instruction set, inside its namespace (no include guard, see
// vector.hpp). All members of the team run `forward` at the same time; work is shared out task by task, and they meet
// between phases.

struct Step {
  Team& team;
  const int thread;
  const Shape& shape;
  const Pass& pass;
  const Scratch& scratch;
  const int hidden, query, key,
      wide;  // padded widths of a row: residual stream, queries, keys (not padded), all of qkv

  Step(Team& team, int thread, const Shape& shape, const Pass& pass, const Scratch& scratch)
      : team(team),
        thread(thread),
        shape(shape),
        pass(pass),
        scratch(scratch),
        hidden(padded(shape.hidden)),
        query(padded(shape.heads * shape.head_dim)),
        key(shape.kv_heads * shape.head_dim),
        wide(padded((shape.heads + 2 * shape.kv_heads) * shape.head_dim)) {}

  float* x(int row) const { return scratch.x + static_cast<std::size_t>(row) * hidden; }
  float* delta(int row) const { return scratch.delta + static_cast<std::size_t>(row) * hidden; }
  float* qkv(int row) const { return scratch.qkv + static_cast<std::size_t>(row) * wide; }
  float* mixed(int row) const { return scratch.mixed + static_cast<std::size_t>(row) * query; }
  float* turns(int rope, int row) const {
    return scratch.turns + (static_cast<std::size_t>(rope) * pass.rows + row) * shape.head_dim;
  }

  template <Kept kept>
  void run() {
    each(team, thread, pass.rows, [&](int row) { begin(row); });
    tap(0);
    for (int l = 0; l < pass.layers; ++l) {
      const Layer& layer = *pass.layer[l];
      const Tiles normed = tiles_for(scratch, layer.gate_up.kind, pass.rows, hidden);
      if (layer.attends) attend<kept>(layer, l);
      each(team, thread, pass.rows, [&](int row) {
        if (layer.attends) add(row, layer.out_norm);
        if (layer.feeds) norm_into(normed, row, layer.mlp_norm);
      });
      if (layer.feeds) {
        feed(layer, normed);
        const Tiles fed = tiles_for(scratch, layer.down.kind, pass.rows, padded(shape.ff));
        each(team, thread, pass.rows,
             [&](int row) { put(fed, row, scratch.fed + static_cast<std::size_t>(row) * padded(shape.ff)); });
        multiply(layer.down, opening(l + 1 < pass.layers ? l + 1 : l), fed, scratch.delta, hidden);
        each(team, thread, pass.rows, [&](int row) { add(row, layer.down_norm); });
      }
      tap(l + 1);
    }
    each(team, thread, pass.answered, [&](int i) {
      float* row = delta(i);
      rms_norm_hidden(x(pass.out[i]), pass.final_norm, row);
      __builtin_memcpy(pass.hidden + static_cast<std::size_t>(i) * shape.hidden, row, sizeof(float) * shape.hidden);
    });
  }

  // The first half of layer `l`, up to what it adds to the residual stream.
  template <Kept kept>
  void attend(const Layer& layer, int l) {
    const Tiles normed = tiles_for(scratch, layer.qkv.kind, pass.rows, hidden);
    const std::size_t place = static_cast<std::size_t>(layer.place < 0 ? l : layer.place);
    void* keys = static_cast<std::byte*>(pass.keys) + pass.capacity * kept_bytes(kept, key) * place;
    void* values = static_cast<std::byte*>(pass.values) + pass.capacity * kept_bytes(kept, key) * place;
    each(team, thread, pass.rows, [&](int row) { norm_into(normed, row, layer.norm); });
    multiply(layer.qkv, layer.out, normed, scratch.qkv, wide);
    each(team, thread, pass.rows, [&](int row) { remember<kept>(layer, row, keys, values); });
    each(team, thread, attend_tasks(), [&](int i) { attend_task<kept>(layer, i, keys, values); });
    const Tiles heads = tiles_for(scratch, layer.out.kind, pass.rows, query);
    each(team, thread, pass.rows, [&](int row) {
      if (scratch.stretches > 1) merge_parts(layer, row);
      put(heads, row, mixed(row));
    });
    multiply(layer.out, layer.feeds ? layer.gate_up : opening(l + 1 < pass.layers ? l + 1 : l), heads, scratch.delta,
             hidden);
  }

  // The first matrix that layer `l` reads.
  const Matrix& opening(int l) const { return pass.layer[l]->attends ? pass.layer[l]->qkv : pass.layer[l]->gate_up; }

  // The residual stream is padded with zeros: they add nothing to the sum of squares, so the mean is over the true
  // width.
  void rms_norm_hidden(const float* from, const float* weight, float* to) const {
    V total = splat(0.0f);
    for (int k = 0; k < hidden; k += 16) total = fma(load(from + k), load(from + k), total);
    const V scale = splat(1.0f / __builtin_sqrtf(sum(total) / static_cast<float>(shape.hidden) + shape.eps));
    for (int k = 0; k < hidden; k += 16) store(to + k, load(from + k) * scale * load(weight + k));
  }

  void begin(int row) const {
    __builtin_memcpy(x(row), pass.embedded + static_cast<std::size_t>(row) * shape.hidden,
                     sizeof(float) * shape.hidden);
    for (int rope = 0; rope < pass.ropes; ++rope) {
      float* to = turns(rope, row);
      for (int i = 0; i < shape.head_dim / 2; ++i) {
        const double angle = static_cast<float>(pass.positions[row]) * pass.rope[rope].frequencies[i];
        to[i] = static_cast<float>(__builtin_cos(angle)) * pass.rope[rope].scale;
        to[i + shape.head_dim / 2] = static_cast<float>(__builtin_sin(angle)) * pass.rope[rope].scale;
      }
    }
  }

  void tap(int layer) const {
    if (!pass.taps) return;
    each(team, thread, pass.answered, [&](int i) {
      float* to = pass.taps + (static_cast<std::size_t>(i) * (pass.layers + 1) + layer) * shape.hidden;
      __builtin_memcpy(to, x(pass.out[i]), sizeof(float) * shape.hidden);
    });
  }

  void norm_into(const Tiles& tiles, int row, const float* weight) const {
    rms_norm_hidden(x(row), weight, delta(row));
    put(tiles, row, delta(row));
  }

  void add(int row, const float* post_norm) const {
    float *to = x(row), *from = delta(row);
    if (post_norm) rms_norm_hidden(from, post_norm, from);
    for (int k = 0; k < hidden; k += 16) store(to + k, load(to + k) + load(from + k));
  }

  // What this thread reads after a panel of `m`: the panel behind it, or at the end of its share its first of the next
  // matrix.
  const std::byte* after(const Matrix& m, int panel, const Matrix& next) const {
    if (panel + 1 < team.first(thread + 1, m.panels)) return m.data + m.panel_bytes() * (panel + 1);
    return next.data + next.panel_bytes() * team.first(thread, next.panels);
  }

  void multiply(const Matrix& m, const Matrix& next, const Tiles& tiles, float* to, int stride) const {
    each(team, thread, m.panels, [&](int panel) {
      rows_times_panel(m, tiles, panel, after(m, panel, next), [&](int row, int p, V low, V high) {
        float* at = to + static_cast<std::size_t>(row) * stride + p * panel_width;
        store(at, low);
        store(at + 16, high);
      });
    });
  }

  void feed(const Layer& layer, const Tiles& tiles) const {
    const int stride = padded(shape.ff);
    each(team, thread, layer.gate_up.panels, [&](int panel) {
      rows_times_panel(layer.gate_up, tiles, panel, after(layer.gate_up, panel, layer.down),
                       [&](int row, int p, V gate, V up) {
                         store(scratch.fed + static_cast<std::size_t>(row) * stride + p * 16,
                               (shape.gelu ? gelu(gate) : silu(gate)) * up);
                       });
    });
  }

  // Norms and turns the row's queries and keys; its keys and values go into its slot.
  template <Kept kept>
  void remember(const Layer& layer, int row, void* keys, void* values) const {
    const int dim = shape.head_dim;
    float* q = qkv(row);
    for (int head = 0; head < shape.heads + shape.kv_heads; ++head) {
      float* at = q + head * dim;
      const float* norm = head < shape.heads ? layer.q_norm : layer.k_norm;
      if (norm) rms_norm(at, norm, dim, shape.eps, at);
      turn(at, turns(layer.rope, row), dim);
    }
    for (int k = 0; k < shape.heads * dim; k += 16) store(q + k, load(q + k) * splat(shape.scale));
    const float *k = q + shape.heads * dim, *v = k + key;
    const std::size_t slot = static_cast<std::size_t>(pass.slots[row]) * key;
    for (int i = 0; i < key; i += 16) {
      store_kv<kept>(keys, slot + i, load(k + i));
      store_kv<kept>(values, slot + i, load(v + i));
    }
  }

  // Task i of the attention: some rows, one head of keys and values, and some of the heads of queries that share it;
  // one stretch of the positions or all of them. The rows of a head follow each other: those of a tree read the same
  // keys and values, which then lie in the cache.
  template <Kept kept>
  void attend_task(const Layer& layer, int i, const void* keys, const void* values) const;

  // A row's queries as the attention wants them.
  template <Kept kept>
  const std::int32_t* queries(int row, int head, int heads, float* memory) const;

  int first_seen(const Layer& layer, int row) const {
    const int end = pass.positions[row] + 1;
    return layer.window && end > layer.window ? end - layer.window : 0;
  }

  // What is known of a row's head so far: its greatest score and the sum of its weights.
  struct State {
    float *most, *total;
  };
  State state(int row, int head) const {
    float* at = scratch.states + (static_cast<std::size_t>(row) * shape.heads + head) * 2;
    return {at, at + 1};
  }

  // The next stretch, merged into what came before it.
  template <Kept kept>
  void attend_next(Group& group, int row, int query_head, int begin) const;

  void take_in(int row, int head, bool first, float most, float total, const float* part) const {
    const State so_far = state(row, head);
    float* out = mixed(row) + head * shape.head_dim;
    if (!first) return merge(so_far.most, so_far.total, out, most, total, part, shape.head_dim);
    *so_far.most = most, *so_far.total = total;
    __builtin_memcpy(out, part, sizeof(float) * shape.head_dim);
  }

  INLINE void finish(float* out, float total) const {
    const V scale = splat(1.0f / total);
    for (int k = 0; k < shape.head_dim; k += 16) store(out + k, load(out + k) * scale);
  }

  // One stretch by itself, kept until all of them are there.
  float* kept_part(int row, int head, int begin) const {
    return scratch.parts +
           ((static_cast<std::size_t>(row) * shape.heads + head) * scratch.stretches + begin / stretch) *
               (shape.head_dim + 16);
  }
  template <Kept kept>
  void attend_part(Group& group, int row, int query_head, int begin) const;
  void merge_parts(const Layer& layer, int row) const {
    const int first = first_seen(layer, row);
    for (int head = 0; head < shape.heads; ++head) {
      for (int begin = first / stretch * stretch; begin <= pass.positions[row]; begin += stretch) {
        const float* part = kept_part(row, head, begin);
        take_in(row, head, first >= begin, part[0], part[1], part + 16);
      }
      finish(mixed(row) + head * shape.head_dim, *state(row, head).total);
    }
  }

  static int pieces_of(int group) { return (group + heads_together - 1) / heads_together; }

  int attend_tasks() const {
    const int groups = (pass.rows + scratch.rows_each - 1) / scratch.rows_each;
    return groups * shape.kv_heads * pieces_of(shape.heads / shape.kv_heads) * scratch.stretches;
  }
};

void forward(Team& team, int thread, const Shape& shape, const Pass& pass, const Scratch& scratch) {
  Step step(team, thread, shape, pass, scratch);
  switch (pass.kept) {
    case Kept::f32: return step.run<Kept::f32>();
    case Kept::bf16: return step.run<Kept::bf16>();
    case Kept::i4: return step.run<Kept::i4>();
  }
}

void head(Team& team, int thread, const Shape& shape, const Matrix& m, const float* norm, const float* hidden, int rows,
          float* logits, const Scratch& scratch) {
  const Pass none{};
  const Step step(team, thread, shape, none, scratch);
  const Tiles tiles = tiles_for(scratch, m.kind, rows, step.hidden);
  each(team, thread, rows, [&](int row) {
    __builtin_memcpy(step.x(row), hidden + static_cast<std::size_t>(row) * shape.hidden, sizeof(float) * shape.hidden);
    if (norm) step.rms_norm_hidden(step.x(row), norm, step.x(row));
    put(tiles, row, step.x(row));
  });
  each(team, thread, m.panels, [&](int panel) {
    rows_times_panel(m, tiles, panel, step.after(m, panel, m), [&](int row, int p, V low, V high) {
      if (shape.logit_cap > 0) {
        low = splat(shape.logit_cap) * tanh(low / splat(shape.logit_cap));
        high = splat(shape.logit_cap) * tanh(high / splat(shape.logit_cap));
      }
      float* at = logits + static_cast<std::size_t>(row) * m.out + p * panel_width;
      const int live = m.out - p * panel_width;
      if (live >= panel_width) {
        store(at, low);
        store(at + 16, high);
      } else {
        alignas(64) float both[panel_width];
        store(both, low), store(both + 16, high);
        for (int i = 0; i < live; ++i) at[i] = both[i];
      }
    });
  });
}
