// The formula after a member or an item speaks about the child that comes now. `split` makes it a list of alternatives
// (what the child satisfies, what then remains): the union of the alternatives is the formula.
#include <algorithm>

#include "grammar/budget.hpp"
#include "grammar/json_machine.hpp"

namespace espalier::json {

namespace {
constexpr int kMostAlternatives = 2000;

bool annotation(std::string_view k) {
  return k == "title" || k == "description" || k == "default" || k == "examples" || k == "example" || k == "$comment" || k == "deprecated" ||
         k == "readOnly" || k == "writeOnly";
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
  std::string key = std::to_string(static_cast<int>(schemas_.resource(s).draft)) + (schemas_.resource(s).asserts ? "+" : "-");
  Schema same = s;
  if (signature(v, key, 0)) same = signatures_.emplace(key, s).first->second;
  return children_[s] = f_.atom(Is::Child, same);
}

// No value satisfies both, as far as types and enumerated strings show.
bool SchemaMachine::disjoint(Schema a, Schema b) {
  if (a > b) std::swap(a, b);
  if (const auto at = disjoint_.find({a, b}); at != disjoint_.end()) return at->second;
  disjoint_[{a, b}] = false;
  for (const Kind k : {Kind::Null, Kind::False, Kind::True, Kind::Number, Kind::Array, Kind::Object}) {
    if (expand(a, k) != kFalse && expand(b, k) != kFalse && f_.both(expand(a, k), expand(b, k)) != kFalse) return false;
  }
  const Formula x = expand(a, Kind::String), y = expand(b, Kind::String);
  if (x != kFalse && y != kFalse) {
    const auto *words = finite(x), *others = finite(y);
    if (!words && !others) return false;
    if (!words) words = others;
    if (std::any_of(words->begin(), words->end(), [&](const std::string& w) { return text_holds(f_.both(x, y), w); })) return false;
  }
  return disjoint_[{a, b}] = true;
}

void SchemaMachine::split(Formula f, Formula child, Formula rest, std::vector<Split>& out, int& budget) {
  if (f == kFalse || child == kFalse || rest == kFalse) return;
  if (--budget < 0) throw GrammarError(schemas_.where(root_) + ": its alternatives (oneOf, anyOf, not) have too many combinations to follow");
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

  // What the child is known to satisfy decides other atoms.
  const std::vector<Formula> known = f_[child].is == Is::All ? f_.operands(child) : std::vector{child};
  const Formula before = f_.all(open);
  const Formula after = f_.map(before, [&](Formula atom) {
    if (f_[atom].is != Is::Child) return atom;
    for (const Formula k : known) {
      if (k == atom) return kTrue;
      if (k == f_.negate(atom) || (f_[k].is == Is::Child && disjoint(f_[k].a, f_[atom].a))) return kFalse;
    }
    return atom;
  });
  if (after != before) return split(after, child, rest, out, budget);

  const Formula first = open[0];
  const bool negative = f_[first].is == Is::Not;
  const Formula inner = negative ? f_.operands(first)[0] : first;
  const Is is = f_[inner].is;
  if ((is == Is::Any && !negative) || (is == Is::All && negative)) {
    const std::vector<Formula> others(open.begin() + 1, open.end());
    for (const Formula p : f_.operands(inner)) {
      std::vector<Formula> all = others;
      all.push_back(negative ? f_.negate(p) : p);
      split(f_.all(std::move(all)), child, rest, out, budget);
    }
    return;
  }
  if (negative && is == Is::Any) {
    std::vector<Formula> all(open.begin() + 1, open.end());
    for (const Formula p : f_.operands(inner)) all.push_back(f_.negate(p));
    return split(f_.all(std::move(all)), child, rest, out, budget);
  }
  // Exactly one, or conditions of unevaluated: decide one atom.
  Formula pick = kFalse;
  f_.map(first, [&](Formula atom) {
    if (pick == kFalse && f_[atom].is == Is::Child) pick = atom;
    return atom;
  });
  for (const Formula value : {kTrue, kFalse}) {
    const Formula g = f_.map(before, [&](Formula atom) { return atom == pick ? value : atom; });
    split(g, f_.both(child, value == kTrue ? pick : f_.negate(pick)), rest, out, budget);
  }
}

std::vector<Split> SchemaMachine::split(Formula f) {
  if (const auto at = splits_.find(f); at != splits_.end()) return at->second;
  std::vector<Split> all, out;
  int budget = kMostAlternatives;
  split(f, kTrue, kTrue, all, budget);
  std::sort(all.begin(), all.end(), [](const Split& a, const Split& b) { return a.rest != b.rest ? a.rest < b.rest : a.child < b.child; });
  for (std::size_t i = 0; i < all.size();) {   // the same rest: one alternative
    std::vector<Formula> children;
    const Formula rest = all[i].rest;
    for (; i < all.size() && all[i].rest == rest; ++i) children.push_back(all[i].child);
    out.push_back({f_.any(std::move(children)), rest});
  }
  if (out.size() > 1) std::erase_if(out, [&](const Split& s) { return !evident(s.child) && !possible(s.child); });
  return splits_[f] = out;
}

}  // namespace espalier::json
