// Properties of code points, for \p{…}, \w and case-insensitive matching.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier::unicode {

using Ranges = std::vector<std::pair<std::uint32_t, std::uint32_t>>;  // inclusive, ascending, disjoint

struct Table {
  const char* name;
  const char* ranges;
};
struct Fold {
  std::int32_t lo, hi, stride, delta;
};
extern const Table categories[], scripts[], binary[];
extern const Fold folds[];

std::optional<Ranges> property(
    std::string_view name);        // "L", "Lu", "Letter", "gc=L", "Greek", "Script=Greek", "Alphabetic", "Any" …
Ranges complement(const Ranges&);  // among all code points but surrogates
Ranges ignore_case(const Ranges&);
Ranges joined(Ranges);  // sorted, merged

}  // namespace espalier::unicode
