// Each name of the shape is asked about once; all others are one expression.
#include "json/split/name_plans.hpp"

#include <algorithm>

#include "json/expand/spelling.hpp"
#include "json/split/satisfiability.hpp"

namespace espalier::json {

// The decoded names, beyond those of the shape, that the schema's own keywords leave open.
Re NamePlans::member_names(Schema s) {
  const Value& v = *schemas_[s].value;
  std::vector<Re> open;
  Re closed = re::kEmpty;
  if (const Value* p = v.get("patternProperties"); p && p->is(Kind::Object)) {
    for (const auto& m : p->members) {
      const Re r = expander_.key_pattern(s, m.first);
      if (!live_.satisfiable(expander_.child(schemas_.inside(s, m.second)))) closed = re::alt(closed, r);
      else open.push_back(r);
    }
  }
  const Value* rest = v.get("additionalProperties");
  Re r = rest && !live_.satisfiable(expander_.child(schemas_.inside(s, rest))) ? re::alt(std::span<const Re>(open))
                                                                               : re::text();
  if (closed != re::kEmpty) r = re::both(r, re::negate(closed));
  return r;
}

Re NamePlans::evaluated_names(Schema evaluator) {
  const Schema s = evaluator & ~kHolder;
  const Value& v = *schemas_[s].value;
  if (v.get("additionalProperties") || (s == evaluator && v.get("unevaluatedProperties"))) return re::text();
  Re r = re::kEmpty;
  if (const Value* p = v.get("patternProperties"); p && p->is(Kind::Object)) {
    for (const auto& m : p->members) r = re::alt(r, expander_.key_pattern(s, m.first));
  }
  return r;
}

// An upper bound of the decoded names that keep the formula satisfiable.
Re NamePlans::other_names(Formula f) {
  const FormulaNode n = f_[f];
  const std::vector<Formula> parts = f_.operands(f);
  switch (n.is) {
    case Is::False: return re::kEmpty;
    case Is::Members: return member_names(n.a);
    case Is::Names: return scalars_.text_of(expander_.expand(n.a, Kind::String));
    case Is::Not: return f_[parts[0]].is == Is::More && f_[parts[0]].a == 1 ? re::kEmpty : re::text();
    case Is::Unevaluated: {
      if (expander_.child(n.a) != kFalse) return re::text();
      Re r = re::kEmpty;
      for (const Schema e : expander_.evaluators(n.b)) r = re::alt(r, evaluated_names(e));
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
bool NamePlans::obvious_member(Formula f, std::string_view name) {
  std::size_t speak = 0;
  for (const Formula p : f_.conjuncts(f)) {
    if (p == kTrue) continue;
    if (f_[p].is != Is::Members) return false;
    const Schema s = f_[p].a;
    const Value& v = *schemas_[s].value;
    const Value *listed = v.get("properties"), *rest = v.get("additionalProperties");
    if (v.get("patternProperties") || (listed && !listed->is(Kind::Object))) return false;
    const Value* own = listed ? listed->get(name) : nullptr;
    if (!own) own = rest;
    if (own && (++speak > 1 || !obvious_.satisfiable(schemas_.inside(s, own)))) return false;
  }
  return true;
}

// Whether a member of this name can stand in an object of which this is demanded.
bool NamePlans::name_lives(Formula key, std::uint32_t id) {
  if (obvious_member(key, names_[id])) return true;
  const std::optional<WideFormulas::Part> part = wide_.part(key, id);
  return (part && lives(part->formula, id)) || lives(key, id);
}

bool NamePlans::lives(Formula key, std::uint32_t id) {
  const Formula after = members_.member_formula(key, id);
  if (after == kFalse) return false;
  if (!f_[after].child || live_.evident(after)) return true;
  const std::vector<Split> splits = splitter_.split(after);
  return std::any_of(splits.begin(), splits.end(), [&](const Split& s) { return live_.satisfiable(s.child); });
}

std::shared_ptr<const Plan> NamePlans::plan(Formula f, std::uint32_t shape) {
  const Formula key = members_.constant_part(f);
  if (const auto at = plans_.find({key, shape}); at != plans_.end()) return at->second;
  const OpenQuestions::Assuming assuming(questions_);
  auto made = std::make_shared<Plan>();
  Plan& p = *made;
  const std::vector<std::uint32_t> names = members_.shape(shape);
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
  if (p.others != re::kEmpty && !all.empty()) p.others = re::both(p.others, re::negate(re::words(std::move(all))));
  if (p.others != re::kEmpty && re::empty(p.others)) p.others = re::kEmpty;
  if (!assuming.used()) plans_[{key, shape}] = made;
  return made;
}

}  // namespace espalier::json
