// Names that no schema lists: which patterns they match is all that tells them apart, so masks look at the names of one
// sort together.
#include <algorithm>

#include "automaton/machine.hpp"
#include "json/expand/spelling.hpp"
#include "json/split/object_members.hpp"

namespace espalier::json {

namespace {
constexpr std::size_t kMostPatterns = 3;
static_assert(1u << kMostPatterns <= kSorts);
}  // namespace

const UnlistedNames& ObjectMembers::unlisted(Formula f) {
  if (const auto at = unlisted_.find(f); at != unlisted_.end()) return at->second;
  UnlistedNames all;
  all.apart = apart(f, all.patterns);
  std::sort(all.patterns.begin(), all.patterns.end());
  all.patterns.erase(std::unique(all.patterns.begin(), all.patterns.end()), all.patterns.end());
  all.apart |= all.patterns.size() > kMostPatterns;
  return unlisted_[f] = std::move(all);
}

// Whether names beyond the shape's (that other_names lets through) may lead to different formulas though they match the
// same patterns.
bool ObjectMembers::apart(Formula f, std::vector<Re>& patterns, bool top) {
  const FormulaNode n = f_[f];
  const auto add = [&](Schema s) {
    const Value* p = schemas_[s].value->get("patternProperties");
    if (!p || !p->is(Kind::Object)) return;
    for (const auto& m : p->members) patterns.push_back(expander_.key_pattern(s, m.first));
  };
  switch (n.is) {
    case Is::Members: add(n.a); return false;
    case Is::Names: return !top;
    case Is::Unevaluated:
      for (const Schema e : expander_.evaluators(n.b)) add(e & ~kHolder);
      return false;
    default: break;
  }
  bool some = false;
  for (const Formula p : f_.operands(f)) some |= apart(p, patterns, top && n.is == Is::All);
  return some;
}

// What stands for all names that match these patterns (bits) and no others: no text, and then the patterns.
std::uint32_t ObjectMembers::any_name(const UnlistedNames& all, std::uint32_t matched) {
  std::string name = names_[kAnyName];
  for (std::size_t i = 0; i < all.patterns.size(); ++i) {
    if (matched >> i & 1) name.append(reinterpret_cast<const char*>(&all.patterns[i]), sizeof(Re));
  }
  return names_.id(name);
}

}  // namespace espalier::json
