// Numbers are told apart by their bounds, words one by one, other texts by reading all at once.
#include "json/split/branches_apart.hpp"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "base/budget.hpp"
#include "regex/store.hpp"

namespace espalier::json {

namespace {

constexpr std::size_t kMany = 8;  // demands: fewer are decided one by one

// The least interval around the numbers of a formula, as far as its bounds say.
struct Interval {
  std::optional<Decimal> lo, hi;
  bool open_lo = false, open_hi = false;

  void at_least(const Decimal& v, bool open) {
    const int c = lo ? compare(v, *lo) : 1;
    if (c > 0) lo = v, open_lo = open;
    else if (c == 0) open_lo |= open;
  }
  void at_most(const Decimal& v, bool open) {
    const int c = hi ? compare(v, *hi) : -1;
    if (c < 0) hi = v, open_hi = open;
    else if (c == 0) open_hi |= open;
  }
  bool before(const Interval& other) const {  // all of it
    if (!hi || !other.lo) return false;
    const int c = compare(*hi, *other.lo);
    return c < 0 || (c == 0 && (open_hi || other.open_lo));
  }
};

// Whether texts of r may end with more than one tag.
bool several_tags(const re::Store& store, Re r) {
  std::vector<Re> todo{r};
  Tag only = 0;
  while (!todo.empty()) {
    const re::Node n = store.node(todo.back());
    todo.pop_back();
    if (!(n.flags & re::kTagged)) continue;
    if (n.kind == re::Kind::Tag) {
      if (only && only != n.tag()) return true;
      only = n.tag();
    } else if (n.kind == re::Kind::Cat) {
      todo.insert(todo.end(), {n.cat().head, n.cat().tail});
    } else if (n.kind == re::Kind::Alt) {
      todo.insert(todo.end(), store.operands(n).begin(), store.operands(n).end());
    } else {
      return true;
    }
  }
  return false;
}

}  // namespace

bool BranchesApart::numbers_apart(const std::vector<Formula>& all) const {
  std::vector<Interval> found;
  for (const Formula f : all) {
    Interval i;
    for (const Formula p : f_.conjuncts(f)) {
      const bool negative = f_[p].is == Is::Not;
      const FormulaNode n = f_[negative ? f_.operands(p)[0] : p];
      if (n.is != Is::Number) continue;
      const NumberAtom& a = expander_.number_atom(n.a);
      if (a.op == Op::Eq && !negative) i.at_least(a.value, false), i.at_most(a.value, false);
      if (a.op == Op::Ge) negative ? i.at_most(a.value, true) : i.at_least(a.value, false);
      if (a.op == Op::Gt) negative ? i.at_most(a.value, false) : i.at_least(a.value, true);
      if (a.op == Op::Le) negative ? i.at_least(a.value, true) : i.at_most(a.value, false);
      if (a.op == Op::Lt) negative ? i.at_least(a.value, false) : i.at_most(a.value, true);
    }
    found.push_back(std::move(i));
  }
  std::sort(found.begin(), found.end(), [](const Interval& x, const Interval& y) {
    if (!x.lo || !y.lo) return !x.lo && y.lo;
    return compare(*x.lo, *y.lo) < 0;
  });
  for (std::size_t i = 0; i + 1 < found.size(); ++i) {
    if (!found[i].before(found[i + 1])) return false;
  }
  return true;
}

// No text is of two: words are compared, other texts are read by all at once.
bool BranchesApart::texts_apart(const std::vector<Formula>& all) {
  std::unordered_set<std::string_view> words;
  bool listed = true;
  for (const Formula f : all) {
    const std::vector<std::string>* own = listed ? scalars_.finite(f) : nullptr;
    listed = own != nullptr;
    if (!listed) break;
    for (const std::string& w : *own) {
      if (scalars_.text_holds(f, w) && !words.insert(w).second) return false;
    }
  }
  if (listed) return true;
  re::Store& store = re::Store::get();
  std::vector<Re> marked;
  for (std::size_t i = 0; i < all.size(); ++i)
    marked.push_back(store.mark(scalars_.text_of(all[i]), static_cast<Tag>(i + 1)));
  std::vector<Re> reached{store.alt(std::move(marked))};
  std::unordered_set<Re> seen(reached.begin(), reached.end());
  const std::size_t most = 2000 + 40 * all.size();
  for (std::size_t i = 0; i < reached.size(); ++i) {
    Budget::tick();
    if (store.ends(reached[i]).size() > 1 || reached.size() > most) return false;
    if (!several_tags(store, reached[i])) continue;  // one is left
    const re::Row& row = store.row(reached[i]);
    for (std::uint32_t c = 0; c < row.classes; ++c) {
      const Re to = row.to[c];
      if (to != re::kEmpty && store.live(to) && seen.insert(to).second) reached.push_back(to);
    }
  }
  return true;
}

bool BranchesApart::apart(const std::vector<Schema>& all) {
  for (const Kind kind : {Kind::Null, Kind::False, Kind::True, Kind::Array, Kind::Object}) {
    std::size_t some = 0;
    for (const Schema s : all) some += expander_.expand(s, kind) != kFalse;
    if (some > 1) return false;
  }
  std::vector<Formula> numbers, texts;
  for (const Schema s : all) {
    if (const Formula f = expander_.expand(s, Kind::Number); f != kFalse) numbers.push_back(f);
    if (const Formula f = expander_.expand(s, Kind::String); f != kFalse) texts.push_back(f);
  }
  return (numbers.size() < 2 || numbers_apart(numbers)) && (texts.size() < 2 || texts_apart(texts));
}

// What is neutral in a list (false in Any and One, true in All) does not count, so a list of n parts that each speak of
// a demand of their own costs n steps.
BranchesApart::Worlds BranchesApart::worlds_of(Formula f) {
  Budget::tick();
  if (!f_[f].child) return {f};
  const Is is = f_[f].is;
  if (is == Is::Child) return {kFalse, {{f, kTrue}}};
  const std::vector<Formula> parts = f_.operands(f);
  if (is == Is::Not) {
    Worlds w = worlds_of(parts[0]);
    w.none = f_.negate(w.none);
    for (auto& [demand, value] : w.only) value = f_.negate(value);
    return w;
  }
  const Formula neutral = is == Is::All ? kTrue : kFalse;
  const auto join = [&](std::vector<Formula> v) {
    return is == Is::All ? f_.all(std::move(v)) : is == Is::Any ? f_.any(std::move(v)) : f_.one(std::move(v));
  };
  struct Entry {
    Formula demand, value;
    std::uint32_t part;
  };
  std::vector<Entry> entries;
  std::vector<std::pair<std::uint32_t, Formula>> core;  // what is not neutral where no demand holds
  for (std::uint32_t i = 0; i < parts.size(); ++i) {
    const Worlds w = worlds_of(parts[i]);
    if (w.none != neutral) core.emplace_back(i, w.none);
    for (const auto& [demand, value] : w.only) entries.push_back({demand, value, i});
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& x, const Entry& y) { return x.demand < y.demand; });
  Worlds out;
  std::vector<Formula> none;
  for (const auto& [part, value] : core) none.push_back(value);
  out.none = join(std::move(none));
  for (std::size_t i = 0, j; i < entries.size(); i = j) {
    for (j = i; j < entries.size() && entries[j].demand == entries[i].demand;) ++j;
    std::vector<Formula> values;
    std::size_t k = i;
    for (const auto& [part, value] : core) {
      while (k < j && entries[k].part < part) ++k;
      if (k == j || entries[k].part != part) values.push_back(value);
    }
    for (k = i; k < j; ++k) values.push_back(entries[k].value);
    out.only.emplace_back(entries[i].demand, join(std::move(values)));
  }
  return out;
}

