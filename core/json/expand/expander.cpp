// What applies to a value of any type: references, conditions, types and enumerations.
#include "json/expand/expander.hpp"

#include <algorithm>

#include "base/budget.hpp"
#include "base/stack.hpp"

namespace espalier::json {

namespace {
bool annotation(std::string_view k) {
  return k == "title" || k == "description" || k == "default" || k == "examples" || k == "example" || k == "$comment" ||
         k == "deprecated" || k == "readOnly" || k == "writeOnly";
}
}  // namespace
void Expander::fail(Schema s, std::string_view keyword, const std::string& why) const {
  const Value* v = schemas_[s].value->get(keyword);
  throw GrammarError(schemas_.where(s, v ? v : schemas_[s].value) + ": \"" + std::string(keyword) + "\" " + why);
}

Formula Expander::expand(Schema s, Kind kind) {
  const Value& v = *schemas_[s].value;
  if (v.boolean()) return v.is(Kind::True) ? kTrue : kFalse;
  if (!v.is(Kind::Object)) throw GrammarError(schemas_.where(s) + ": a schema is an object, true or false");
  const std::uint64_t key = static_cast<std::uint64_t>(s) << 8 | static_cast<std::uint64_t>(kind);
  if (const auto at = expanded_.find(key); at != expanded_.end()) return at->second;
  need_stack();
  struct Expanding {  // until it is done
    std::set<std::uint64_t>& set;
    std::uint64_t key;
    ~Expanding() { set.erase(key); }
  };
  if (!expanding_.insert(key).second)
    throw GrammarError(schemas_.where(s) + ": this schema refers to itself for the same value, without end");
  const Expanding guard{expanding_, key};
  if (expanding_.size() > kDeepest)
    throw GrammarError(schemas_.where(s) + ": references are nested deeper than " + std::to_string(kDeepest));
  const Formula f = keywords(s, kind);
  return expanded_[key] = f;
}

Formula Expander::keywords(Schema s, Kind kind) {
  const Value& v = *schemas_[s].value;
  const Draft draft = schemas_.resource(s).draft;
  std::vector<Formula> parts;
  const Value* ref = v.get("$ref");
  if (ref && ref->is(Kind::String) && draft >= Draft::V3 && draft <= Draft::V7) return reference(s, "$ref", *ref, kind);
  if (const Value* type = v.get("type"); type && schemas_.resource(s).asserts && typed(s, *type, kind) == kFalse)
    return kFalse;
  for (const auto& [name, value] : v.members) {
    if (v.get(name) != value) continue;  // overridden by a later member of the same name
    parts.push_back(keyword(s, name, *value, kind));
    if (parts.back() == kFalse) return kFalse;
  }
  parts.push_back(conditional(s, kind));
  if (kind == Kind::Object && (v.get("properties") || v.get("patternProperties") || v.get("additionalProperties"))) {
    parts.push_back(f_.atom(Is::Members, s));
  }
  if (kind == Kind::Array && (v.get("items") || v.get("prefixItems"))) parts.push_back(f_.atom(Is::Items, s));
  return f_.all(std::move(parts));
}

Formula Expander::keyword(Schema s, std::string_view name, const Value& v, Kind kind) {
  const Draft draft = schemas_.resource(s).draft;
  if (draft != Draft::Any && !knows(draft, name)) return kTrue;
  bool known = true;
  const Formula f = in_place(s, name, v, kind, known);
  if (known) return f;
  if (name == "unevaluatedProperties") return kind == Kind::Object ? unevaluated(s, v, kind) : kTrue;
  if (name == "unevaluatedItems") return kind == Kind::Array ? unevaluated(s, v, kind) : kTrue;
  if (name == "propertyNames") return kind == Kind::Object ? f_.atom(Is::Names, schemas_.inside(s, &v)) : kTrue;
  if (name == "dependentSchemas" || name == "dependencies") return kind == Kind::Object ? objectual(s, name, v) : kTrue;
  if (name == "contains") return kind == Kind::Array ? listed(s, name, v) : kTrue;
  if (!schemas_.resource(s).asserts && !(name == "format" && schemas_.resource(s).formats)) return kTrue;
  if (name == "type") return typed(s, v, kind);
  if (name == "enum") {
    if (!v.is(Kind::Array)) fail(s, name, "is a list of values");
    return enumerated(s, v.items, kind);
  }
  if (name == "const") return enumerated(s, {&v}, kind);
  switch (kind) {
    case Kind::Number: return numeric(s, name, v);
    case Kind::String: return textual(s, name, v);
    case Kind::Object: return objectual(s, name, v);
    case Kind::Array: return listed(s, name, v);
    default: return kTrue;
  }
}

Formula Expander::each(Schema s, const Value& list, Kind kind, Formula (Formulas::*join)(std::vector<Formula>)) {
  std::vector<Formula> parts;
  for (const Value* v : list.items) parts.push_back(expand(schemas_.inside(s, v), kind));
  return (f_.*join)(std::move(parts));
}

// Keywords that apply other schemas to the same value.
Formula Expander::in_place(Schema s, std::string_view name, const Value& v, Kind kind, bool& known) {
  const bool list = v.is(Kind::Array) && !v.items.empty();
  if (name == "allOf" && list) return each(s, v, kind, &Formulas::all);
  if (name == "anyOf" && list) return each(s, v, kind, &Formulas::any);
  if (name == "oneOf" && list) return each(s, v, kind, &Formulas::one);
  if (name == "allOf" || name == "anyOf" || name == "oneOf") fail(s, name, "is a list of at least one schema");
  if (name == "not") return f_.negate(expand(schemas_.inside(s, &v), kind));
  if (name == "$ref" || name == "$dynamicRef" || name == "$recursiveRef") return reference(s, name, v, kind);
  known = false;
  return kTrue;
}

Formula Expander::reference(Schema s, std::string_view name, const Value& v, Kind kind) {
  if (!v.is(Kind::String)) fail(s, name, "is the address of a schema");
  return expand(name == "$ref" ? schemas_.follow(s, v.text) : schemas_.follow_dynamic(s, v.text), kind);
}

Formula Expander::conditional(Schema s, Kind kind) {
  const Value& v = *schemas_[s].value;
  const Value *test = v.get("if"), *then = v.get("then"), *other = v.get("else");
  if (!test || (!then && !other)) return kTrue;
  if (!knows(schemas_.resource(s).draft, "if")) return kTrue;
  const Formula holds = expand(schemas_.inside(s, test), kind);
  const Formula yes = then && holds != kFalse ? expand(schemas_.inside(s, then), kind) : kTrue;
  const Formula no = other && holds != kTrue ? expand(schemas_.inside(s, other), kind) : kTrue;
  return f_.both(f_.either(f_.negate(holds), yes), f_.either(holds, no));
}

Formula Expander::typed(Schema s, const Value& v, Kind kind) {
  if (v.is(Kind::Array)) {
    std::vector<Formula> any;
    for (const Value* t : v.items)
      any.push_back(t->is(Kind::Object) || t->boolean() ? expand(schemas_.inside(s, t), kind) : typed(s, *t, kind));
    return f_.any(std::move(any));
  }
  if (!v.is(Kind::String)) fail(s, "type", "is a name of a type or a list of them");
  if (v.text == "integer") {
    return kind == Kind::Number ? number(schemas_.resource(s).draft == Draft::V4 ? Op::Literal4 : Op::Integer) : kFalse;
  }
  static const std::unordered_map<std::string_view, Kind> types{{"null", Kind::Null},     {"boolean", Kind::True},
                                                                {"number", Kind::Number}, {"string", Kind::String},
                                                                {"array", Kind::Array},   {"object", Kind::Object}};
  const auto t = types.find(v.text);
  if (t == types.end()) {
    if (v.text == "any") return kTrue;
    fail(s, "type",
         "knows no type \"" + std::string(v.text) +
             "\"; it is one of null, boolean, integer, number, string, array, object");
  }
  return t->second == kind || (t->second == Kind::True && kind == Kind::False) ? kTrue : kFalse;
}

Formula Expander::enumerated(Schema s, const std::vector<const Value*>& values, Kind kind) {
  std::vector<Formula> any;
  std::vector<std::string> words;
  std::vector<WordId> texts;
  for (const Value* v : values) {
    if (v->kind != kind) continue;
    Budget::tick();
    if (kind == Kind::Number) {
      any.push_back(number(Op::Eq, decimal(v->text)));
    } else if (kind == Kind::String) {
      words.emplace_back(v->text);
      texts.push_back(re::word(v->text));
    } else if (kind == Kind::Array || kind == Kind::Object) {
      auto [at, fresh] = constants_.try_emplace(v, 0);
      if (fresh) at->second = constant(s, *v);
      any.push_back(expand(at->second, kind));
    } else {
      return kTrue;
    }
  }
  if (!texts.empty()) {
    const Re r = re::words(std::move(texts));
    words_.emplace(r, std::move(words));
    any.push_back(f_.atom(Is::Text, r));
  }
  return f_.any(std::move(any));
}

const std::vector<std::string>* Expander::words(Re r) const {
  const auto at = words_.find(r);
  return at == words_.end() ? nullptr : &at->second;
}

// A schema that only this array or object satisfies.
Schema Expander::constant(Schema near, const Value& v) {
  std::string text;
  if (v.is(Kind::Array)) {
    for (const Value* item : v.items) text += (text.empty() ? "{\"const\":" : ",{\"const\":") + canonical(*item) + "}";
    const std::string n = std::to_string(v.items.size());
    text = "{\"minItems\":" + n + ",\"maxItems\":" + n + (text.empty() ? "" : ",\"prefixItems\":[" + text + "]") + "}";
  } else {
    std::string required;
    for (const auto& [k, m] : v.members) {
      if (v.get(k) != m) continue;
      text += (text.empty() ? "" : ",") + quote(k) + ":{\"const\":" + canonical(*m) + "}";
      required += (required.empty() ? "" : ",") + quote(k);
    }
    text = "{\"properties\":{" + text + "},\"required\":[" + required + "],\"additionalProperties\":false}";
  }
  return schemas_.made(near, text);
}

// A text that is equal only for schemas that say the same; false if the schema is large or looks elsewhere.
bool Expander::signature(const Value& v, std::string& out, int depth) const {
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
Formula Expander::child(Schema s) {
  if (const auto at = children_.find(s); at != children_.end()) return at->second;
  const Value& v = *schemas_[s].value;
  if (v.boolean()) return v.is(Kind::True) ? kTrue : kFalse;
  std::string key =
      std::to_string(static_cast<int>(schemas_.resource(s).draft)) + (schemas_.resource(s).asserts ? "+" : "-");
  Schema same = s;
  if (signature(v, key, 0)) same = signatures_.emplace(key, s).first->second;
  return children_[s] = f_.atom(Is::Child, same);
}

}  // namespace espalier::json
