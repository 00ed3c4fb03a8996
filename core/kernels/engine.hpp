// The engine: a model's packed layers, and whole passes through them on the team of threads.
//
// One pass at a time: `mutex_` protects the scratch memory, which a pass uses and the next one reuses.
#pragma once
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/bindings/arrays.hpp"
#include "kernels/machine/processor.hpp"
#include "kernels/pack.hpp"

namespace espalier::kernels {

// Weights of a norm, or frequencies, with room for whole vectors.
inline std::shared_ptr<Buffer> norm(const Floats& weights) {
  const std::size_t n = weights.shape(0);
  auto buffer = std::make_shared<Buffer>(sizeof(float) * static_cast<std::size_t>(padded(static_cast<int>(n))));
  std::memcpy(buffer->data(), weights.data(), sizeof(float) * n);
  return buffer;
}

class Engine {
 public:
  Engine(std::vector<int> sizes, std::vector<float> numbers, bool gelu,
         std::vector<std::shared_ptr<PackedLayer>> layers, const std::vector<std::pair<Floats, float>>& ropes,
         const Floats& final_norm, std::shared_ptr<Packed> head)
      : layers_(std::move(layers)), final_norm_(norm(final_norm)), head_(std::move(head)) {
    check(sizes.size() == 5 && numbers.size() == 4,
          "sizes: hidden, heads, kv_heads, head_dim, ff; numbers: eps, scale, two caps");
    shape_ = {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], numbers[0], numbers[1], numbers[2], numbers[3], gelu};
    check(shape_.head_dim % 16 == 0, "head_dim must be a multiple of 16");
    for (const auto& [frequencies, scale] : ropes)
      ropes_.push_back({frequencies_.emplace_back(norm(frequencies))->floats(), scale});
    for (const auto& each : layers_) {
      pointers_.push_back(&each->layer);
      const auto place = static_cast<std::size_t>(each->layer.place);
      deepest_ = std::max(deepest_, each->layer.place < 0 ? pointers_.size() : place + 1);
    }
  }

  void run(const Table& embedded, const Ints& positions, const Ints& slots, const Ints& bounds, const Ints& paths,
           const Ints& starts, const Ints& out, const Pool& keys, const Pool& values, const Output& hidden,
           const std::optional<Output>& taps) {
    Pass pass;
    pass.rows = static_cast<int>(positions.shape(0));
    pass.answered = static_cast<int>(out.shape(0));
    pass.layers = static_cast<int>(layers_.size());
    pass.ropes = static_cast<int>(ropes_.size());
    pass.layer = pointers_.data();
    pass.rope = ropes_.data();
    pass.final_norm = final_norm_->floats();
    pass.embedded = embedded.data();
    pass.positions = positions.data();
    pass.slots = slots.data();
    pass.out = out.data();
    pass.keys = keys.data();
    pass.values = values.data();
    pass.capacity = keys.shape(1);
    pass.kept = keys.itemsize() == 4 ? Kept::f32 : keys.itemsize() == 2 ? Kept::bf16 : Kept::i4;
    pass.hidden = hidden.data();
    pass.taps = taps ? taps->data() : nullptr;
    check(keys.itemsize() == 4 || keys.itemsize() == 2 || keys.itemsize() == 1,
          "keys and values are float32, bfloat16 or 4 bits");
    check(keys.shape(0) >= deepest_ && values.shape(0) == keys.shape(0) && values.shape(1) == keys.shape(1) &&
              values.shape(2) == keys.shape(2) && values.itemsize() == keys.itemsize() &&
              keys.shape(2) * keys.itemsize() == kept_bytes(pass.kept, shape_.kv_heads * shape_.head_dim),
          "keys have another shape than the model");
    std::vector<const std::int32_t*> of_row(static_cast<std::size_t>(pass.rows));
    for (std::size_t s = 0; s + 1 < bounds.shape(0); ++s)
      for (int row = bounds.data()[s]; row < bounds.data()[s + 1]; ++row)
        of_row[static_cast<std::size_t>(row)] = paths.data() + starts.data()[s];
    pass.paths = of_row.data();
    int longest = 0;
    for (int row = 0; row < pass.rows; ++row) longest = std::max(longest, positions.data()[row] + 1);
    const nb::gil_scoped_release free;
    std::lock_guard alone(mutex_);
    const Scratch scratch = room(pass.rows, longest);
    const Kernels* kernels = &chosen();
    crew().run([&](int thread) { kernels->forward(crew(), thread, shape_, pass, scratch); });
  }

