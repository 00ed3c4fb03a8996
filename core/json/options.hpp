// How a document is written, as far as the schema leaves it open.
#pragma once
#include <cstdint>

namespace espalier::json {

enum class Blanks : std::uint8_t { Flexible, Compact, Pretty };

struct Options {
  bool assert_formats = true;
  bool in_order = false;  // listed members only in the schema's order
  Blanks blanks = Blanks::Flexible;
  bool plain_numbers = false;  // integers are digits, numbers ordinary decimals
};

}  // namespace espalier::json
