// Branches of a formula are tried until the literals of one can hold.
#include "json/split/satisfiability.hpp"

#include <algorithm>

#include "base/budget.hpp"
#include "base/stack.hpp"
#include "json/expand/spelling.hpp"

namespace espalier::json {

namespace {}

bool Satisfiability::evident(Formula child) {
  if (child == kTrue) return true;
  if (f_[child].is == Is::Any) {
    const std::vector<Formula> parts = f_.operands(child);
    return std::any_of(parts.begin(), parts.end(), [&](Formula p) { return evident(p); });
  }
  return f_[child].is == Is::Child && obvious_.satisfiable(f_[child].a);
}

// Whether some value satisfies the formula of a child. Least fixed point: a value that needs itself does not exist.
bool Satisfiability::possible(Formula child) {
  if (child <= kTrue) return child == kTrue;
  if (const auto at = possible_.find(child); at != possible_.end()) return at->second;
  if (questions_.open(child)) return false;
  if (questions_.size() > 200) return true;
  need_stack();
  const OpenQuestions::Asking asking(questions_, child);
  const Values v = scalars_.values(child);
  bool found =
      v.checked_number != re::kEmpty || (v.scalars != re::kEmpty && !re::empty(v.scalars)) || possible_array({v.array});
  if (!found && v.object != kFalse) found = possible_object({v.object, members_.shape_of(v.object)});
  if (found || !asking.leans()) possible_[child] = found;
  return found;
}

// Whether a set of literals of the formula can all hold; branches of it are tried until `holds` says yes.
bool Satisfiability::solve(std::vector<Formula> todo, std::vector<Formula> literals, int& budget, const Holds& holds) {
  while (!todo.empty()) {
    if (--budget < 0 || todo.size() > static_cast<std::size_t>(budget) + 1) return true;  // no end within the budget
    Budget::tick();
    const Formula f = todo.back();
    todo.pop_back();
    const bool negative = f_[f].is == Is::Not;
    const std::vector<Formula> outer = f_.operands(f);
    const Formula inner = negative ? outer[0] : f;
    const Is is = f_[inner].is;
    if (f == kTrue) continue;
    if (f == kFalse) return false;
    if (is >= Is::Child) {
      literals.push_back(f);
      continue;
    }
    std::vector<Formula> parts = f_.operands(inner);
    if (is == Is::One) {
      if (negative || parts.size() * parts.size() > static_cast<std::size_t>(budget)) return true;
      for (const Formula p : parts) {
        std::vector<Formula> more = todo;
        for (const Formula q : parts) more.push_back(q == p ? q : f_.negate(q));
        if (solve(std::move(more), literals, budget, holds)) return true;
      }
      return false;
    }
    for (Formula& p : parts) p = negative ? f_.negate(p) : p;
    if ((is == Is::All) != negative) {
      todo.insert(todo.end(), parts.begin(), parts.end());
      continue;
    }
    for (const Formula p : parts) {
      std::vector<Formula> more = todo;
      more.push_back(p);
      if (solve(std::move(more), literals, budget, holds)) return true;
    }
    return false;
  }
  return holds(literals);
}

bool Satisfiability::possible_object(const Open& f) {
  if (f.formula == kFalse) return false;
  if (at_end(f.formula) == kTrue) return true;
  int budget = kBranches;
  return solve({f.formula}, {}, budget,
               [&](const std::vector<Formula>& literals) { return object_holds(f, literals); });
}

bool Satisfiability::object_holds(const Open& f, const std::vector<Formula>& literals) {
  std::vector<Formula> constant;
  std::vector<std::uint32_t> wanted, banned;
  std::uint64_t least = 0, most = ~0ull;
  for (const Formula l : literals) {
    const bool negative = f_[l].is == Is::Not;
    const FormulaNode n = f_[negative ? f_.operands(l)[0] : l];
    if (n.is == Is::Has) (negative ? banned : wanted).push_back(n.a);
    else if (n.is == Is::More && negative) most = std::min<std::uint64_t>(most, n.a - 1);
    else if (n.is == Is::More) least = std::max<std::uint64_t>(least, n.a);
    else if (!negative) constant.push_back(l);
  }
  if (least > most || wanted.size() > most) return false;
  const Formula kept = f_.all(std::move(constant));
  const std::vector<std::uint32_t>& had = names_.set(f.seen);
  if (!options_.in_order && !wanted.empty() && least <= wanted.size()) {  // what is demanded is enough
    const Formula key = members_.constant_part(kept);
    if (!plans_.planned(key, f.shape)) {
      return std::all_of(wanted.begin(), wanted.end(), [&](std::uint32_t id) {
        return !std::binary_search(had.begin(), had.end(), id) &&
               std::find(banned.begin(), banned.end(), id) == banned.end() && !spellings(names_[id]).empty() &&
               plans_.name_lives(key, id);
      });
    }
  }
  const std::shared_ptr<const Plan> planned = plans_.plan(kept, f.shape);
  const Plan& p = *planned;
  const std::vector<std::uint32_t>& names = members_.shape(f.shape);
  const std::vector<std::uint32_t>& seen = names_.set(f.seen);
  std::uint64_t left = 0;
  for (const std::uint32_t i : p.live) {
    const std::uint32_t id = names[i];
    if ((options_.in_order && i < f.index) || std::binary_search(seen.begin(), seen.end(), id)) continue;
    if (std::find(banned.begin(), banned.end(), id) != banned.end()) continue;
    ++left;
    std::erase(wanted, id);
  }
  return wanted.empty() && (p.others != re::kEmpty || left >= least);
}

bool Satisfiability::possible_array(const Open& f) {
  if (f.formula == kFalse) return false;
  if (at_end(f.formula) == kTrue) return true;
  int budget = kBranches;
  return solve({f.formula}, {}, budget, [&](const std::vector<Formula>& literals) { return array_holds(f, literals); });
}

bool Satisfiability::array_holds(const Open& f, const std::vector<Formula>& literals) {
  std::vector<Formula> constant, contained;
  std::uint64_t least = 0, most = ~0ull;
  for (const Formula l : literals) {
    const bool negative = f_[l].is == Is::Not;
    const FormulaNode n = f_[negative ? f_.operands(l)[0] : l];
    if (n.is == Is::More && negative) most = std::min<std::uint64_t>(most, n.a - 1);
    else if (n.is == Is::More) least = std::max<std::uint64_t>(least, n.a);
    else if (n.is == Is::Contains && !negative)
      least = std::max<std::uint64_t>(least, n.b), contained.push_back(expander_.child(n.a));
    else if (n.is == Is::Unique && negative) least = std::max<std::uint64_t>(least, f.seen == 0 ? 2 : 1);
    else if (!negative && n.is != Is::Unique) constant.push_back(l);
  }
  if (least > most) return false;
  const Formula items = f_.all(std::move(constant));
  const auto place = [&](std::uint32_t index, Formula also) {  // an item that also satisfies `also` can stand there
    const std::vector<Split> splits = splitter_.split(f_.both(array_items_.item_formula(items, index), also));
    return std::any_of(splits.begin(), splits.end(), [&](const Split& s) { return satisfiable(s.child); });
  };
  const std::uint64_t uniform = array_items_.prefix_length(items);
  std::uint64_t open = 0;  // how many items can follow
  while (open < least && open < most && place(static_cast<std::uint32_t>(std::min(f.index + open, uniform)), kTrue)) {
    if (f.index + open >= uniform) open = most;
    else ++open;
  }
  if (open < least) return false;
  return std::all_of(contained.begin(), contained.end(), [&](Formula c) {
    for (std::uint64_t i = f.index; i <= uniform && i < f.index + std::min<std::uint64_t>(most, 1 << 20); ++i) {
      if (place(static_cast<std::uint32_t>(i), c)) return true;
    }
    return f.index > uniform && place(static_cast<std::uint32_t>(uniform), c);
  });
}

// Evident or found; an error in a schema that the text may never get to is not raised here.
bool Satisfiability::satisfiable(Formula child) {
  try {
    return evident(child) || possible(child);
  } catch (const OverLimit&) {
    throw;  // no verdict about the schema
  } catch (const GrammarError&) { return true; }
}

// The formula when no more members or items come: a verdict.
Formula Satisfiability::at_end(Formula f) {
  if (const auto at = ended_.find(f); at != ended_.end()) return at->second;
  const Formula verdict = f_.map(f, [&](Formula atom) {
    switch (f_[atom].is) {
      case Is::Has:
      case Is::More:
      case Is::Contains: return kFalse;
      default: return kTrue;
    }
  });
  return ended_[f] = verdict;
}

}  // namespace espalier::json