// Only what worlds_of knows: no unevaluated keyword waits for the demands.
bool BranchesApart::logic(Formula f) const {
  if (!f_[f].child || f_[f].is == Is::Child) return true;
  if (f_[f].is == Is::Unevaluated) return false;
  const std::vector<Formula> parts = f_.operands(f);
  return std::ranges::all_of(parts, [&](Formula p) { return logic(p); });
}

bool BranchesApart::worlds(const std::vector<Formula>& open, Formula child, Formula rest, std::vector<Split>& out) {
  std::map<Formula, Use> used;
  for (std::uint32_t i = 0; i < open.size(); ++i) uses(open[i], false, i + 1, used);
  if (used.size() < kMany || std::ranges::none_of(used, [](const auto& u) { return u.second.negative; })) return false;
  if (!std::ranges::all_of(open, [&](Formula p) { return logic(p); })) return false;
  std::vector<Schema> demands;
  for (const auto& [atom, use] : used) demands.push_back(f_[atom].a);
  if (!apart(demands)) return false;
  const Worlds w = worlds_of(f_.all(open));
  for (const auto& [demand, value] : w.only) {
    const Formula left = f_.both(value, rest), asked = f_.both(child, demand);
    if (left != kFalse && asked != kFalse) out.push_back({asked, left});
  }
  if (const Formula left = f_.both(w.none, rest); left != kFalse) {
    std::vector<Formula> asked{child};
    for (const auto& [atom, use] : used) {
      if (use.negative) asked.push_back(f_.negate(atom));
    }
    if (const Formula c = f_.all(std::move(asked)); c != kFalse) out.push_back({c, left});
  }
  return true;
}

// In how many of the formulas an atom about the child stands, and under which signs.
void BranchesApart::uses(Formula f, bool negative, std::uint32_t number, std::map<Formula, Use>& out) const {
  if (!f_[f].child) return;
  if (f_[f].is == Is::Child) {
    Use& u = out[f];
    u.times += u.last != number;
    u.last = number;
    (negative ? u.negative : u.positive) = true;
    return;
  }
  for (const Formula p : f_.operands(f)) {
    uses(p, negative != (f_[f].is == Is::Not), number, out);
    if (f_[f].is == Is::One) uses(p, !negative, number, out);
  }
}

}  // namespace espalier::json
