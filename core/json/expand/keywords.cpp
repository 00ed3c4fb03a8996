// What the keywords of numbers, strings, objects and arrays say.
#include <algorithm>

#include "base/generation.hpp"
#include "json/expand/expander.hpp"
#include "json/expand/spelling.hpp"

namespace espalier::json {

namespace {
// The texts of a pattern. Schemas share them: the same patterns stand in many.
struct Patterns {
  std::unordered_map<std::string, Re> all;
};
Re matching(std::string_view pattern) {
  auto& all = Generation::here().part<Patterns>().all;
  const std::string key(pattern);
  if (const auto at = all.find(key); at != all.end()) return at->second;
  return all[key] = re::both(re::text(), re::parse(pattern, true));
}

}  // namespace

Formula Expander::listed(Schema s, std::string_view name, const Value& v) {
  if (name == "minItems") return f_.atom(Is::More, count(s, name, v));
  if (name == "maxItems") return f_.negate(f_.atom(Is::More, count(s, name, v) + 1));
  if (name == "uniqueItems") return v.is(Kind::True) ? f_.atom(Is::Unique) : kTrue;
  if (name != "contains") return kTrue;
  const Value& schema = *schemas_[s].value;
  const bool counted = knows(schemas_.resource(s).draft, "minContains") && schemas_.resource(s).asserts;
  const Value *least = counted ? schema.get("minContains") : nullptr,
              *most = counted ? schema.get("maxContains") : nullptr;
  const Schema wanted = schemas_.inside(s, &v);
  const Formula enough = f_.atom(Is::Contains, wanted, least ? count(s, "minContains", *least) : 1);
  if (!most) return enough;
  return f_.both(enough, f_.negate(f_.atom(Is::Contains, wanted, count(s, "maxContains", *most) + 1)));
}

Formula Expander::number(Op op, Decimal value) {
  const std::string key = std::string(1, static_cast<char>('a' + static_cast<int>(op))) + spell(value);
  const auto [at, fresh] = number_ids_.emplace(key, static_cast<std::uint32_t>(number_atoms_.size()));
  if (fresh) number_atoms_.push_back({op, std::move(value)});
  return f_.atom(Is::Number, at->second);
}

Formula Expander::numeric(Schema s, std::string_view name, const Value& v) {
  static const std::unordered_map<std::string_view, Op> ops{
      {"minimum", Op::Ge},          {"maximum", Op::Le},          {"exclusiveMinimum", Op::Gt},
      {"exclusiveMaximum", Op::Lt}, {"multipleOf", Op::Multiple}, {"divisibleBy", Op::Multiple}};
  const auto op = ops.find(name);
  if (op == ops.end()) return kTrue;
  if (v.boolean() && name.starts_with("exclusive")) return kTrue;  // draft 4: read with minimum, maximum
  if (!v.is(Kind::Number)) fail(s, name, "is a number");
  const Decimal bound = decimal(v.text);
  const Value& schema = *schemas_[s].value;
  Op which = op->second;
  auto exclusive = [&](std::string_view flag) {
    const Value* e = schema.get(flag);
    return e && e->is(Kind::True);
  };
  if (which == Op::Ge && exclusive("exclusiveMinimum")) which = Op::Gt;
  if (which == Op::Le && exclusive("exclusiveMaximum")) which = Op::Lt;
  if (which == Op::Multiple && (bound.zero() || bound.negative)) fail(s, name, "is a number above 0");
  return number(which, bound);
}

std::uint32_t Expander::count(Schema s, std::string_view name, const Value& v) {
  if (!v.is(Kind::Number)) fail(s, name, "is a non-negative integer");
  const Decimal d = decimal(v.text);
  if (d.negative || !d.integer()) fail(s, name, "is a non-negative integer");
  if (d.point > 9) return 1'000'000'000;  // as good as no bound, or a demand that nothing meets
  return static_cast<std::uint32_t>(
      std::stoul("0" + d.digits + std::string(static_cast<std::size_t>(d.point) - d.digits.size(), '0')));
}

// Keywords of objects that speak about presence and counts; properties and its kin are one atom (Members).
Formula Expander::objectual(Schema s, std::string_view name, const Value& v) {
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

Re Expander::pattern(Schema s, const Value& v) {
  const auto [at, fresh] = patterns_.try_emplace(&v, re::kEmpty);
  if (!fresh) return at->second;
  try {
    return patterns_[&v] = matching(v.text);
  } catch (const GrammarError& e) {
    patterns_.erase(&v);
    throw GrammarError(schemas_.where(s, &v) + ": " + e.what());
  }
}

Re Expander::key_pattern(Schema s, std::string_view text) {
  const auto at = key_patterns_.find(text);
  if (at != key_patterns_.end()) return at->second;
  try {
    return key_patterns_[text] = matching(text);
  } catch (const GrammarError& e) { fail(s, "patternProperties", e.what()); }
}

Formula Expander::textual(Schema s, std::string_view name, const Value& v) {
  if (name == "minLength") {
    const std::uint32_t n = count(s, name, v);
    return n == 0 ? kTrue : f_.atom(Is::Text, re::repeat(re::codepoint(), n));
  }
  if (name == "maxLength") return f_.atom(Is::Text, re::repeat(re::codepoint(), 0, count(s, name, v)));
  if (name == "pattern") {
    if (!v.is(Kind::String)) fail(s, name, "is a regular expression, as a string");
    return f_.atom(Is::Text, pattern(s, v));
  }
  if (name == "format" && options_.assert_formats && v.is(Kind::String)) {
    bool exact = true;
    const Re r = format_texts(v.text, exact);
    return r == re::kEmpty ? kTrue : f_.atom(Is::Text, r);
  }
  return kTrue;
}

}  // namespace espalier::json
