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

// What a caller says of rows: of each its logits, a mask (a bitmap of whole words of 32 bits) or None, refused tokens,
// edits as (what, tokens, by), and steps as (what, by).
using Logits = std::vector<Floats>;
using Masks = std::vector<std::optional<Bytes>>;
using Refused = std::vector<std::vector<std::int32_t>>;
using Edits = std::vector<std::vector<std::tuple<std::string, Ints, Floats>>>;
using Steps = std::vector<std::vector<std::pair<std::string, double>>>;

// The same, checked, as the kernels take it.
struct Laws {
  std::size_t n, widest = 0;
  std::vector<std::vector<Reshape>> steps;
  std::vector<std::vector<Edit>> edits;
  std::vector<Wanted> rows;
  std::vector<int> widths;

  Laws(const Logits& logits, const Masks& masks, const Refused& refused, const Edits& changed, const Steps& reshape)
      : n(logits.size()), steps(n), edits(n) {
    check(masks.size() == n && (refused.empty() || refused.size() == n) && (changed.empty() || changed.size() == n) &&
              reshape.size() == n,
          "a mask, refused tokens, edits and steps belong to each row");
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t width = logits[i].shape(0);
      check(width > 0, "a row without numbers has no tokens");
      check(!masks[i] || masks[i]->shape(0) == (width + 31) / 32 * 4, "a mask has another length than its row");
      if (!refused.empty())
        for (const std::int32_t token : refused[i]) known(token, width);
      if (!changed.empty()) edit(i, changed[i], width);
      reshaped(i, reshape[i]);
      const bool any = !refused.empty() && !refused[i].empty();
      rows.push_back({logits[i].data(), edits[i].data(), static_cast<int>(edits[i].size()),
                      masks[i] ? masks[i]->data() : nullptr, any ? refused[i].data() : nullptr,
                      any ? static_cast<int>(refused[i].size()) : 0, steps[i].data(),
                      static_cast<int>(steps[i].size())});
      widths.push_back(static_cast<int>(width));
      widest = std::max(widest, width);
    }
  }

  static void known(std::int32_t token, std::size_t width) {
    check(token >= 0 && static_cast<std::size_t>(token) < width, "no such token");
  }

  void edit(std::size_t i, const Edits::value_type& changed, std::size_t width) {
    for (const auto& [what, tokens, by] : changed) {
      const std::size_t count = tokens.shape(0);
      check(what == "add" ? by.shape(0) == count : what == "divide" && by.shape(0) == 1,
            "an edit adds a number to each of its tokens, or divides all by one");
      for (std::size_t j = 0; j < count; ++j) known(tokens.data()[j], width);
      edits[i].push_back({what == "add" ? Edit::add : Edit::divide, tokens.data(), by.data(), static_cast<int>(count)});
    }
  }

  void reshaped(std::size_t i, const Steps::value_type& reshape) {
    for (const auto& [what, by] : reshape) {
      const char* names[] = {"temperature", "top_k", "top_p", "min_p"};
      const auto* found = std::find(std::begin(names), std::end(names), what);
      check(found != std::end(names), "a step is temperature, top_k, top_p or min_p");
      steps[i].push_back({static_cast<Reshape::What>(found - names), by});
    }
  }

  // Does `one(row, memory)` for every row; many are shared among the team.
  template <class One>
  void each(const One& one) const {
    const auto do_row = [&](std::size_t i) {
      static thread_local std::vector<float> room;
      if (room.size() < room_of_row(widest)) room.resize(room_of_row(widest));
      one(i, room.data());
    };
    const nb::gil_scoped_release free;
    if (n > 1 && n * widest > 65536 && crew().size() > 1) {
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
std::vector<int> draw_rows(const Logits& logits, const Masks& masks, const Refused& refused, const Edits& edits,
                           const Steps& steps, const std::vector<double>& flips) {
  const Laws laws(logits, masks, refused, edits, steps);
  check(flips.size() == laws.n, "a flip belongs to each row");
  std::vector<int> tokens(laws.n);
  const Kernels* kernels = &chosen();
  laws.each(
      [&](std::size_t i, float* room) { tokens[i] = kernels->draw(laws.rows[i], laws.widths[i], flips[i], room); });
  return tokens;
}

// The most probable tokens of each row with their log-probabilities, as many as there is room for; how many there are,
// or -1 where a row is broken or allows none.
std::vector<int> likeliest_rows(const Logits& logits, const Masks& masks, const Edits& edits, const Steps& steps,
                                const Output& values, const Places& places) {
  const Laws laws(logits, masks, {}, edits, steps);
  const std::size_t k = values.shape(1);
  const bool enough = laws.n == 0 || k <= static_cast<std::size_t>(*std::ranges::min_element(laws.widths));
  check(values.shape(0) == laws.n && places.shape(0) == laws.n && places.shape(1) == k && k > 0 && enough,
        "no room for the most probable");
  std::vector<int> found(laws.n);
  const Kernels* kernels = &chosen();
  laws.each([&](std::size_t i, float* room) {
    found[i] = kernels->likeliest(laws.rows[i], laws.widths[i], static_cast<int>(k), values.data() + i * k,
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
