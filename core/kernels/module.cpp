// espalier._kernels: packed weights, and an engine that runs whole passes on the team of threads.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include <algorithm>
#include <cstring>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <string>

#include "kernels/pack.hpp"
#include "kernels/team.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace espalier::kernels {
namespace {

using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Places = nb::ndarray<std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ints = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Pool = nb::ndarray<nb::ndim<3>, nb::c_contig, nb::device::cpu>;

const Kernels* chosen = nullptr;
std::unique_ptr<Team> team;

std::vector<const Kernels*> known() {
  std::vector<const Kernels*> found;
#if defined(ESPALIER_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma"))
    found.push_back(&kernels_avx512());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    found.push_back(&kernels_avx2());
#endif
  found.push_back(&kernels_base());
  return found;
}

void choose(const std::string& name) {
  for (const Kernels* kernels : known())
    if (kernels->name == name) {
      chosen = kernels;
      return;
    }
  throw std::invalid_argument("this processor cannot run the kernels called " + name);
}

Team& crew() {
  static std::mutex making;  // two models may begin their first passes at once
  const std::lock_guard alone(making);
#if defined(__unix__) || defined(__APPLE__)
  static pid_t owner = getpid();
  if (owner !=
      getpid()) {  // a forked child has the memory but not the threads: it makes its own, and leaves the old be
    static_cast<void>(team.release());
    owner = getpid();
  }
#endif
  if (!team) team = std::make_unique<Team>(static_cast<int>(std::thread::hardware_concurrency()));
  return *team;
}

void check(bool fine, const char* what) {
  if (!fine) throw std::invalid_argument(what);
}

Kind kind_of(const std::string& name) {
  if (name == "float32") return Kind::f32;
  if (name == "bfloat16") return Kind::bf16;
  check(name == "int8" || name == "int4", "kind must be float32, bfloat16, int8 or int4");
  return name == "int8" ? Kind::i8 : Kind::i4;
}

std::shared_ptr<Buffer> norm(const Floats& weights) {
  const std::size_t n = weights.shape(0);
  auto buffer = std::make_shared<Buffer>(sizeof(float) * static_cast<std::size_t>(padded(static_cast<int>(n))));
  std::memcpy(buffer->data(), weights.data(), sizeof(float) * n);
  return buffer;
}

// norms: input, query, key, after attention, before and after the feed-forward block; matrices: qkv, out, gate_up,
// down.
std::shared_ptr<PackedLayer> layer(const std::vector<std::optional<Floats>>& norms,
                                   const std::vector<std::shared_ptr<Packed>>& matrices, int rope, int window) {
  check(norms.size() == 6 && norms[0] && norms[4] && matrices.size() == 4,
        "a layer has six norms (four optional) and four matrices");
  auto made = std::make_shared<PackedLayer>();
  const float** places[] = {&made->layer.norm,     &made->layer.q_norm,   &made->layer.k_norm,
                            &made->layer.out_norm, &made->layer.mlp_norm, &made->layer.down_norm};
  for (std::size_t i = 0; i < norms.size(); ++i)
    if (norms[i]) *places[i] = made->norms.emplace_back(norm(*norms[i]))->floats();
  made->matrices.assign(matrices.begin(), matrices.end());
  made->layer.qkv = matrices[0]->matrix();
  made->layer.out = matrices[1]->matrix();
  made->layer.gate_up = matrices[2]->matrix();
  made->layer.down = matrices[3]->matrix();
  made->layer.rope = rope;
  made->layer.window = window;
  return made;
}

using Mask = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// One token of each row, by one flip each; -1 where nothing can be drawn. The rows are shared among the team if there
// are many.
std::vector<int> draw_rows(const Table& rows, const std::vector<std::optional<Mask>>& masks,
                           const std::vector<std::vector<std::int32_t>>& refused,
                           const std::vector<std::pair<std::string, double>>& steps, const std::vector<double>& flips) {
  const std::size_t n = rows.shape(0), width = rows.shape(1);
  check(masks.size() == n && refused.size() == n && flips.size() == n,
        "a mask, refused tokens and a flip belong to each row");
  std::vector<Reshape> reshape;
  for (const auto& [what, by] : steps) {
    const char* names[] = {"temperature", "top_k", "top_p", "min_p"};
    const auto* found = std::find(std::begin(names), std::end(names), what);
    check(found != std::end(names), "a step is temperature, top_k, top_p or min_p");
    reshape.push_back({static_cast<Reshape::What>(found - names), by});
  }
  std::vector<const std::uint8_t*> mask(n);
  for (std::size_t i = 0; i < n; ++i) {
    check(!masks[i] || masks[i]->shape(0) == width, "a mask has another length than its row");
    mask[i] = masks[i] ? masks[i]->data() : nullptr;
    for (const std::int32_t token : refused[i])
      check(token >= 0 && static_cast<std::size_t>(token) < width, "no such token");
  }
  std::vector<int> tokens(n);
  const float* logits = rows.data();
  const Kernels* kernels = chosen;
  const auto one = [&](std::size_t i) {
    static thread_local std::vector<float> room;
    if (room.size() < 2 * width + 64) room.resize(2 * width + 64);
    tokens[i] = kernels->draw(logits + i * width, static_cast<int>(width), mask[i], refused[i].data(),
                              static_cast<int>(refused[i].size()), reshape.data(), static_cast<int>(reshape.size()),
                              flips[i], room.data());
  };
  const nb::gil_scoped_release free;
  if (n > 1 && n * width > 65536 && crew().size() > 1) {
    crew().run([&](int thread) {
      for (int i = crew().take(thread, static_cast<int>(n)); i < static_cast<int>(n);
           i = crew().take(thread, static_cast<int>(n)))
        one(static_cast<std::size_t>(i));
    });
  } else {
    for (std::size_t i = 0; i < n; ++i) one(i);
  }
  return tokens;
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
    for (const auto& each : layers_) pointers_.push_back(&each->layer);
    kind_ = head_->matrix().kind;
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
    check(keys.shape(0) == layers_.size() && values.shape(2) == keys.shape(2) && values.itemsize() == keys.itemsize() &&
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
    const Kernels* kernels = chosen;
    crew().run([&](int thread) { kernels->forward(crew(), thread, shape_, pass, scratch, kind_); });
  }

  void read(const Table& hidden, bool normed, const Output& logits) {
    const int rows = static_cast<int>(hidden.shape(0));
    const float *from = hidden.data(), *weight = normed ? final_norm_->floats() : nullptr;
    float* to = logits.data();
    const nb::gil_scoped_release free;
    std::lock_guard alone(mutex_);
    const Scratch scratch = room(rows, 1);
    const Kernels* kernels = chosen;
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

  // How the attention is cut into tasks: rows as many as leave two tasks for every thread, all tasks alike; where there
  // are not even so many, the past is cut, too.
  void share_attention(Scratch& s, int rows, int longest) {
    const int group = shape_.heads / shape_.kv_heads,
              pieces = shape_.kv_heads * ((group + heads_together - 1) / heads_together);
    const int wanted = 2 * crew().size(), most = std::clamp(rows * pieces / wanted, 1, rows_together),
              groups = (rows + most - 1) / most;
    s.rows_each = (rows + groups - 1) / groups;
    const bool few = groups * pieces < 2 * wanted && crew().size() > 1;
    s.stretches = few ? (longest + stretch - 1) / stretch : 1;
  }

  Shape shape_;
  std::vector<std::shared_ptr<PackedLayer>> layers_;
  std::vector<const Layer*> pointers_;
  std::vector<Rope> ropes_;
  std::vector<std::shared_ptr<Buffer>> frequencies_;
  std::shared_ptr<Buffer> final_norm_;
  std::shared_ptr<Packed> head_;
  Kind kind_;
  std::mutex mutex_;
  Buffer x_, delta_, qkv_, mixed_, fed_, turns_, attending_, states_, parts_, tiles_, scales_, offsets_;
};

}  // namespace

NB_MODULE(_kernels, m) {
  chosen = known().front();
  m.def("kernels", [] {
    std::vector<std::string> names;
    for (const Kernels* kernels : known()) names.emplace_back(kernels->name);
    return names;
  });
  m.def("choose", &choose, "name"_a);
  m.def("chosen", [] { return std::string(chosen->name); });
  m.def("threads", [] { return crew().size(); });
  m.def("set_threads", [](int count) { team = std::make_unique<Team>(count); }, "count"_a);

  m.def(
      "top",
      [](const Table& rows, const Output& values, const Places& places) {
        const std::size_t n = rows.shape(0), k = values.shape(1);
        check(values.shape(0) == n && places.shape(0) == n && places.shape(1) == k && k <= rows.shape(1),
              "no room for the greatest");
        for (std::size_t i = 0; k > 0 && i < n; ++i)
          chosen->top(rows.data() + i * rows.shape(1), static_cast<int>(rows.shape(1)), static_cast<int>(k),
                      values.data() + i * k, places.data() + i * k);
      },
      "rows"_a, "values"_a, "places"_a);
  m.def(
      "log_sum_exp",
      [](const Floats& row) {
        check(row.shape(0) > 0, "a row without numbers has no sum");
        return chosen->log_sum_exp(row.data(), static_cast<int>(row.shape(0)));
      },
      "row"_a);
  m.def("draw", &draw_rows, "rows"_a, "masks"_a, "refused"_a, "steps"_a, "flips"_a);
  m.def(
      "products",
      [](const std::string& kind, long rounds) {
        const Kind of = kind_of(kind);
        const Kernels* kernels = chosen;
        std::vector<double> made(static_cast<std::size_t>(crew().size()));
        const nb::gil_scoped_release free;
        crew().run([&](int thread) { made[static_cast<std::size_t>(thread)] = kernels->products(of, rounds); });
        return std::accumulate(made.begin(), made.end(), 0.0);
      },
      "kind"_a, "rounds"_a);
  m.def(
      "read",
      [](const Floats& memory) {
        const Kernels* kernels = chosen;
        const auto* from = reinterpret_cast<const std::byte*>(memory.data());
        const std::size_t share = memory.shape(0) * sizeof(float) / static_cast<std::size_t>(crew().size()) / 256 * 256;
        std::vector<float> sums(static_cast<std::size_t>(crew().size()));
        const nb::gil_scoped_release free;
        crew().run([&](int thread) {
          sums[static_cast<std::size_t>(thread)] =
              kernels->read(from + share * static_cast<std::size_t>(thread), share);
        });
        return share * static_cast<std::size_t>(crew().size());
      },
      "memory"_a);
  m.def(
      "wish_large_pages",
      [](std::uintptr_t memory, std::size_t bytes) { wish_large_pages(reinterpret_cast<std::byte*>(memory), bytes); },
      "memory"_a, "bytes"_a);

  nb::class_<Packed>(m, "Matrix")
      .def(
          "__init__",
          [](Packed* self, const std::string& kind, int out, int in) { new (self) Packed(kind_of(kind), out, in); },
          "kind"_a, "out"_a, "inputs"_a)
      .def(
          "fill",
          [](Packed& self, int first, const Table& weights) {
            check(first % panel_width == 0 && static_cast<int>(weights.shape(1)) == self.in() &&
                      first + static_cast<int>(weights.shape(0)) <= self.matrix().out,
                  "rows do not fit into the matrix");
            self.fill(first, static_cast<int>(weights.shape(0)), weights.data());
          },
          "first"_a, "weights"_a)
      .def(
          "bias",
          [](Packed& self, const Floats& bias) {
            check(static_cast<int>(bias.shape(0)) == self.matrix().out, "the bias has another length than the matrix");
            self.bias(bias.data());
          },
          "bias"_a)
      .def(
          "rounded",
          [](const Packed& self, const std::string& kind) {
            check(self.matrix().kind == Kind::f32 || self.matrix().kind == Kind::bf16,
                  "weights that are rounded already cannot be rounded again");
            return self.rounded(kind_of(kind));
          },
          "kind"_a)
      .def_prop_ro("nbytes", &Packed::nbytes);
  nb::class_<PackedLayer>(m, "Layer");
  m.def("layer", &layer, "norms"_a, "matrices"_a, "rope"_a, "window"_a);
  nb::class_<Engine>(m, "Engine")
      .def(nb::init<std::vector<int>, std::vector<float>, bool, std::vector<std::shared_ptr<PackedLayer>>,
                    const std::vector<std::pair<Floats, float>>&, const Floats&, std::shared_ptr<Packed>>(),
           "sizes"_a, "numbers"_a, "gelu"_a, "layers"_a, "ropes"_a, "final_norm"_a, "head"_a)
      .def("run", &Engine::run, "embedded"_a, "positions"_a, "slots"_a, "bounds"_a, "paths"_a, "starts"_a, "out"_a,
           "keys"_a, "values"_a, "hidden"_a, "taps"_a.none())
      .def("read", &Engine::read, "hidden"_a, "normed"_a, "logits"_a);
}

}  // namespace espalier::kernels
