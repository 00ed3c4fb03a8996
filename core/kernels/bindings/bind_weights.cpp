// The part of espalier._kernels that holds weights: matrices, filled by rows or found in memory that was packed before,
// and layers.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "kernels/bindings/bind.hpp"
#include "kernels/engine.hpp"

namespace espalier::kernels {

using namespace nb::literals;

constexpr const char* kinds[] = {"float32", "bfloat16", "int8", "int4", "int8 by 32"};  // in the order of Kind

const char* name_of(Kind kind) { return kinds[static_cast<int>(kind)]; }

Kind kind_of(const std::string& name) {
  const auto* found = std::find(std::begin(kinds), std::end(kinds), name);
  check(found != std::end(kinds), "kind must be float32, bfloat16, int8, int4 or int8 by 32");
  return static_cast<Kind>(found - kinds);
}

namespace {

// norms: input, query, key, after attention, before and after the feed-forward block; matrices: qkv, out, gate_up,
// down.
std::shared_ptr<PackedLayer> layer(const std::vector<std::optional<Floats>>& norms,
                                   const std::vector<std::shared_ptr<Packed>>& matrices, int rope, int window,
                                   int place, bool attends, bool feeds) {
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
  made->layer.place = place;
  made->layer.attends = attends;
  made->layer.feeds = feeds;
  return made;
}

using Seen = nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>>;
using SeenFloats = nb::ndarray<nb::numpy, const float, nb::ndim<1>>;

// A matrix that was packed before, in memory that it shares.
std::shared_ptr<Packed> mapped(const std::string& kind, int out, int in, const Bytes& memory) {
  const auto holder = std::make_shared<Bytes>(memory);  // lets go of the array with the last matrix
  const auto* at = reinterpret_cast<const std::byte*>(memory.data());
  check(reinterpret_cast<std::uintptr_t>(at) % 64 == 0, "the memory of a matrix begins at a multiple of 64 bytes");
  auto made = std::make_shared<Packed>(kind_of(kind), out, in, std::shared_ptr<const std::byte>(holder, at));
  check(made->nbytes() == memory.size(), "the memory is not as long as the matrix");
  return made;
}

nb::object memory_of(const nb::object& matrix) {
  const auto& self = nb::cast<const Packed&>(matrix);
  return nb::cast(Seen(self.matrix().data, {self.nbytes()}, matrix));
}

nb::object expanded(const Packed& self) {
  const auto rows = static_cast<std::size_t>(self.matrix().out), inputs = static_cast<std::size_t>(self.in());
  auto* values = new float[rows * inputs];
  const nb::capsule owner(values, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  self.expand(values);
  return nb::cast(nb::ndarray<nb::numpy, float, nb::ndim<2>>(values, {rows, inputs}, owner));
}

nb::object biases_of(const nb::object& matrix) {
  const auto& self = nb::cast<const Packed&>(matrix);
  if (!self.matrix().bias) return nb::none();
  return nb::cast(SeenFloats(self.matrix().bias, {static_cast<std::size_t>(self.matrix().out)}, matrix));
}

}  // namespace

void bind_weights(nb::module_& m) {
  nb::class_<Packed>(m, "Matrix")
      .def(
          "__init__",
          [](Packed* self, const std::string& kind, int out, int in) { new (self) Packed(kind_of(kind), out, in); },
          "kind"_a, "out"_a, "inputs"_a)
      .def(
          "fill",
          [](Packed& self, int first, const Table& weights) {
            check(self.own(), "a matrix in memory that it shares cannot be filled");
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
      .def_static("of", &mapped, "kind"_a, "out"_a, "inputs"_a, "memory"_a)
      .def("expanded", &expanded)
      .def_prop_ro("memory", &memory_of)
      .def_prop_ro("biases", &biases_of)
      .def_prop_ro("kind", [](const Packed& self) { return std::string(name_of(self.matrix().kind)); })
      .def_prop_ro("shape", [](const Packed& self) { return std::pair(self.matrix().out, self.in()); })
      .def_prop_ro("nbytes", &Packed::nbytes);
  m.def(
      "holds",
      [](const std::string& kind, const Table& weights) {
        return holds(kind_of(kind), static_cast<std::size_t>(weights.shape(0)), static_cast<int>(weights.shape(1)),
                     weights.data());
      },
      "kind"_a, "weights"_a);
  m.attr("LAYOUT") = layout_number;
  nb::class_<PackedLayer>(m, "Layer");
  m.def("layer", &layer, "norms"_a, "matrices"_a, "rope"_a, "window"_a, "place"_a = -1, "attends"_a = true,
        "feeds"_a = true);
}

}  // namespace espalier::kernels
