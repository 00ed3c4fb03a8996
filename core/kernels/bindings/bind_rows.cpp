// The part of espalier._kernels that is asked of rows of logits: the greatest, what they add up to, a token drawn from
// each.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/bindings/bind.hpp"
#include "kernels/machine/processor.hpp"

namespace espalier::kernels {

using namespace nb::literals;

namespace {

// One token of each row, by one flip each; -1 where nothing can be drawn. A mask is a bitmap of whole words of 32 bits.
// The rows are shared among the team if there
// are many.
std::vector<int> draw_rows(const Table& rows, const std::vector<std::optional<Bytes>>& masks,
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
    check(!masks[i] || masks[i]->shape(0) == (width + 31) / 32 * 4, "a mask has another length than its row");
    mask[i] = masks[i] ? masks[i]->data() : nullptr;
    for (const std::int32_t token : refused[i])
      check(token >= 0 && static_cast<std::size_t>(token) < width, "no such token");
  }
  std::vector<int> tokens(n);
  const float* logits = rows.data();
  const Kernels* kernels = &chosen();
  const auto one = [&](std::size_t i) {
    static thread_local std::vector<float> room;
    if (const std::size_t needed = 2 * width + width / 32 + 128; room.size() < needed) room.resize(needed);
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

}  // namespace

void bind_rows(nb::module_& m) {
  m.def(
      "top",
      [](const Table& rows, const Output& values, const Places& places) {
        const std::size_t n = rows.shape(0), k = values.shape(1);
        check(values.shape(0) == n && places.shape(0) == n && places.shape(1) == k && k <= rows.shape(1),
              "no room for the greatest");
        for (std::size_t i = 0; k > 0 && i < n; ++i)
          chosen().top(rows.data() + i * rows.shape(1), static_cast<int>(rows.shape(1)), static_cast<int>(k),
                       values.data() + i * k, places.data() + i * k);
      },
      "rows"_a, "values"_a, "places"_a);
  m.def(
      "log_sum_exp",
      [](const Floats& row) {
        check(row.shape(0) > 0, "a row without numbers has no sum");
        return chosen().log_sum_exp(row.data(), static_cast<int>(row.shape(0)));
      },
      "row"_a);
  m.def("draw", &draw_rows, "rows"_a, "masks"_a, "refused"_a, "steps"_a, "flips"_a);
}

}  // namespace espalier::kernels
