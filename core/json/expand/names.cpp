// Names and sets are looked up by what they hold.
#include "json/expand/names.hpp"

#include <algorithm>

#include "base/budget.hpp"

namespace espalier::json {

std::uint32_t Names::id(std::string_view name) {
  if (const auto at = name_ids_.find(name); at != name_ids_.end()) return at->second;
  names_.emplace_back(name);
  const auto id = static_cast<std::uint32_t>(names_.size() - 1);
  name_ids_.emplace(names_.back(), id);
  return id;
}

std::uint32_t Names::set_with(std::uint32_t set, std::uint32_t element) {
  std::vector<std::uint32_t> s = sets_[set];
  const auto at = std::lower_bound(s.begin(), s.end(), element);
  if (at != s.end() && *at == element) return set;
  s.insert(at, element);
  const auto [id, fresh] = set_ids_.emplace(s, static_cast<std::uint32_t>(sets_.size()));
  if (fresh) {
    Budget::charge(1, 8 * s.size() + 64);
    sets_.push_back(std::move(s));
  }
  return id->second;
}

}  // namespace espalier::json
