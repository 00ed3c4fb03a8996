// Branches are looked at once, for all names; the part for a name is what it changes and a few others.
#include "json/split/wide_formulas.hpp"

#include <algorithm>

#include "base/budget.hpp"

namespace espalier::json {

namespace {
constexpr std::size_t kWide = 40;   // branches: fewer are looked at as they are
constexpr std::size_t kKept = 20;   // branches that are kept beside those that a name changes: 18 ² > kBranches
constexpr std::size_t kChange = 8;  // branches that a name may change
static_assert((kKept - 2) * (kKept - 2) > kBranches);
}  // namespace

// The names that change the formula otherwise than all others do; false: that cannot be said.
bool WideFormulas::mentioned(Formula f, std::vector<std::uint32_t>& names) {
  bool known = true;
  f_.map(f, [&](Formula atom) {
    const FormulaNode n = f_[atom];
    if (n.is == Is::Has) names.push_back(n.a);
    if (n.is == Is::Names || n.is == Is::Unevaluated) known = false;
    if (n.is != Is::Members) return atom;
    const Value& v = *schemas_[n.a].value;
    if (v.get("patternProperties")) known = false;
    if (const Value* p = v.get("properties")) {
      for (const auto& m : p->members) names.push_back(names_.id(m.first));
    }
    return atom;
  });
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return known;
}

WideFormulas::Wide WideFormulas::read(Formula f) {
  const std::vector<Formula> conjuncts = f_.conjuncts(f);
  Formula widest = kTrue;
  for (const Formula p : conjuncts) {
    const FormulaNode n = f_[p];
    if ((n.is == Is::Any || n.is == Is::One) && n.count >= std::max<std::size_t>(kWide, f_[widest].count)) widest = p;
  }
  Wide out;
  if (widest == kTrue && conjuncts.size() < kWide) return out;
  const Is join = widest == kTrue ? Is::All : f_[widest].is;
  const std::vector<Formula> branches = widest == kTrue ? conjuncts : f_.operands(widest);
  if (widest != kTrue)
    std::ranges::copy_if(conjuncts, std::back_inserter(out.beside), [&](Formula p) { return p != widest; });
  std::vector<Formula> after;  // of the branches, whatever name that they do not mention comes
  for (const Formula p : branches) {
    Budget::tick();
    std::vector<std::uint32_t> names;
    const bool known = mentioned(p, names) && names.size() <= kWide;
    const Formula other = known ? members_.member_formula(p, kAnyName) : kTrue;
    const bool plain = other > kTrue && !f_[other].child;
    if (!plain && join == Is::Any) continue;  // a branch less
    if (!plain && join == Is::One) return out;
    if (!plain) {
      out.beside.push_back(p);
      continue;
    }
    for (const std::uint32_t id : names) out.change[id].push_back(static_cast<std::uint32_t>(out.branches.size()));
    out.branches.push_back(p);
    after.push_back(other);
  }
  std::sort(after.begin(), after.end());
  out.distinct = std::adjacent_find(after.begin(), after.end()) == after.end();
  if (out.branches.size() >= kWide && (join != Is::One || out.distinct)) out.join = join;
  return out;
}

const WideFormulas::Wide& WideFormulas::wide(Formula f) {
  for (const Read& r : recent_) {
    if (r.formula == f) return *r.wide;
  }
  auto wide = std::make_shared<const Wide>(read(f));
  if (recent_.size() >= 8) recent_.pop_back();
  recent_.push_front({f, std::move(wide)});
  return *recent_.front().wide;
}

// What the name leaves of a branch cannot be true already.
bool WideFormulas::stays(Formula branch, std::uint32_t name) {
  const Formula after = members_.member_formula(branch, name);
  const std::vector<Formula> conjuncts = f_.conjuncts(after);
  return std::ranges::any_of(conjuncts, [&](Formula p) { return p != kTrue && !f_[p].child; });
}

std::optional<WideFormulas::Part> WideFormulas::part(Formula f, std::uint32_t name) {
  const FormulaNode n = f_[f];
  if (n.is != Is::All && n.is != Is::Any && n.is != Is::One) return std::nullopt;
  const Wide& w = wide(f);
  if (w.join == Is::False) return std::nullopt;
  std::vector<std::uint32_t> changed;
  if (const auto at = w.change.find(name); at != w.change.end()) changed = at->second;
  if (changed.size() > kChange) return std::nullopt;
  std::vector<Formula> kept;
  for (const std::uint32_t i : changed) kept.push_back(w.branches[i]);
  const std::size_t left = w.branches.size() - changed.size();
  if (w.join == Is::All) {
    kept.insert(kept.end(), w.beside.begin(), w.beside.end());
    if (kept.size() > kWide) return std::nullopt;
    return Part{f_.all(std::move(kept)), left > kBranches && w.distinct ? Decides::All : Decides::Child};
  }
  if (w.join == Is::One && !std::ranges::all_of(kept, [&](Formula p) { return stays(p, name); })) return std::nullopt;
  const std::size_t most = 2 * changed.size() + kKept;
  if (left < most) return std::nullopt;
  for (std::uint32_t i = 0; kept.size() < most; ++i) {
    if (std::ranges::find(changed, i) == changed.end()) kept.push_back(w.branches[i]);
  }
  std::vector<Formula> all = w.beside;
  all.push_back(w.join == Is::One ? f_.one(std::move(kept)) : f_.any(std::move(kept)));
  return Part{f_.all(std::move(all)), Decides::Rest};
}

}  // namespace espalier::json
