// The part of espalier._kernels that is asked of rows of logits: the greatest, what they add up to, a token drawn from
// each.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/bindings/bind.hpp"
#include "kernels/machine/processor.hpp"

namespace espalier::kernels {

using namespace nb::literals;

namespace {

// What a caller says of a table of rows: per row a mask (a bitmap of whole words of 32 bits) or None, refused tokens,
// and edits as (what, tokens, by); the steps are the same for all.
using Masks = std::vector<std::optional<Bytes>>;
using Refused = std::vector<std::vector<std::int32_t>>;
using Edits = std::vector<std::vector<std::tuple<std::string, Ints, Floats>>>;
using Steps = std::vector<std::pair<std::string, double>>;

// The same, checked, as the kernels take it.
struct Law {
  std::size_t n, width;
  std::vector<Reshape> steps;
  std::vector<std::vector<Edit>> edits;
  std::vector<Wanted> rows;

  Law(const Table& table, const Masks& masks, const Refused& refused, const Edits& changed, const Steps& reshape)
      : n(table.shape(0)), width(table.shape(1)), edits(n) {
    check(masks.size() == n && (refused.empty() || refused.size() == n) && (changed.empty() || changed.size() == n),
          "a mask, refused tokens and edits belong to each row");
    for (const auto& [what, by] : reshape) {
      const char* names[] = {"temperature", "top_k", "top_p", "min_p"};
      const auto* found = std::find(std::begin(names), std::end(names), what);
      check(found != std::end(names), "a step is temperature, top_k, top_p or min_p");
      steps.push_back({static_cast<Reshape::What>(found - names), by});
    }
    const auto known = [&](std::int32_t token) {
      check(token >= 0 && static_cast<std::size_t>(token) < width, "no such token");
    };
    for (std::size_t i = 0; i < n; ++i) {
      check(!masks[i] || masks[i]->shape(0) == (width + 31) / 32 * 4, "a mask has another length than its row");
      if (!refused.empty())
        for (const std::int32_t token : refused[i]) known(token);
      if (!changed.empty())
        for (const auto& [what, tokens, by] : changed[i]) {
          const std::size_t count = tokens.shape(0);
          check(what == "add" ? by.shape(0) == count : what == "divide" && by.shape(0) == 1,
                "an edit adds a number to each of its tokens, or divides all by one");
          for (std::size_t j = 0; j < count; ++j) known(tokens.data()[j]);
          edits[i].push_back(
              {what == "add" ? Edit::add : Edit::divide, tokens.data(), by.data(), static_cast<int>(count)});
        }
      const bool any = !refused.empty() && !refused[i].empty();
      rows.push_back({table.data() + i * width, edits[i].data(), static_cast<int>(edits[i].size()),
                      masks[i] ? masks[i]->data() : nullptr, any ? refused[i].data() : nullptr,
                      any ? static_cast<int>(refused[i].size()) : 0, steps.data(), static_cast<int>(steps.size())});
    }
  }

  // Does `one(row, memory)` for every row; many are shared among the team.
  template <class One>
  void each(const One& one) const {
    const auto do_row = [&](std::size_t i) {
      static thread_local std::vector<float> room;
      if (room.size() < room_of_row(width)) room.resize(room_of_row(width));
      one(i, room.data());
    };
    const nb::gil_scoped_release free;
    if (n > 1 && n * width > 65536 && crew().size() > 1) {
      crew().run([&](int thread) {
        for (int i = crew().take(thread, static_cast<int>(n)); i < static_cast<int>(n);
             i = crew().take(thread, static_cast<int>(n)))
          do_row(static_cast<std::size_t>(i));
      });
    } else {
      for (std::size_t i = 0; i < n; ++i) do_row(i);
    }
  }
};

// One token of each row, by one flip each; -1 where nothing can be drawn.
std::vector<int> draw_rows(const Table& table, const Masks& masks, const Refused& refused, const Edits& edits,
                           const Steps& steps, const std::vector<double>& flips) {
  const Law law(table, masks, refused, edits, steps);
  check(flips.size() == law.n, "a flip belongs to each row");
  std::vector<int> tokens(law.n);
  const Kernels* kernels = &chosen();
  law.each([&](std::size_t i, float* room) {
    tokens[i] = kernels->draw(law.rows[i], static_cast<int>(law.width), flips[i], room);
  });
  return tokens;
}

// The most probable tokens of each row with their log-probabilities, as many as there is room for; how many there are,
// or -1 where a row is broken or allows none.
std::vector<int> likeliest_rows(const Table& table, const Masks& masks, const Edits& edits, const Steps& steps,
                                const Output& values, const Places& places) {
  const Law law(table, masks, {}, edits, steps);
  const std::size_t k = values.shape(1);
  check(values.shape(0) == law.n && places.shape(0) == law.n && places.shape(1) == k && k > 0 && k <= law.width,
        "no room for the most probable");
  std::vector<int> found(law.n);
  const Kernels* kernels = &chosen();
  law.each([&](std::size_t i, float* room) {
    found[i] = kernels->likeliest(law.rows[i], static_cast<int>(law.width), static_cast<int>(k), values.data() + i * k,
                                  places.data() + i * k, room);
  });
  return found;
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
  m.def("draw", &draw_rows, "rows"_a, "masks"_a, "refused"_a, "edits"_a, "steps"_a, "flips"_a);
  m.def("likeliest", &likeliest_rows, "rows"_a, "masks"_a, "edits"_a, "steps"_a, "values"_a, "places"_a);
}

}  // namespace espalier::kernels
