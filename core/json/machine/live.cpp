// Can it still be completed? `true` where that is not decided, so that nothing valid is ever refused.
#include <algorithm>

#include "base/budget.hpp"
#include "base/stack.hpp"
#include "json/machine/schema_machine.hpp"

namespace espalier::json {

namespace {
constexpr int kBranches = 300;  // of a formula, looked at before it is taken to be satisfiable
}

bool SchemaMachine::evident(Formula child) {
  if (child == kTrue) return true;
  if (f_[child].is == Is::Any) {
    const std::vector<Formula> parts = f_.operands(child);
    return std::any_of(parts.begin(), parts.end(), [&](Formula p) { return evident(p); });
  }
  return f_[child].is == Is::Child && satisfiable_quick(f_[child].a);
}

// Whether some value satisfies the formula of a child. Least fixed point: a value that needs itself does not exist.
bool SchemaMachine::possible(Formula child) {
  if (child <= kTrue) return child == kTrue;
  if (const auto at = possible_.find(child); at != possible_.end()) return at->second;
  if (std::find(asking_.begin(), asking_.end(), child) != asking_.end()) {
    lowest_ =
        std::min(lowest_, static_cast<std::size_t>(std::find(asking_.begin(), asking_.end(), child) - asking_.begin()));
    return false;
  }
  if (asking_.size() > 200) return true;
  need_stack();
  struct Asking {
    std::vector<Formula>& stack;
    ~Asking() { stack.pop_back(); }
  };
  const std::size_t level = asking_.size();
  const std::size_t before = std::exchange(lowest_, static_cast<std::size_t>(-1));
  asking_.push_back(child);
  const Asking guard{asking_};
  const Values v = values(child);
  bool found = v.checked_number != re::kEmpty || (v.scalars != re::kEmpty && !re::empty(v.scalars));
  Frame inner{At::ArrayBegin};
  inner.formula = v.array;
  found = found || possible_array(inner);
  inner.at = At::ObjectBegin;
  inner.formula = v.object;
  if (!found && v.object != kFalse) inner.shape = shape_of(v.object);
  found = found || possible_object(inner);
  const bool final_answer = found || lowest_ >= level;  // nothing below asked for something above
  lowest_ = std::min(before, lowest_ < level ? lowest_ : static_cast<std::size_t>(-1));
  if (final_answer) possible_[child] = found;
  return found;
}

// Whether a set of literals of the formula can all hold; branches of it are tried until `holds` says yes.
bool SchemaMachine::solve(std::vector<Formula> todo, std::vector<Formula> literals, int& budget,
                          const std::function<bool(const std::vector<Formula>&)>& holds) {
  while (!todo.empty()) {
    if (--budget < 0) return true;
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
      if (negative) return true;
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

bool SchemaMachine::possible_object(const Frame& f) {
  if (f.formula == kFalse) return false;
  if (at_end(f.formula) == kTrue) return true;
  int budget = kBranches;
  return solve({f.formula}, {}, budget,
               [&](const std::vector<Formula>& literals) { return object_holds(f, literals); });
}

bool SchemaMachine::object_holds(const Frame& f, const std::vector<Formula>& literals) {
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
  const std::vector<std::uint32_t>& had = sets_[f.seen];
  if (!options_.in_order && !wanted.empty() && least <= wanted.size()) {  // what is demanded is enough
    const Formula key = constant_part(kept);
    if (const auto at = plans_.find({key, f.shape}); at == plans_.end()) {
      return std::all_of(wanted.begin(), wanted.end(), [&](std::uint32_t id) {
        return !std::binary_search(had.begin(), had.end(), id) &&
               std::find(banned.begin(), banned.end(), id) == banned.end() && !spellings(names_[id]).empty() &&
               name_lives(key, id);
      });
    }
  }
  const std::shared_ptr<const Plan> planned = plan(kept, f.shape);
  const Plan& p = *planned;
  const std::vector<std::uint32_t>& names = shapes_[f.shape].names;
  const std::vector<std::uint32_t>& seen = sets_[f.seen];
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

bool SchemaMachine::possible_array(const Frame& f) {
  if (f.formula == kFalse) return false;
  if (at_end(f.formula) == kTrue) return true;
  int budget = kBranches;
  return solve({f.formula}, {}, budget, [&](const std::vector<Formula>& literals) { return array_holds(f, literals); });
}

bool SchemaMachine::array_holds(const Frame& f, const std::vector<Formula>& literals) {
  std::vector<Formula> constant, contained;
  std::uint64_t least = 0, most = ~0ull;
  for (const Formula l : literals) {
    const bool negative = f_[l].is == Is::Not;
    const FormulaNode n = f_[negative ? f_.operands(l)[0] : l];
    if (n.is == Is::More && negative) most = std::min<std::uint64_t>(most, n.a - 1);
    else if (n.is == Is::More) least = std::max<std::uint64_t>(least, n.a);
    else if (n.is == Is::Contains && !negative)
      least = std::max<std::uint64_t>(least, n.b), contained.push_back(child(n.a));
    else if (n.is == Is::Unique && negative) least = std::max<std::uint64_t>(least, sets_[f.seen].empty() ? 2 : 1);
    else if (!negative && n.is != Is::Unique) constant.push_back(l);
  }
  if (least > most) return false;
  const Formula items = f_.all(std::move(constant));
  const auto place = [&](std::uint32_t index, Formula also) {  // an item that also satisfies `also` can stand there
    const std::vector<Split> splits = split(f_.both(item_formula(items, index), also));
    return std::any_of(splits.begin(), splits.end(), [&](const Split& s) { return satisfiable(s.child); });
  };
  const std::uint64_t uniform = prefix_length(items);
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

}  // namespace espalier::json
