// How strings are spelled in a document, and the formats of strings.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "regex/re.hpp"

namespace espalier::json {

bool matches(Re, std::string_view text);
bool writable(std::string_view decoded);  // lone surrogates: no document has them
// Of an enumerated string or a listed name, with the quotes.
std::vector<std::string> spellings(std::string_view decoded);
Re format_texts(std::string_view name, bool& exact);  // kEmpty: not a format that is asserted

}  // namespace espalier::json
