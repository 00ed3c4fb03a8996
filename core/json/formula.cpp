// Formulas are made in a normal form: flat, sorted, without what is neutral.
#include "json/formula.hpp"

#include <algorithm>

#include "base/budget.hpp"

namespace espalier::json {

Formulas::Formulas() {
  nodes_.push_back({Is::False, false, 0, 0, 0, 0});
  nodes_.push_back({Is::True, false, 0, 0, 0, 0});
}

Formula Formulas::intern(FormulaNode n, std::span<const Formula> operands) {
  std::size_t h = static_cast<std::size_t>(n.is) * 0x9e3779b97f4a7c15ull + n.a * 0xff51afd7ed558ccdull +
                  n.b * 0xc4ceb9fe1a85ec53ull;
  for (const Formula f : operands) h = (h ^ f) * 0x100000001b3ull + (h >> 29);
  const auto same = [&](std::uint32_t i) {
    const FormulaNode& m = nodes_[i];
    return m.is == n.is && m.a == n.a && m.b == n.b &&
           std::ranges::equal(operands, std::span(pool_).subspan(m.first, m.count));
  };
  if (const Formula known = ids_.find(h, same); known != Index::kNone) return known;
  Budget::charge(1, sizeof n + operands.size_bytes() + 48);
  n.first = static_cast<std::uint32_t>(pool_.size());
  n.count = static_cast<std::uint32_t>(operands.size());
  n.child = n.is == Is::Child;
  for (const Formula f : operands) n.child |= nodes_[f].child;
  pool_.insert(pool_.end(), operands.begin(), operands.end());
  const auto id = static_cast<Formula>(nodes_.size());
  nodes_.push_back(n);
  ids_.add(h, id);
  return id;
}

Formula Formulas::atom(Is is, std::uint32_t a, std::uint32_t b) {
  if ((is == Is::More && a == 0) || (is == Is::Contains && b == 0)) return kTrue;
  return intern({is, false, a, b, 0, 0}, {});
}

Formula Formulas::unevaluated(std::uint32_t schema, std::uint32_t evaluators, std::vector<Formula> counts) {
  return intern({Is::Unevaluated, false, schema, evaluators, 0, 0}, counts);
}

Formula Formulas::negate(Formula f) {
  if (f <= kTrue) return kTrue - f;
  if (nodes_[f].is == Is::Not) return pool_[nodes_[f].first];
  return intern({Is::Not, false, 0, 0, 0, 0}, std::span(&f, 1));
}

Formula Formulas::all(std::vector<Formula> operands) {
  std::vector<Formula> flat;
  flat.reserve(operands.size());
  for (const Formula f : operands) {
    if (f == kFalse) return kFalse;
    if (nodes_[f].is == Is::All) {
      flat.insert(flat.end(), pool_.begin() + nodes_[f].first, pool_.begin() + nodes_[f].first + nodes_[f].count);
    } else if (f != kTrue) {
      flat.push_back(f);
    }
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  for (const Formula f : flat) {
    if (nodes_[f].is == Is::Not && std::binary_search(flat.begin(), flat.end(), pool_[nodes_[f].first])) return kFalse;
  }
  if (flat.size() <= 1) return flat.empty() ? kTrue : flat[0];
  return intern({Is::All, false, 0, 0, 0, 0}, flat);
}

Formula Formulas::any(std::vector<Formula> operands) {
  std::vector<Formula> flat;
  flat.reserve(operands.size());
  for (const Formula f : operands) {
    if (f == kTrue) return kTrue;
    if (nodes_[f].is == Is::Any) {
      flat.insert(flat.end(), pool_.begin() + nodes_[f].first, pool_.begin() + nodes_[f].first + nodes_[f].count);
    } else if (f != kFalse) {
      flat.push_back(f);
    }
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  for (const Formula f : flat) {
    if (nodes_[f].is == Is::Not && std::binary_search(flat.begin(), flat.end(), pool_[nodes_[f].first])) return kTrue;
  }
  if (flat.size() <= 1) return flat.empty() ? kFalse : flat[0];
  return intern({Is::Any, false, 0, 0, 0, 0}, flat);
}

Formula Formulas::one(std::vector<Formula> operands) {
  std::sort(operands.begin(), operands.end());
  std::vector<Formula> rest, never;  // never: stands there twice, so it may not hold
  for (std::size_t i = 0; i < operands.size();) {
    std::size_t j = i;
    while (j < operands.size() && operands[j] == operands[i]) ++j;
    if (operands[i] != kFalse) (j - i > 1 ? never : rest).push_back(operands[i]);
    i = j;
  }
  if (!rest.empty() && rest[0] == kTrue) {
    never.insert(never.end(), rest.begin() + 1, rest.end());
    rest = {kTrue};
  }
  for (Formula& f : never) f = negate(f);
  if (rest.empty()) return kFalse;
  never.push_back(rest.size() == 1 ? rest[0] : intern({Is::One, false, 0, 0, 0, 0}, rest));
  return all(never);
}

Formula Formulas::map(Formula f, const To& to) {
  const Is is = nodes_[f].is;
  if (is <= Is::True) return f;
  if (is >= Is::Child && is != Is::Unevaluated) return to(f);
  if (mapping_ == memos_.size()) memos_.emplace_back();
  Memo& memo = memos_[mapping_];
  struct Under {
    std::size_t& mapping;
    explicit Under(std::size_t& m) : mapping(++m) {}
    ~Under() { --mapping; }
  } const under(mapping_);
  ++memo.round;
  return map(f, to, memo);
}

Formula Formulas::map(Formula f, const To& to, Memo& memo) {
  const Is is = nodes_[f].is;
  if (is <= Is::True) return f;
  if (is >= Is::Child && is != Is::Unevaluated) return to(f);
  if (f < memo.done.size() && memo.done[f].first == memo.round) return memo.done[f].second;
  std::vector<Formula> parts = operands(f);
  for (Formula& p : parts) p = map(p, to, memo);
  Formula out;
  switch (is) {
    case Is::Not: out = negate(parts[0]); break;
    case Is::All: out = all(std::move(parts)); break;
    case Is::Any: out = any(std::move(parts)); break;
    case Is::One: out = one(std::move(parts)); break;
    default: out = to(unevaluated(nodes_[f].a, nodes_[f].b, std::move(parts)));
  }
  if (memo.done.size() <= f) memo.done.resize(nodes_.size());
  memo.done[f] = {memo.round, out};
  return out;
}

}  // namespace espalier::json