  void read(const Table& hidden, bool normed, const Output& logits) {
    const int rows = static_cast<int>(hidden.shape(0));
    const float *from = hidden.data(), *weight = normed ? final_norm_->floats() : nullptr;
    float* to = logits.data();
    const nb::gil_scoped_release free;
    std::lock_guard alone(mutex_);
    const Scratch scratch = room(rows, 1);
    const Kernels* kernels = &chosen();
    crew().run(
        [&](int thread) { kernels->head(crew(), thread, shape_, head_->matrix(), weight, from, rows, to, scratch); });
  }

 private:
  // Scratch memory for a pass of so many rows over pasts of at most `longest` positions.
  Scratch room(int rows, int longest) {
    const auto n = static_cast<std::size_t>(rows);
    const auto width = [](int w) { return static_cast<std::size_t>(padded(w)); };
    const std::size_t hidden = width(shape_.hidden), query = width(shape_.heads * shape_.head_dim),
                      ff = width(shape_.ff);
    const std::size_t deepest = std::max({hidden, query, ff});
    Scratch s;
    const auto floats = [](Buffer& buffer, std::size_t count) {
      buffer.need(count * sizeof(float));
      return buffer.floats();
    };
    s.x = floats(x_, n * hidden);
    s.delta = floats(delta_, n * hidden);
    s.qkv = floats(qkv_, n * width((shape_.heads + 2 * shape_.kv_heads) * shape_.head_dim));
    s.mixed = floats(mixed_, n * query);
    s.fed = floats(fed_, n * ff);
    s.turns = floats(turns_, n * ropes_.size() * static_cast<std::size_t>(shape_.head_dim));
    s.attending_each = attention_room(shape_);
    s.attending = floats(attending_, s.attending_each * static_cast<std::size_t>(crew().size()));
    share_attention(s, rows, longest);
    s.states = floats(states_, 2 * n * static_cast<std::size_t>(shape_.heads));
    if (s.stretches > 1)
      s.parts = floats(parts_, n * static_cast<std::size_t>(shape_.heads * s.stretches * (shape_.head_dim + 16)));
    s.tiles = reinterpret_cast<std::byte*>(floats(tiles_, n * deepest));
    s.scales = floats(scales_, n * deepest / group_width);
    s.offsets = reinterpret_cast<std::int32_t*>(floats(offsets_, 2 * n * deepest / group_width));
    return s;
  }

  // How the attention is cut into tasks: rows as many as leave two tasks for every thread, all tasks alike. Of few rows
  // the past is cut, too: all heads of a stretch come together, and threads that would have no rows have stretches.
  void share_attention(Scratch& s, int rows, int longest) {
    const int group = shape_.heads / shape_.kv_heads,
              pieces = shape_.kv_heads * ((group + heads_together - 1) / heads_together);
    const int wanted = 2 * crew().size(), most = std::clamp(rows * pieces / wanted, 1, rows_together),
              groups = (rows + most - 1) / most;
    s.rows_each = (rows + groups - 1) / groups;
    const bool few = longest > stretch && (rows <= 2 * rows_together || groups * pieces < 2 * wanted);
    s.stretches = few ? (longest + stretch - 1) / stretch : 1;
  }

  Shape shape_;
  std::vector<std::shared_ptr<PackedLayer>> layers_;
  std::vector<const Layer*> pointers_;
  std::vector<Rope> ropes_;
  std::vector<std::shared_ptr<Buffer>> frequencies_;
  std::shared_ptr<Buffer> final_norm_;
  std::shared_ptr<Packed> head_;
  std::size_t deepest_ = 0;  // how many layers of keys and values there must be
  std::mutex mutex_;
  Buffer x_, delta_, qkv_, mixed_, fed_, turns_, attending_, states_, parts_, tiles_, scales_, offsets_;
};

}  // namespace espalier::kernels
