// What the keyword says of a formula, and of the next item.
#include "json/machine/unique.hpp"

#include <algorithm>

namespace espalier::json {

bool Unique::unique(Formula f) {
  bool found = false;
  f_.map(f, [&](Formula atom) { return found |= f_[atom].is == Is::Unique, atom; });
  return found;
}

// What remains when two items are equal.
Formula Unique::not_unique(Formula f) {
  return f_.map(f, [&](Formula atom) { return f_[atom].is == Is::Unique ? kFalse : atom; });
}

// Whether an item that begins like this will be none of those that were there, whatever its rest. Scalars that were
// there are no part of what may come (SchemaMachine::items).
bool Unique::new_item(std::string_view text, std::uint32_t seen) const {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n,"), text.size()));
  return !items_.may_be(text, seen);
}

}  // namespace espalier::json
