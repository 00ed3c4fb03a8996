// One look at the names of the keywords, and few of their values.
#include "json/split/quickly_satisfiable.hpp"

#include <algorithm>

#include "base/budget.hpp"
#include "json/expand/spelling.hpp"

namespace espalier::json {

namespace {

enum Trait : unsigned {
  kRequired = 1,
  kItems = 2,
  kText = 4,
  kPattern = 8,
  kNumber = 16,
  kEnum = 32,
  kElsewhere = 64,
  kHard = 128,
  kClosed = 256
};

unsigned trait(std::string_view k) {
  static const std::unordered_map<std::string_view, unsigned> table{{"required", kRequired},
                                                                    {"minItems", kItems},
                                                                    {"minLength", kText},
                                                                    {"maxLength", kText},
                                                                    {"pattern", kPattern},
                                                                    {"format", kPattern},
                                                                    {"minimum", kNumber},
                                                                    {"maximum", kNumber},
                                                                    {"exclusiveMinimum", kNumber},
                                                                    {"exclusiveMaximum", kNumber},
                                                                    {"multipleOf", kNumber},
                                                                    {"enum", kEnum},
                                                                    {"const", kEnum},
                                                                    {"$ref", kElsewhere},
                                                                    {"anyOf", kElsewhere},
                                                                    {"oneOf", kHard},
                                                                    {"allOf", kHard},
                                                                    {"not", kHard},
                                                                    {"if", kHard},
                                                                    {"$dynamicRef", kHard},
                                                                    {"$recursiveRef", kHard},
                                                                    {"dependencies", kHard},
                                                                    {"dependentSchemas", kHard},
                                                                    {"dependentRequired", kHard},
                                                                    {"unevaluatedProperties", kHard},
                                                                    {"unevaluatedItems", kHard},
                                                                    {"minProperties", kHard},
                                                                    {"maxProperties", kHard},
                                                                    {"propertyNames", kHard},
                                                                    {"contains", kHard},
                                                                    {"extends", kHard},
                                                                    {"disallow", kHard},
                                                                    {"additionalProperties", kClosed},
                                                                    {"patternProperties", kClosed}};
  const auto at = table.find(k);
  return at == table.end() ? 0 : at->second;
}

bool is_count(const Value* v, std::size_t most) {
  return !v ||
         (v->is(Kind::Number) && v->text.size() <= most && v->text.find_first_not_of("0123456789") == v->text.npos);
}

}  // namespace

bool Obvious::satisfiable(Schema s, int depth) {
  const Value& v = *schemas_[s].value;
  if (!v.is(Kind::Object)) return v.is(Kind::True);
  if (const auto at = known_.find(s); at != known_.end()) return at->second;
  if (depth > 12) return false;
  known_[s] = false;  // while it is being asked: a value that needs itself
  const bool answer = keywords(s, v, depth);
  return known_[s] = answer;
}

bool Obvious::keywords(Schema s, const Value& v, int depth) {
  unsigned all = 0;
  for (const auto& [k, m] : v.members) all |= trait(k);
  const Value* type = v.get("type");
  if (all & kHard) return false;
  if (type && !type->is(Kind::String)) return false;
  if (all & kElsewhere) {
    if ((all & ~static_cast<unsigned>(kElsewhere)) || type || v.get("properties")) return false;
    const Value *ref = v.get("$ref"), *any = v.get("anyOf");
    if (ref && any) return false;
    if (any)
      return std::any_of(any->items.begin(), any->items.end(),
                         [&](const Value* t) { return satisfiable(schemas_.inside(s, t), depth + 1); });
    try {
      return ref->is(Kind::String) && satisfiable(schemas_.follow(s, ref->text), depth + 1);
    } catch (const OverLimit&) { throw; } catch (const GrammarError&) {
      return true;  // an address without a schema is an error once the text gets there
    }
  }
  if (all & kEnum) {
    const Value *list = v.get("enum"), *one = v.get("const");
    if ((all & ~static_cast<unsigned>(kEnum | kClosed | kRequired)) || (list && one) || (list && list->items.empty()))
      return false;
    const Kind kind = list ? list->items[0]->kind : one->kind;
    if (kind == Kind::String && !writable(list ? list->items[0]->text : one->text)) return false;
    return kind != Kind::Object && kind != Kind::Array &&
           (!type || (type->text == "string" && kind == Kind::String) ||
            (type->text == "number" && kind == Kind::Number));
  }
  if (!type) return true;  // every keyword left speaks of one type: null satisfies it
  if (type->text == "object") {
    const Value *required = v.get("required"), *properties = v.get("properties");
    if (!required || !required->is(Kind::Array) || required->items.empty()) return true;
    return std::all_of(required->items.begin(), required->items.end(), [&](const Value* name) {
      if (name->is(Kind::String) && !writable(name->text)) return false;
      const Value* p = properties && name->is(Kind::String) ? properties->get(name->text) : nullptr;
      return p ? !v.get("patternProperties") && satisfiable(schemas_.inside(s, p), depth + 1) : !(all & kClosed);
    });
  }
  if (type->text == "array") {
    const Value *least = v.get("minItems"), *items = v.get("items");
    if (!least) return true;
    if (v.get("maxItems") || v.get("uniqueItems") || v.get("prefixItems") || v.get("additionalItems") ||
        !is_count(least, 6))
      return false;
    return !items || (items->is(Kind::Object) && satisfiable(schemas_.inside(s, items), depth + 1));
  }
  if (type->text == "string") {
    if (all & kPattern) return !(all & kText) && !(v.get("pattern") && v.get("format"));
    const Value *least = v.get("minLength"), *most = v.get("maxLength");
    if (!is_count(least, 9) || !is_count(most, 9)) return false;
    return !least || !most || std::stoul(std::string(least->text)) <= std::stoul(std::string(most->text));
  }
  if (type->text == "number" || type->text == "integer") {
    const Value *least = v.get("minimum"), *most = v.get("maximum");
    const bool plain = !v.get("exclusiveMinimum") && !v.get("exclusiveMaximum") && !v.get("multipleOf");
    if (!(all & kNumber) || (plain && !(least && most))) return true;
    return plain && least->is(Kind::Number) && most->is(Kind::Number) && decimal(least->text).integer() &&
           compare(decimal(least->text), decimal(most->text)) <= 0;
  }
  return type->text == "null" || type->text == "boolean";
}

}  // namespace espalier::json
