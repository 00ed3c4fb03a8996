// Members: what a member leaves to be seen of the formula of an object, which names are mentioned, and what tells apart
// the names that are not.
//
// Protected by the lock of the machine's generation.
#pragma once
#include <deque>
#include <map>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "json/expand/scalars.hpp"

namespace espalier::json {

struct UnlistedNames {       // what the names that no schema lists lead to
  bool apart = false;        // it depends on more than …
  std::vector<Re> patterns;  // … which of these they match
};

class ObjectMembers {
 public:
  ObjectMembers(Schemas& schemas, Formulas& formulas, Names& names, Expander& expander, Scalars& scalars)
      : schemas_(schemas), f_(formulas), names_(names), expander_(expander), scalars_(scalars) {}
  ObjectMembers(const ObjectMembers&) = delete;
  ObjectMembers& operator=(const ObjectMembers&) = delete;
  Formula member_formula(Formula, std::uint32_t name);
  Formula constant_part(Formula);
  // The names that the schemas of a formula mention, in their order.
  std::uint32_t shape_of(Formula);
  const std::vector<std::uint32_t>& shape(std::uint32_t shape) const { return shapes_[shape]; }
  // unlisted_names.cpp
  const UnlistedNames& unlisted(Formula);
  std::uint32_t any_name(const UnlistedNames&, std::uint32_t matched);
  static bool fits(Re pattern, std::string_view name);

 private:
  Formula children_of(Schema, std::string_view name);
  bool evaluates(Schema, std::string_view name);
  bool apart(Formula, std::vector<Re>& patterns, bool top = true);

  Schemas& schemas_;
  Formulas& f_;
  Names& names_;
  Expander& expander_;
  Scalars& scalars_;
  std::unordered_map<std::uint64_t, Formula> member_formulas_;  // formula and name
  std::deque<std::vector<std::uint32_t>> shapes_{{}};
  std::map<std::vector<std::uint32_t>, std::uint32_t> shape_ids_;
  std::unordered_map<Formula, std::uint32_t> formula_shapes_;
  std::unordered_map<Formula, UnlistedNames> unlisted_;
};

}  // namespace espalier::json
