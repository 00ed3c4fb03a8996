// Fuzz target: the bytes of a text, read under a guide. Input: one byte that chooses the guide, the text.
#include <array>
#include <string>

#include "automaton/compose.hpp"
#include "fuzz/laws.hpp"
#include "json/machine/schema_machine.hpp"

using namespace espalier;

namespace {

std::shared_ptr<Machine> schema(const char* text, bool in_order = false, json::Blanks blanks = json::Blanks::Flexible) {
  return std::make_shared<json::SchemaMachine>(text, std::vector<std::pair<std::string, std::string>>{},
                                               json::Options{true, in_order, blanks});
}

// Fresh for each input, so that what is remembered never hides what a first reader would see.
std::shared_ptr<Machine> guide(unsigned which) {
  switch (which % 14) {
    case 0: return schema("true");
    case 1:
      return schema(
          R"({"type": "object", "properties": {"a": {"type": "integer", "minimum": -3, "maximum": 40}, "b": {"type": "string", "maxLength": 3}}, "required": ["a"], "additionalProperties": false})");
    case 2:
      return schema(
          R"({"type": "array", "items": {"type": ["string", "number"]}, "uniqueItems": true, "maxItems": 3})");
    case 3:
      return schema(
          R"({"type": "object", "patternProperties": {"^x": {"type": "null"}}, "additionalProperties": {"type": "boolean"}, "minProperties": 1, "maxProperties": 2})");
    case 4:
      return schema(R"({"type": "number", "multipleOf": 0.5, "exclusiveMaximum": 1000})", false, json::Blanks::Compact);
    case 5:
      return schema(
          R"({"anyOf": [{"format": "date-time"}, {"format": "ipv6"}, {"format": "uri"}, {"format": "email"}], "type": "string"})");
    case 6:
      return schema(
          R"({"$ref": "#/$defs/t", "$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}, "maxItems": 2}}})",
          true, json::Blanks::Pretty);
    case 7:
      return schema(
          R"({"oneOf": [{"properties": {"k": {"const": "x"}}, "required": ["k"]}, {"properties": {"k": {"enum": ["y", 1, null]}}}], "type": "object", "unevaluatedProperties": {"type": "string", "pattern": "^a+$"}})");
    case 8: return regular_machine(re::parse("(?i)[a-z\\d]{2,400}é?(?:ab|a)*\\b.{0,3}"));
    case 9: return regular_machine(re::parse("~(.*ab.*)&[^\\x00]{1,9}"));
    case 10:
      return repeat_machine(either_machine({schema("{\"type\": \"integer\"}"), regular_machine(re::parse("a+,"))}), 1,
                            4);
    case 11: return then_machine({regular_machine(re::parse("[ab]?")), guide(3), regular_machine(re::parse("[ab]*"))});
    case 12: return repeat_machine(either_machine({guide(2), guide(0), regular_machine(re::parse("a+"))}), 1, 3);
    default:
      return then_machine({schema("{\"enum\": [1, 12, \"é\", {\"a\": [1]}]}"), regular_machine(re::parse("[ab]*"))});
  }
}

bool exact(unsigned which) { return which % 14 != 2 && which % 14 != 7 && which % 14 != 12; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  fuzz::bounded([&] { fuzz::read(guide(data[0]), {data + 1, size - 1}, exact(data[0])); });
  return 0;
}
