// What a member leaves to be seen, and which names the schemas mention.
#include "json/split/object_members.hpp"

#include <algorithm>

namespace espalier::json {

bool ObjectMembers::fits(Re pattern, std::string_view name) {
  if (Names::stands_for_many(name)) {
    for (std::size_t i = 1; i < name.size(); i += sizeof(Re)) {
      if (name.substr(i, sizeof(Re)) == std::string_view(reinterpret_cast<const char*>(&pattern), sizeof(Re)))
        return true;
    }
    return false;
  }
  for (const char c : name) {
    if ((pattern = re::step(pattern, static_cast<std::uint8_t>(c))) == re::kEmpty) return false;
  }
  return re::nullable(pattern);
}

// What the member `name` must satisfy by properties, patternProperties and additionalProperties.
Formula ObjectMembers::children_of(Schema s, std::string_view name) {
  const Value& v = *schemas_[s].value;
  std::vector<Formula> all;
  bool listed = false;
  if (const Value* p = v.get("properties"); p && p->is(Kind::Object)) {
    if (const Value* own = p->get(name)) listed = true, all.push_back(expander_.child(schemas_.inside(s, own)));
  }
  if (const Value* p = v.get("patternProperties"); p && p->is(Kind::Object)) {
    for (const auto& m : p->members) {
      if (fits(expander_.key_pattern(s, m.first), name))
        listed = true, all.push_back(expander_.child(schemas_.inside(s, m.second)));
    }
  }
  if (const Value* p = v.get("additionalProperties"); p && !listed)
    all.push_back(expander_.child(schemas_.inside(s, p)));
  return f_.all(std::move(all));
}

// Whether the schema's own keywords evaluate the member (for unevaluatedProperties around it).
bool ObjectMembers::evaluates(Schema evaluator, std::string_view name) {
  const Schema s = evaluator & ~kHolder;
  const Value& v = *schemas_[s].value;
  if (v.get("additionalProperties") || (s == evaluator && v.get("unevaluatedProperties"))) return true;
  if (const Value* p = v.get("properties"); p && p->get(name)) return true;
  if (const Value* p = v.get("patternProperties"); p && p->is(Kind::Object)) {
    return std::any_of(p->members.begin(), p->members.end(),
                       [&](const auto& m) { return fits(expander_.key_pattern(s, m.first), name); });
  }
  return false;
}

Formula ObjectMembers::member_formula(Formula f, std::uint32_t id) {
  const std::uint64_t key = static_cast<std::uint64_t>(f) << 32 | id;
  if (const auto at = member_formulas_.find(key); at != member_formulas_.end()) return at->second;
  const std::string& name = names_[id];
  return member_formulas_[key] = f_.map(f, [&](Formula atom) {
    const FormulaNode n = f_[atom];
    switch (n.is) {
      case Is::Members: return f_.both(atom, children_of(n.a, name));
      case Is::Names:
        return Names::stands_for_many(name) || scalars_.text_holds(expander_.expand(n.a, Kind::String), name) ? atom
                                                                                                              : kFalse;
      case Is::Has: return n.a == id ? kTrue : atom;
      case Is::More: return f_.atom(Is::More, n.a - 1);
      case Is::Unevaluated: {
        std::vector<Formula> any{expander_.child(n.a)};
        const std::vector<Formula> counts = f_.operands(atom);
        for (std::size_t i = 0; i < counts.size(); ++i) {
          if (evaluates(expander_.evaluators(n.b)[i], name)) any.push_back(counts[i]);
        }
        return f_.both(atom, f_.any(std::move(any)));
      }
      default: return atom;
    }
  });
}

std::uint32_t ObjectMembers::shape_of(Formula f) {
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
        for (const auto& m : p->members) add(names, names_.id(m.first));
      }
    } else if (n.is == Is::Has) {
      has_ids.push_back(n.a);
    } else if (n.is == Is::Names) {
      if (const auto* words = scalars_.finite(expander_.expand(n.a, Kind::String))) {
        for (const std::string& w : *words) add(names, names_.id(w));
      }
    }
    return atom;
  });
  for (const std::uint32_t id : has_ids) add(names, id);
  const auto [at, fresh] = shape_ids_.emplace(names, static_cast<std::uint32_t>(shapes_.size()));
  if (fresh) shapes_.push_back(names);
  return formula_shapes_[f] = at->second;
}

// What does not change as names are seen.
Formula ObjectMembers::constant_part(Formula f) {
  std::vector<Formula> constant;
  for (const Formula p : f_.conjuncts(f)) {
    if (f_[p].is != Is::Has && f_[p].is != Is::More) constant.push_back(p);
  }
  return f_.all(std::move(constant));
}

}  // namespace espalier::json
