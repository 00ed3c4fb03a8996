// unevaluatedProperties and unevaluatedItems: which schemas of the same value may evaluate a member, and when that
// counts.
#include "json/expand/expander.hpp"

namespace espalier::json {

Formula Expander::unevaluated(Schema s, const Value& v, Kind kind) {
  const Schema wanted = schemas_.inside(s, &v);
  if (child(wanted) == kTrue) return kTrue;
  std::vector<Schema> who;
  std::vector<Formula> when;
  evaluators(s, kTrue, kind, who, when, 0);
  const auto [at, fresh] = evaluator_ids_.emplace(who, static_cast<std::uint32_t>(evaluators_.size()));
  if (fresh) evaluators_.push_back(who);
  return f_.unevaluated(wanted, at->second, std::move(when));
}

// The schemas that apply to the same value as `s`, each with the formula of its counting; `s` itself stands first and,
// at depth 0, is marked: its own unevaluated keyword does not evaluate.
void Expander::evaluators(Schema s, Formula condition, Kind kind, std::vector<Schema>& who, std::vector<Formula>& when,
                          int depth) {
  const Value& v = *schemas_[s].value;
  if (!v.is(Kind::Object) || condition == kFalse) return;
  if (depth > 200) throw GrammarError(schemas_.where(s) + ": unevaluated keywords over references without end");
  who.push_back(depth == 0 ? s | kHolder : s);
  when.push_back(condition);
  auto below = [&](const Value* t, Formula also) {
    const Schema b = schemas_.inside(s, t);
    evaluators(b, f_.both(condition, also), kind, who, when, depth + 1);
  };
  auto itself = [&](const Value* t) { return expand(schemas_.inside(s, t), kind); };
  auto refer = [&](Schema t) { evaluators(t, condition, kind, who, when, depth + 1); };
  const Draft draft = schemas_.resource(s).draft;
  for (const auto& [name, value] : v.members) {
    if (!knows(draft, name)) continue;
    if (name == "$ref" && value->is(Kind::String)) {
      refer(schemas_.follow(s, value->text));
    } else if ((name == "$dynamicRef" || name == "$recursiveRef") && value->is(Kind::String)) {
      refer(schemas_.follow_dynamic(s, value->text));
    } else if (name == "allOf") {
      for (const Value* t : value->items) below(t, kTrue);
    } else if (name == "anyOf" || name == "oneOf") {
      for (const Value* t : value->items) below(t, itself(t));
    } else if (name == "if") {
      const Formula holds = itself(value);
      below(value, holds);
      if (const Value* t = v.get("then")) below(t, holds);
      if (const Value* t = v.get("else")) below(t, f_.negate(holds));
    } else if ((name == "dependentSchemas" || name == "dependencies") && kind == Kind::Object) {
      for (const auto& [trigger, t] : value->members) {
        if (!t->is(Kind::Array)) below(t, has(trigger));
      }
    }
  }
}

}  // namespace espalier::json
