// Objects: which names may come, and what a member leaves to be seen.
#include <algorithm>

#include "json/machine/schema_machine.hpp"

namespace espalier::json {

// Keywords of objects that speak about presence and counts; properties and its kin are one atom (Members).
Formula SchemaMachine::objectual(Schema s, std::string_view name, const Value& v) {
  if (name == "minProperties") return f_.atom(Is::More, count(s, name, v));
  if (name == "maxProperties") return f_.negate(f_.atom(Is::More, count(s, name, v) + 1));
  std::vector<Formula> all;
  if (name == "required" && v.is(Kind::Array)) {
    for (const Value* n : v.items) {
      if (n->is(Kind::String)) all.push_back(has(n->text));
    }
  } else if (name == "dependentRequired" || name == "dependentSchemas" || name == "dependencies") {
    if (!v.is(Kind::Object)) fail(s, name, "is an object");
    for (const auto& [trigger, then] : v.members) {
      std::vector<Formula> needs;
      if (then->is(Kind::Array)) {
        for (const Value* n : then->items) needs.push_back(has(n->text));
      } else if (then->is(Kind::String)) {
        needs.push_back(has(then->text));  // draft 3
      } else {
        needs.push_back(expand(schemas_.inside(s, then), Kind::Object));
      }
      all.push_back(f_.either(f_.negate(has(trigger)), f_.all(std::move(needs))));
    }
  }
  return f_.all(std::move(all));
}

// What the member `name` must satisfy by properties, patternProperties and additionalProperties.
Formula SchemaMachine::children_of(Schema s, std::string_view name) {
  const Value& v = *schemas_[s].value;
  std::vector<Formula> all;
  bool listed = false;
  if (const Value* p = v.get("properties"); p && p->is(Kind::Object)) {
    if (const Value* own = p->get(name)) listed = true, all.push_back(child(schemas_.inside(s, own)));
  }
  if (const Value* p = v.get("patternProperties"); p && p->is(Kind::Object)) {
    for (const auto& m : p->members) {
      if (fits(key_pattern(s, m.first), name)) listed = true, all.push_back(child(schemas_.inside(s, m.second)));
    }
  }
  if (const Value* p = v.get("additionalProperties"); p && !listed) all.push_back(child(schemas_.inside(s, p)));
  return f_.all(std::move(all));
}

// Whether the schema's own keywords evaluate the member (for unevaluatedProperties around it).
bool SchemaMachine::evaluates(Schema evaluator, std::string_view name) {
  const Schema s = evaluator & ~kHolder;
  const Value& v = *schemas_[s].value;
  if (v.get("additionalProperties") || (s == evaluator && v.get("unevaluatedProperties"))) return true;
  if (const Value* p = v.get("properties"); p && p->get(name)) return true;
  if (const Value* p = v.get("patternProperties"); p && p->is(Kind::Object)) {
    return std::any_of(p->members.begin(), p->members.end(),
                       [&](const auto& m) { return fits(key_pattern(s, m.first), name); });
  }
  return false;
}

Formula SchemaMachine::member_formula(Formula f, std::uint32_t id) {
  const std::uint64_t key = static_cast<std::uint64_t>(f) << 32 | id;
  if (const auto at = member_formulas_.find(key); at != member_formulas_.end()) return at->second;
  const std::string& name = names_[id];
  return member_formulas_[key] = f_.map(f, [&](Formula atom) {
    const FormulaNode n = f_[atom];
    switch (n.is) {
      case Is::Members: return f_.both(atom, children_of(n.a, name));
      case Is::Names: return stands_for_many(name) || text_holds(expand(n.a, Kind::String), name) ? atom : kFalse;
      case Is::Has: return n.a == id ? kTrue : atom;
      case Is::More: return f_.atom(Is::More, n.a - 1);
      case Is::Unevaluated: {
        std::vector<Formula> any{child(n.a)};
        const std::vector<Formula> counts = f_.operands(atom);
        for (std::size_t i = 0; i < counts.size(); ++i) {
          if (evaluates(evaluators_[n.b][i], name)) any.push_back(counts[i]);
        }
        return f_.both(atom, f_.any(std::move(any)));
      }
      default: return atom;
    }
  });
}

std::uint32_t SchemaMachine::shape_of(Formula f) {
  if (const auto at = formula_shapes_.find(f); at != formula_shapes_.end()) return at->second;
  std::vector<std::uint32_t> names;
  std::vector<bool> have;
  auto add = [&](std::vector<std::uint32_t>& to, std::uint32_t id) {
    if (have.size() <= id) have.resize(id + 64);
    if (!have[id]) have[id] = true, to.push_back(id);
  };
  std::vector<std::uint32_t> has_ids;
  f_.map(f, [&](Formula atom) {
    const FormulaNode n = f_[atom];
    if (n.is == Is::Members) {
      if (const Value* p = schemas_[n.a].value->get("properties")) {
        for (const auto& m : p->members) add(names, name_id(m.first));
      }
    } else if (n.is == Is::Has) {
      has_ids.push_back(n.a);
    } else if (n.is == Is::Names) {
      if (const auto* words = finite(expand(n.a, Kind::String))) {
        for (const std::string& w : *words) add(names, name_id(w));
      }
    }
    return atom;
  });
  for (const std::uint32_t id : has_ids) add(names, id);
  const auto [at, fresh] = shape_ids_.emplace(names, static_cast<std::uint32_t>(shapes_.size()));
  if (fresh) shapes_.push_back({names});
  return formula_shapes_[f] = at->second;
}

// Evident or found; an error in a schema that the text may never get to is not raised here.
bool SchemaMachine::satisfiable(Formula child) {
  try {
    return evident(child) || possible(child);
  } catch (const OverLimit&) {
    throw;  // no verdict about the schema
  } catch (const GrammarError&) { return true; }
}

// The decoded names, beyond those of the shape, that the schema's own keywords leave open.
Re SchemaMachine::member_names(Schema s) {
  const Value& v = *schemas_[s].value;
  std::vector<Re> open;
  Re closed = re::kEmpty;
  if (const Value* p = v.get("patternProperties"); p && p->is(Kind::Object)) {
    for (const auto& m : p->members) {
      const Re r = key_pattern(s, m.first);
      if (!satisfiable(child(schemas_.inside(s, m.second)))) closed = re::alt(closed, r);
      else open.push_back(r);
    }
  }
  const Value* rest = v.get("additionalProperties");
  Re r = rest && !satisfiable(child(schemas_.inside(s, rest))) ? re::alt(std::span<const Re>(open)) : re::text();
  if (closed != re::kEmpty) r = re::both(r, re::negate(closed));
  return r;
}

Re SchemaMachine::evaluated_names(Schema evaluator) {
  const Schema s = evaluator & ~kHolder;
  const Value& v = *schemas_[s].value;
  if (v.get("additionalProperties") || (s == evaluator && v.get("unevaluatedProperties"))) return re::text();
  Re r = re::kEmpty;
  if (const Value* p = v.get("patternProperties"); p && p->is(Kind::Object)) {
    for (const auto& m : p->members) r = re::alt(r, key_pattern(s, m.first));
  }
  return r;
}

// An upper bound of the decoded names that keep the formula satisfiable.
Re SchemaMachine::other_names(Formula f) {
  const FormulaNode n = f_[f];
  const std::vector<Formula> parts = f_.operands(f);
  switch (n.is) {
    case Is::False: return re::kEmpty;
    case Is::Members: return member_names(n.a);
    case Is::Names: return text_of(expand(n.a, Kind::String));
    case Is::Not: return f_[parts[0]].is == Is::More && f_[parts[0]].a == 1 ? re::kEmpty : re::text();
    case Is::Unevaluated: {
      if (child(n.a) != kFalse) return re::text();
      Re r = re::kEmpty;
      for (const Schema e : evaluators_[n.b]) r = re::alt(r, evaluated_names(e));
      return r;
    }
    case Is::All: {
      Re r = re::text();
      for (const Formula p : parts) {
        const Re q = other_names(p);
        r = r == re::text() ? q : q == re::text() ? r : re::both(r, q);
      }
      return r;
    }
    case Is::Any: {
      Re r = re::kEmpty;
      for (const Formula p : parts) r = re::alt(r, other_names(p));
      return r;
    }
    default: return re::text();
  }
}

// One schema at most speaks about the member of this name, and some value satisfies it: known without the formulas of
// members that the text may never have.
bool SchemaMachine::obvious_member(Formula f, std::string_view name) {
  std::size_t speak = 0;
  for (const Formula p : f_[f].is == Is::All ? f_.operands(f) : std::vector{f}) {
    if (p == kTrue) continue;
    if (f_[p].is != Is::Members) return false;
    const Schema s = f_[p].a;
    const Value& v = *schemas_[s].value;
    const Value *listed = v.get("properties"), *rest = v.get("additionalProperties");
    if (v.get("patternProperties") || (listed && !listed->is(Kind::Object))) return false;
    const Value* own = listed ? listed->get(name) : nullptr;
    if (!own) own = rest;
    if (own && (++speak > 1 || !satisfiable_quick(schemas_.inside(s, own)))) return false;
  }
  return true;
}

// What does not change as names are seen.
Formula SchemaMachine::constant_part(Formula f) {
  std::vector<Formula> constant;
  for (const Formula p : f_[f].is == Is::All ? f_.operands(f) : std::vector{f}) {
    if (f_[p].is != Is::Has && f_[p].is != Is::More) constant.push_back(p);
  }
  return f_.all(std::move(constant));
}

// Whether a member of this name can stand in an object of which this is demanded.
bool SchemaMachine::name_lives(Formula key, std::uint32_t id) {
  if (obvious_member(key, names_[id])) return true;
  const Formula after = member_formula(key, id);
  if (after == kFalse) return false;
  if (!f_[after].child || evident(after)) return true;
  const std::vector<Split> splits = split(after);
  return std::any_of(splits.begin(), splits.end(), [&](const Split& s) { return satisfiable(s.child); });
}

std::shared_ptr<const SchemaMachine::Plan> SchemaMachine::plan(Formula f, std::uint32_t shape) {
  const Formula key = constant_part(f);
  if (const auto at = plans_.find({key, shape}); at != plans_.end()) return at->second;
  const Assuming assuming(lowest_);
  auto made = std::make_shared<Plan>();
  Plan& p = *made;
  const std::vector<std::uint32_t> names = shapes_[shape].names;
  std::vector<WordId> all;
  std::vector<std::pair<std::string, std::size_t>> spelled;
  for (std::uint32_t i = 0; i < names.size(); ++i) {
    all.push_back(re::word(names_[names[i]]));
    if (!name_lives(key, names[i])) continue;
    std::vector<std::string> texts = spellings(names_[names[i]]);
    if (texts.empty()) continue;
    for (std::string& s : texts) spelled.emplace_back(std::move(s), p.live.size());
    p.live.push_back(i);
  }
  std::sort(spelled.begin(), spelled.end());
  for (const auto& [s, at] : spelled)
    p.spelled.push_back({re::word(s, p.live[at] + 1), static_cast<std::uint32_t>(at)});
  p.listed = names;
  std::sort(p.listed.begin(), p.listed.end());
  p.others = other_names(key);
  p.plain = p.others == re::text();
  if (p.others != re::kEmpty && !all.empty()) p.others = re::both(p.others, re::negate(re::words(std::move(all))));
  if (p.others != re::kEmpty && re::empty(p.others)) p.others = re::kEmpty;
  if (!assuming.used()) plans_[{key, shape}] = made;
  return made;
}

}  // namespace espalier::json
