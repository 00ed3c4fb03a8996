// What the value of a keyword must look like, so that a mistake is told when a guide is made and nothing is silently
// ignored.
#include <algorithm>
#include <unordered_map>

#include "json/schema.hpp"
#include "regex/re.hpp"

namespace espalier::json {

namespace {

enum class Wants : std::uint8_t {
  Schema,
  SchemaList,
  Prefix,
  SchemaOrList,
  SchemaMap,
  Names,
  NamesMap,
  Dependencies,
  Count,
  Number,
  Bound,
  Step,
  Flag,
  Text,
  List,
  Types
};

constexpr const char* kWords[] = {"is a schema: an object, true or false",
                                  "is a list of at least one schema",
                                  "is a list of schemas",
                                  "is a schema or a list of schemas",
                                  "is an object of schemas",
                                  "is a list of names",
                                  "is an object of lists of names",
                                  "is an object of schemas or lists of names",
                                  "is a non-negative integer",
                                  "is a number",
                                  "is a number (in draft 4: true or false)",
                                  "is a number above 0",
                                  "is true or false",
                                  "is a string",
                                  "is a list of values",
                                  "is a name of a type or a list of them"};

const std::unordered_map<std::string_view, Wants>& table() {
  static const std::unordered_map<std::string_view, Wants> all{{"additionalItems", Wants::Schema},
                                                               {"additionalProperties", Wants::Schema},
                                                               {"unevaluatedItems", Wants::Schema},
                                                               {"unevaluatedProperties", Wants::Schema},
                                                               {"contains", Wants::Schema},
                                                               {"propertyNames", Wants::Schema},
                                                               {"not", Wants::Schema},
                                                               {"if", Wants::Schema},
                                                               {"then", Wants::Schema},
                                                               {"else", Wants::Schema},
                                                               {"allOf", Wants::SchemaList},
                                                               {"anyOf", Wants::SchemaList},
                                                               {"oneOf", Wants::SchemaList},
                                                               {"prefixItems", Wants::Prefix},
                                                               {"items", Wants::SchemaOrList},
                                                               {"properties", Wants::SchemaMap},
                                                               {"patternProperties", Wants::SchemaMap},
                                                               {"dependentSchemas", Wants::SchemaMap},
                                                               {"required", Wants::Names},
                                                               {"dependentRequired", Wants::NamesMap},
                                                               {"dependencies", Wants::Dependencies},
                                                               {"minLength", Wants::Count},
                                                               {"maxLength", Wants::Count},
                                                               {"minItems", Wants::Count},
                                                               {"maxItems", Wants::Count},
                                                               {"minProperties", Wants::Count},
                                                               {"maxProperties", Wants::Count},
                                                               {"minContains", Wants::Count},
                                                               {"maxContains", Wants::Count},
                                                               {"minimum", Wants::Number},
                                                               {"maximum", Wants::Number},
                                                               {"exclusiveMinimum", Wants::Bound},
                                                               {"exclusiveMaximum", Wants::Bound},
                                                               {"multipleOf", Wants::Step},
                                                               {"divisibleBy", Wants::Step},
                                                               {"uniqueItems", Wants::Flag},
                                                               {"pattern", Wants::Text},
                                                               {"format", Wants::Text},
                                                               {"$ref", Wants::Text},
                                                               {"$dynamicRef", Wants::Text},
                                                               {"$recursiveRef", Wants::Text},
                                                               {"$id", Wants::Text},
                                                               {"$anchor", Wants::Text},
                                                               {"$dynamicAnchor", Wants::Text},
                                                               {"$recursiveAnchor", Wants::Flag},
                                                               {"$schema", Wants::Text},
                                                               {"enum", Wants::List},
                                                               {"type", Wants::Types}};
  return all;
}

bool schema(const Value* v) { return v->is(Kind::Object) || v->boolean(); }
bool names(const Value* v) {
  return v->is(Kind::Array) && std::ranges::all_of(v->items, [](const Value* n) { return n->is(Kind::String); });
}
template <class Fits>
bool map_of(const Value& v, Fits fits) {
  return v.is(Kind::Object) && std::ranges::all_of(v.members, [&](const auto& m) { return fits(m.second); });
}

bool fits(Wants wants, const Value& v) {
  switch (wants) {
    case Wants::Schema: return schema(&v);
    case Wants::SchemaList: return v.is(Kind::Array) && !v.items.empty() && std::ranges::all_of(v.items, schema);
    case Wants::Prefix: return v.is(Kind::Array) && std::ranges::all_of(v.items, schema);
    case Wants::SchemaOrList: return schema(&v) || (v.is(Kind::Array) && std::ranges::all_of(v.items, schema));
    case Wants::SchemaMap: return map_of(v, schema);
    case Wants::Names: return names(&v);
    case Wants::NamesMap: return map_of(v, names);
    case Wants::Dependencies:
      return map_of(v, [](const Value* d) { return schema(d) || names(d) || d->is(Kind::String); });
    case Wants::Count: {
      if (!v.is(Kind::Number)) return false;
      const Decimal d = decimal(v.text);
      return !d.negative && d.integer();
    }
    case Wants::Number: return v.is(Kind::Number);
    case Wants::Bound: return v.is(Kind::Number) || v.boolean();
    case Wants::Step: {
      if (!v.is(Kind::Number)) return false;
      const Decimal d = decimal(v.text);
      return !d.negative && !d.zero();
    }
    case Wants::Flag: return v.boolean();
    case Wants::Text: return v.is(Kind::String);
    case Wants::List: return v.is(Kind::Array);
    case Wants::Types:
      return v.is(Kind::String) || (v.is(Kind::Array) && std::ranges::all_of(v.items, [](const Value* t) {
                                      return t->is(Kind::String) || schema(t);
                                    }));
  }
  return true;
}

bool is_type(std::string_view name) {
  static constexpr std::string_view all[] = {"null",   "boolean", "integer", "number",
                                             "string", "array",   "object",  "any"};  // any: draft 3
  return std::ranges::find(all, name) != std::end(all);
}

}  // namespace

Draft draft_of(std::string_view uri, Draft otherwise) {
  static constexpr std::pair<std::string_view, Draft> known[] = {{"draft-03", Draft::V3},   {"draft-04", Draft::V4},
                                                                 {"draft-06", Draft::V6},   {"draft-07", Draft::V7},
                                                                 {"2019-09", Draft::V2019}, {"2020-12", Draft::V2020}};
  for (const auto& [part, draft] : known) {
    if (uri.find("json-schema.org") != uri.npos && uri.find(part) != uri.npos) return draft;
  }
  return otherwise;
}

bool knows(Draft draft, std::string_view keyword) {
  struct Span {
    Draft since, until;
  };
  static const std::unordered_map<std::string_view, Span> spans{{"const", {Draft::V6, Draft::V2020}},
                                                                {"contains", {Draft::V6, Draft::V2020}},
                                                                {"propertyNames", {Draft::V6, Draft::V2020}},
                                                                {"if", {Draft::V7, Draft::V2020}},
                                                                {"then", {Draft::V7, Draft::V2020}},
                                                                {"else", {Draft::V7, Draft::V2020}},
                                                                {"dependentRequired", {Draft::V2019, Draft::V2020}},
                                                                {"dependentSchemas", {Draft::V2019, Draft::V2020}},
                                                                {"unevaluatedItems", {Draft::V2019, Draft::V2020}},
                                                                {"unevaluatedProperties", {Draft::V2019, Draft::V2020}},
                                                                {"minContains", {Draft::V2019, Draft::V2020}},
                                                                {"maxContains", {Draft::V2019, Draft::V2020}},
                                                                {"$anchor", {Draft::V2019, Draft::V2020}},
                                                                {"$recursiveRef", {Draft::V2019, Draft::V2019}},
                                                                {"$recursiveAnchor", {Draft::V2019, Draft::V2019}},
                                                                {"prefixItems", {Draft::V2020, Draft::V2020}},
                                                                {"$dynamicRef", {Draft::V2020, Draft::V2020}},
                                                                {"$dynamicAnchor", {Draft::V2020, Draft::V2020}},
                                                                {"divisibleBy", {Draft::V3, Draft::V3}}};
  if (draft == Draft::Any) return true;
  const auto at = spans.find(keyword);
  return at == spans.end() || (at->second.since <= draft && draft <= at->second.until);
}

std::string mistake(std::string_view keyword, const Value& v) {
  const auto at = table().find(keyword);
  if (at == table().end()) return "";
  const std::string quoted = "\"" + std::string(keyword) + "\" ";
  if (!fits(at->second, v)) return quoted + kWords[static_cast<std::size_t>(at->second)];
  if (at->second != Wants::Types) return "";
  std::vector<const Value*> types = v.items;
  if (v.is(Kind::String)) types.push_back(&v);
  for (const Value* t : types) {
    if (t->is(Kind::String) && !is_type(t->text)) {
      return quoted + "knows no type \"" + std::string(t->text) +
             "\"; it is one of null, boolean, integer, number, string, array, object";
    }
  }
  return "";
}

}  // namespace espalier::json
