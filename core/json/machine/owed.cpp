// Brackets, names that are demanded and their commas, from the inside out.
#include "json/machine/owed.hpp"

#include <algorithm>

namespace espalier::json {

// Names that must still come, in the order of the shape.
std::vector<std::uint32_t> Owed::demanded(const Frame& f) const {
  std::vector<std::uint32_t> ids;
  for (const Formula p : f_.conjuncts(f.formula)) {
    if (f_[p].is == Is::Has) ids.push_back(f_[p].a);
  }
  if (ids.size() < 2) return ids;
  std::vector<std::uint32_t> sorted;
  for (const std::uint32_t id : members_.shape(f.shape)) {
    if (std::find(ids.begin(), ids.end(), id) != ids.end()) sorted.push_back(id);
  }
  return sorted.size() == ids.size() ? sorted : ids;
}

// The bytes of the longest member that must still come: its name, a comma, a colon and a value.
std::uint32_t Owed::longest_demanded(const Frame& f) const {
  std::uint32_t most = 0;
  for (const std::uint32_t id : demanded(f))
    most = std::max(most, static_cast<std::uint32_t>(quote(names_[id]).size()) + 3);
  return most;
}

// A name without a tag is none that must come.
std::uint32_t Owed::owed(Cont cont, Tag tag) {
  const Frame& f = frames_[cont];
  return owed(cont) + (f.at == At::Member && tag == 0 ? longest_demanded(f) : 0);
}

std::uint32_t Owed::owed(Cont cont) {
  std::uint32_t sum = 0;
  std::vector<std::pair<Cont, std::uint32_t>> way;  // so far out, and what was counted up to there
  for (Cont at = cont; at != 0;) {
    if (const auto known = owed_.find(at); known != owed_.end()) {
      sum += known->second;
      break;
    }
    const Frame& f = frames_[at];
    way.emplace_back(at, sum);
    if (f.at == At::End) break;
    if (f.at == At::Gap) {  // behind the blanks any of these
      std::uint32_t least = ~0u;
      for (const Item& item : frames_.after_gap(f)) least = std::min(least, owed(item.cont));
      sum += least == ~0u ? 0 : least;
      break;
    }
    if (f.object() || f.array()) ++sum;  // the bracket
    if (f.object()) {
      const std::vector<std::uint32_t> names = demanded(f);
      for (const std::uint32_t id : names) sum += static_cast<std::uint32_t>(quote(names_[id]).size()) + 2;
      const bool begun = f.at == At::ObjectNext;  // the first member of the others needs no comma
      if (!names.empty()) sum += static_cast<std::uint32_t>(names.size()) - !begun;
      // of a member on its way the name may be one of those that are demanded
      if (f.at == At::Member || f.at == At::Colon) sum -= std::min(sum, longest_demanded(f));
    }
    at = f.around;
  }
  for (const auto& [at, before] : way) owed_[at] = sum - before;
  return sum;
}

// Members that must come may come in any order: one order is enough to look at.
bool Owed::worth(Cont cont, Tag tag) const {
  const Frame& f = frames_[cont];
  if (f.at != At::Member) return true;
  const std::vector<std::uint32_t> names = demanded(f);
  return names.empty() || (tag && members_.shape(f.shape)[tag - 1] == names[0]);
}

}  // namespace espalier::json
