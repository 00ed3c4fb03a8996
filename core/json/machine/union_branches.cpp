// The formula after a member or an item speaks about the child that comes now. `split` makes it a list of alternatives
// (what the child satisfies, what then remains): the union of the alternatives is the formula.
#include <algorithm>

#include "base/budget.hpp"
#include "json/machine/schema_machine.hpp"

namespace espalier::json {

namespace {
constexpr int kMostAlternatives = 30000;

bool annotation(std::string_view k) {
  return k == "title" || k == "description" || k == "default" || k == "examples" || k == "example" || k == "$comment" ||
         k == "deprecated" || k == "readOnly" || k == "writeOnly";
}
}  // namespace

// A text that is equal only for schemas that say the same; false if the schema is large or looks elsewhere.
bool SchemaMachine::signature(const Value& v, std::string& out, int depth) const {
  if (depth > 6 || out.size() > 600) return false;
  if (!v.is(Kind::Object)) {
    out += canonical(v);
    return out.size() <= 600;
  }
  out += '{';
  for (const auto& [k, m] : v.members) {
    if (annotation(k)) continue;
    if (k.starts_with('$') || k == "id") return false;
    (out += quote(k)) += ':';
    if (!signature(*m, out, depth + 1)) return false;
    out += ',';
  }
  out += '}';
  return true;
}

// "The value that begins now satisfies s"; schemas that say the same are the same atom.
Formula SchemaMachine::child(Schema s) {
  if (const auto at = children_.find(s); at != children_.end()) return at->second;
  const Value& v = *schemas_[s].value;
  if (v.boolean()) return v.is(Kind::True) ? kTrue : kFalse;
  std::string key =
      std::to_string(static_cast<int>(schemas_.resource(s).draft)) + (schemas_.resource(s).asserts ? "+" : "-");
  Schema same = s;
  if (signature(v, key, 0)) same = signatures_.emplace(key, s).first->second;
  return children_[s] = f_.atom(Is::Child, same);
}

// The only numbers for which the formula can hold, if it names them.
bool SchemaMachine::finite(Formula f, std::vector<Decimal>& numbers) const {
  const std::vector<Formula> parts = f_.operands(f);
  const auto named = [&](Formula p) { return finite(p, numbers); };
  switch (f_[f].is) {
    case Is::Number: {
      const NumberAtom& atom = number_atoms_[f_[f].a];
      if (atom.op == Op::Eq) numbers.push_back(atom.value);
      return atom.op == Op::Eq;
    }
    case Is::Any: return std::all_of(parts.begin(), parts.end(), named);
    case Is::All: return std::any_of(parts.begin(), parts.end(), named);
    default: return false;
  }
}

// What "satisfies a" says about "satisfies b", as far as types and enumerated strings and numbers show: -1 never both,
// 1 implied, 0 unknown.
int SchemaMachine::relation(Schema a, Schema b) {
  if (const auto at = relations_.find({a, b}); at != relations_.end()) return at->second;
  relations_[{a, b}] = 0;
  bool meet = false, implied = true;
  const auto value = [&](bool first, bool second) {  // of a and of b
    meet |= first && second;
    implied &= !first || second;
  };
  for (const Kind k : {Kind::Null, Kind::False, Kind::True, Kind::Array, Kind::Object}) {
    const Formula x = expand(a, k);
    implied &= x == kFalse;
    if (f_.both(x, expand(b, k)) != kFalse) return 0;
  }
  if (const Formula x = expand(a, Kind::Number), y = expand(b, Kind::Number); f_.both(x, y) == kFalse) {
    implied &= x == kFalse;
  } else {
    std::vector<Decimal> some, others;
    const bool listed = finite(x, some);
    if (!listed && !finite(y, others)) return 0;
    implied &= listed;
    for (const Decimal& d : listed ? some : others) {
      value(number_holds(x, d, "1e0"), number_holds(y, d, "1e0"));  // draft 4 asks how an integer is written
      if (d.integer()) value(number_holds(x, d, "1"), number_holds(y, d, "1"));
    }
  }
  if (const Formula x = expand(a, Kind::String), y = expand(b, Kind::String); f_.both(x, y) == kFalse) {
    implied &= x == kFalse;
  } else {
    const auto *words = finite(x), *some = words ? words : finite(y);
    if (!some) return 0;
    implied &= words != nullptr;
    for (const std::string& w : *some) value(text_holds(x, w), text_holds(y, w));
  }
  return relations_[{a, b}] = !meet ? -1 : implied;
}

// In how many of the formulas an atom about the child stands, and under which signs.
void SchemaMachine::uses(Formula f, bool negative, std::uint32_t number, std::map<Formula, Use>& out) const {
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

// A formula where the child is known to satisfy another: that decides some of its atoms.
Formula SchemaMachine::decided(Formula f, Formula child) {
  const std::vector<Formula> known = f_[child].is == Is::All ? f_.operands(child) : std::vector{child};
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

void SchemaMachine::split(Formula f, Formula child, Formula rest, std::vector<Split>& out, int& budget) {
  if (f == kFalse || child == kFalse || rest == kFalse) return;
  if (--budget < 0)
    throw GrammarError(schemas_.where(root_) +
                       ": its alternatives (oneOf, anyOf, not) have too many combinations to follow");
  Budget::tick();
  std::vector<Formula> fixed{rest}, units{child}, open;
  for (const Formula p : f_[f].is == Is::All ? f_.operands(f) : std::vector{f}) {
    const bool negative = f_[p].is == Is::Not;
    const Formula inner = negative ? f_.operands(p)[0] : p;
    (!f_[p].child ? fixed : f_[inner].is == Is::Child ? units : open).push_back(p);
  }
  rest = f_.all(std::move(fixed));
  child = f_.all(std::move(units));
  if (rest == kFalse || child == kFalse) return;
  if (open.empty()) return out.push_back({child, rest});
  if (worlds(open, child, rest, out)) return;

  const Formula before = f_.all(open);
  const Formula after = decided(before, child);
  if (after != before) return split(after, child, rest, out, budget);

  std::map<Formula, Use> used;
  for (std::uint32_t i = 0; i < open.size(); ++i) uses(open[i], false, i + 1, used);
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

std::vector<Split> SchemaMachine::split(Formula f) {
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
  const Assuming assuming(lowest_);
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
  if (out.size() > 1) std::erase_if(out, [&](const Split& s) { return !satisfiable(s.child); });
  if (!assuming.used()) splits_[f] = out;
  return out;
}

}  // namespace espalier::json
