// The syntax tree of a pattern, between its reader (pattern_read.cpp) and its meaning (pattern_meaning.cpp).
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/unicode.hpp"
#include "regex/store.hpp"

namespace espalier::re {

enum class Look : std::uint8_t { Begin, End, LineBegin, LineEnd, Word, NotWord };

struct Pattern {
  enum class Kind : std::uint8_t {
    Plain,
    Sequence,
    Either,
    Both,
    Without,
    Repeat,
    Look,
    Ahead,
    NotAhead,
    Behind,
    NotBehind
  } kind;
  Re plain = kEpsilon;         // Plain: its language
  unicode::Ranges characters;  // Plain: if it is one character, which
  Look look{};
  std::uint32_t lo = 0, hi = 0;
  std::vector<std::unique_ptr<Pattern>> parts;
  bool behind = false;  // something in it depends on what stands before
};
using PatternPtr = std::unique_ptr<Pattern>;

struct Classes {
  unicode::Ranges digit, word, space, dot;
};
const Classes& classes(bool ecma);

PatternPtr read_pattern(Store&, std::string_view, bool ecma);
Re meaning(Store&, const Pattern&, bool search, bool ecma);
Re prefixes(Store&, const Pattern&, bool ecma);  // the texts that end in it: what a look-behind asks of what was read

}  // namespace espalier::re
