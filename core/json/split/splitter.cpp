// Alternatives that share nothing come one after the other; else one atom is decided at a time.
#include "json/split/splitter.hpp"

#include <algorithm>

#include "base/budget.hpp"
#include "json/split/satisfiability.hpp"

namespace espalier::json {

namespace {
constexpr int kMostAlternatives = 30000;
}  // namespace

// What "satisfies a" says about "satisfies b", as far as types and enumerated strings and numbers show: -1 never both,
// 1 implied, 0 unknown.
int Splitter::relation(Schema a, Schema b) {
  if (const auto at = relations_.find({a, b}); at != relations_.end()) return at->second;
  relations_[{a, b}] = 0;
  bool meet = false, implied = true;
  const auto value = [&](bool first, bool second) {  // of a and of b
    meet |= first && second;
    implied &= !first || second;
  };
  for (const Kind k : {Kind::Null, Kind::False, Kind::True, Kind::Array, Kind::Object}) {
    const Formula x = expander_.expand(a, k);
    implied &= x == kFalse;
    if (f_.both(x, expander_.expand(b, k)) != kFalse) return 0;
  }
  if (const Formula x = expander_.expand(a, Kind::Number), y = expander_.expand(b, Kind::Number);
      f_.both(x, y) == kFalse) {
    implied &= x == kFalse;
  } else {
    std::vector<Decimal> some, others;
    const bool listed = scalars_.finite(x, some);
    if (!listed && !scalars_.finite(y, others)) return 0;
    implied &= listed;
    for (const Decimal& d : listed ? some : others) {
      value(scalars_.number_holds(x, d, "1e0"),
            scalars_.number_holds(y, d, "1e0"));  // draft 4 asks how an integer is written
      if (d.integer()) value(scalars_.number_holds(x, d, "1"), scalars_.number_holds(y, d, "1"));
    }
  }
  if (const Formula x = expander_.expand(a, Kind::String), y = expander_.expand(b, Kind::String);
      f_.both(x, y) == kFalse) {
    implied &= x == kFalse;
  } else {
    const auto *words = scalars_.finite(x), *some = words ? words : scalars_.finite(y);
    if (!some) return 0;
    implied &= words != nullptr;
    for (const std::string& w : *some) value(scalars_.text_holds(x, w), scalars_.text_holds(y, w));
  }
  return relations_[{a, b}] = !meet ? -1 : implied;
}

// A formula where the child is known to satisfy another: that decides some of its atoms.
Formula Splitter::decided(Formula f, Formula child) {
  const std::vector<Formula> known = f_.conjuncts(child);
  return f_.map(f, [&](Formula atom) {
    if (f_[atom].is != Is::Child) return atom;
    for (const Formula k : known) {
      if (k == atom) return kTrue;
      if (k == f_.negate(atom)) return kFalse;
      if (f_[k].is != Is::Child) continue;
      const int r = relation(f_[k].a, f_[atom].a);
      if (r != 0) return r > 0 ? kTrue : kFalse;
    }
    return atom;
  });
}

void Splitter::split(Formula f, Formula child, Formula rest, std::vector<Split>& out, int& budget) {
  if (f == kFalse || child == kFalse || rest == kFalse) return;
  if (--budget < 0)
    throw GrammarError(schemas_.where(root_) +
                       ": its alternatives (oneOf, anyOf, not) have too many combinations to follow");
  Budget::tick();
  std::vector<Formula> fixed{rest}, units{child}, open;
  for (const Formula p : f_.conjuncts(f)) {
    const bool negative = f_[p].is == Is::Not;
    const Formula inner = negative ? f_.operands(p)[0] : p;
    (!f_[p].child ? fixed : f_[inner].is == Is::Child ? units : open).push_back(p);
  }
  rest = f_.all(std::move(fixed));
  child = f_.all(std::move(units));
  if (rest == kFalse || child == kFalse) return;
  if (open.empty()) return out.push_back({child, rest});
  if (apart_.worlds(open, child, rest, out)) return;

  const Formula before = f_.all(open);
  const Formula after = decided(before, child);
  if (after != before) return split(after, child, rest, out, budget);

  std::map<Formula, Use> used;
  for (std::uint32_t i = 0; i < open.size(); ++i) apart_.uses(open[i], false, i + 1, used);
  const auto shared = std::max_element(used.begin(), used.end(),
                                       [](const auto& x, const auto& y) { return x.second.times < y.second.times; });
  const Formula first = open[0];
  const bool negative = f_[first].is == Is::Not;
  const Formula inner = negative ? f_.operands(first)[0] : first;
  const bool choice = f_[inner].is == (negative ? Is::All : Is::Any), list = negative && f_[inner].is == Is::Any;
  if (shared->second.times < 2 && (choice || list)) {  // alternatives that share nothing: one after the other
    std::vector<Formula> cases, apart, others(open.begin() + 1, open.end());
    for (const Formula p : f_.operands(inner)) {
      const Formula q = negative ? f_.negate(p) : p;
      (list ? others : f_[q].child ? cases : apart).push_back(q);
    }
    if (list) return split(f_.all(std::move(others)), child, rest, out, budget);
    if (!apart.empty()) cases.push_back(f_.any(std::move(apart)));  // what does not speak of the child is one case
    for (const Formula c : cases) {
      std::vector<Formula> all = others;
      all.push_back(c);
      split(f_.all(std::move(all)), child, rest, out, budget);
    }
    return;
  }
  // Decide one atom. Where it only ever helps (or only harms) the other case needs no demand on the child.
  const Formula pick = shared->first;
  const Use use = shared->second;
  for (const Formula value : {kTrue, kFalse}) {
    const Formula g = f_.map(before, [&](Formula atom) { return atom == pick ? value : atom; });
    const bool demand = value == kTrue ? use.positive : use.negative;
    split(g, demand ? f_.both(child, value == kTrue ? pick : f_.negate(pick)) : child, rest, out, budget);
  }
}

std::vector<Split> Splitter::split(Formula f) {
  if (const auto at = splits_.find(f); at != splits_.end()) return at->second;
  if (f_[f].is == Is::All) {  // one demand on the child beside what remains
    std::vector<Formula> rest = f_.operands(f);
    const auto speaks = std::partition(rest.begin(), rest.end(), [&](Formula p) { return !f_[p].child; });
    if (rest.end() - speaks == 1 && f_[*speaks].is == Is::Child) {
      const Formula child = *speaks;
      rest.pop_back();
      return splits_[f] = {{child, f_.all(std::move(rest))}};
    }
  }
  std::vector<Split> all, out;
  const OpenQuestions::Assuming assuming(questions_);
  int budget = kMostAlternatives;
  split(f, kTrue, kTrue, all, budget);
  const auto merge = [&](Formula Split::* key, Formula Split::* value) {  // equal keys: one alternative
    std::map<Formula, std::vector<Formula>> groups;
    for (const Split& x : all) groups[x.*key].push_back(x.*value);
    all.clear();
    for (auto& [k, v] : groups) {
      Split x{};
      x.*key = k;
      x.*value = f_.any(std::move(v));
      all.push_back(x);
    }
  };
  merge(&Split::child, &Split::rest);
  merge(&Split::rest, &Split::child);
  out = std::move(all);
  if (out.size() > 1) std::erase_if(out, [&](const Split& s) { return !live_.satisfiable(s.child); });
  if (!assuming.used()) splits_[f] = out;
  return out;
}

}  // namespace espalier::json
