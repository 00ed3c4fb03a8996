// Fuzz target: the text of a JSON Schema. Input: one byte of options, the schema, a zero byte, the choices of a walk.
#include <algorithm>
#include <string>

#include "fuzz/laws.hpp"
#include "json/machine/schema_machine.hpp"

using namespace espalier;

namespace {

// Keywords that are decided when a value ends: a beginning without an end may be allowed (docs/constraints.md).
bool exact(std::string_view schema) {
  for (const char* late : {"uniqueItems", "not", "oneOf", "if", "ontains", "dependen", "unevaluated", "multipleOf",
                           "divisibleBy", "disallow", "extends", "\\u"}) {
    if (schema.find(late) != schema.npos) return false;
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const fuzz::Input all(data, size);
  const auto end = std::find(all.begin() + 1, all.end(), 0);
  const std::string schema(all.begin() + 1, end);
  const fuzz::Input choices(end == all.end() ? end : end + 1, all.end());
  const json::Options options{(all[0] & 1) != 0, (all[0] & 2) != 0, static_cast<json::Blanks>((all[0] >> 2 & 3) % 3)};
  fuzz::bounded([&] {
    auto machine =
        std::make_shared<json::SchemaMachine>(schema, std::vector<std::pair<std::string, std::string>>{}, options);
    fuzz::follow(std::move(machine), choices, exact(schema));
  });
  return 0;
}
