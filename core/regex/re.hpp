// Regular expressions over bytes, as hash-consed values: equal expressions have equal ids, for all grammars of the
// process.
//
// A state of an automaton *is* an expression (its residual language); `step` is the derivative by one byte, made when
// it is first asked for and remembered. So nothing is compiled ahead, and two grammars that contain the same string
// body, number or white space share its states and everything that is cached per state (token masks above all).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace espalier {

using Re = std::uint32_t;   // an expression
using Tag = std::uint32_t;  // which alternative ended; 0 = the plain end
using WordId = std::uint32_t;

struct ByteSet {
  std::uint64_t w[4] = {0, 0, 0, 0};
  void add(unsigned b) { w[b >> 6] |= 1ull << (b & 63); }
  void add(unsigned lo, unsigned hi) {
    for (unsigned b = lo; b <= hi; ++b) add(b);
  }
  bool has(unsigned b) const { return w[b >> 6] >> (b & 63) & 1; }
  bool operator==(const ByteSet&) const = default;
};

namespace re {

constexpr Re kEmpty = 0;    // no string
constexpr Re kEpsilon = 1;  // the empty string
constexpr Re kAll = 2;      // every byte string
constexpr std::uint32_t kInf = 0xffffffff;

Re bytes(const ByteSet&);
Re literal(std::string_view);
Re cat(Re, Re);
Re alt(Re, Re);
Re alt(std::span<const Re>);
Re both(Re, Re);                                           // intersection
Re negate(Re);                                             // complement, among all byte strings
Re repeat(Re, std::uint32_t lo, std::uint32_t hi = kInf);  // counted without expansion
Re mark(Re, Tag);  // r, and when it ends the end carries `tag`. Intersect marked with unmarked expressions only.
WordId word(std::string_view, Tag = 0);
Re words(
    std::vector<WordId>);  // one of them, whose end carries its tag: what `alt` of many literals says, in few states
// words (kEmpty: none yet) or word·rest: what `alt` says, in a form to which many are added one by one.
Re grow(Re words, std::string_view word, Re rest = kEpsilon);
Re codepoint();  // one well-formed UTF-8 code point
Re text();       // any well-formed UTF-8 string
Re codepoints(
    std::span<const std::pair<std::uint32_t, std::uint32_t>> ranges);  // one code point of these inclusive ranges

// Bodies of JSON strings (without the quotes, escapes allowed everywhere) that stand for a text of `r`: apply it to
// what the schema says about the decoded text, lengths and patterns included. json_string(x) & json_string(y) =
// json_string(x & y).
Re json_string(Re);
// The texts of a lexeme whose string (or what remains of it), decoded, is of `body`. False within an escape.
bool within(Re lexeme, Re body, Re& out);
bool marked(Re);  // some end carries a tag

// A pattern of the dialect of docs/constraints.md. `search` = unanchored unless ^ / $ say otherwise (JSON Schema's
// `pattern`).
Re parse(std::string_view pattern, bool search = false);

void check(std::string_view pattern, bool search = false);  // throws what parse() throws about its text

Re step(Re, std::uint8_t byte);  // kEmpty if nothing can follow
bool nullable(Re);               // the text may end here (with tag 0)
std::span<const Tag> ends(Re);   // the tags with which it may end here (0 = nullable)
bool empty(Re);                  // no string at all: exact, by search over derivatives, remembered
// The shortest string for each tag that the end may carry (only the shortest of all where no end carries one), among
// as many derivatives as a limit allows.
struct Ending {
  Tag tag;
  std::string bytes;
};
const std::vector<Ending>& endings(Re);
ByteSet first(Re);  // bytes with a non-empty derivative

}  // namespace re
}  // namespace espalier
