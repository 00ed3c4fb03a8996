// The node of an expression: its kind, what is known about its language, and what it is made of. Each kind has a
// payload type of its own, so that no field means one thing here and another there. Not for use outside regex/ and the
// masks.
#pragma once
#include <array>
#include <cassert>
#include <cstdint>

#include "regex/re.hpp"

namespace espalier::re {

enum class Kind : std::uint8_t { Empty, Epsilon, All, Tag, Bytes, Cat, Alt, And, Not, Repeat, Json, Words, Loop, Tree };

enum Flag : std::uint16_t {
  kText = 1,      // every string of the language is well-formed UTF-8 (known, not guessed)
  kCheck = 2,     // contains & or ~ or an escape: only a search tells whether the language is empty
  kTagged = 4,    // some end carries a tag
  kLive = 8,      // known not to be empty
  kDead = 16,     // known to be empty
  kCounted = 32,  // has a large count in it
  kClass = 64,    // every string is exactly one code point (known, not guessed)
  kFinite = 128,  // finitely many strings (known, not guessed)
  kLooped = 256,  // contains a loop: kept as a choice of intersections, so that its derivatives are finitely many
  kGrown = 512,   // contains a tree of words: soon there is another, so no row is worth its making
};

struct OneByte {  // Bytes
  std::uint32_t set;
};
struct EndMark {  // Tag
  Tag tag;
};
struct Pair {  // Cat
  Re head, tail;
};
struct Complement {  // Not
  Re of;
};
struct Repetition {  // Repeat
  Re of;
  std::uint32_t lo, hi;
};
struct StringBody {  // Json
  Re text;           // decoded
  // 0 between characters, 1 after a backslash, 2 in the digits of \uXXXX, 3 after a high surrogate, 4 after its
  // backslash, 5 in the digits of the low one.
  std::uint32_t phase;
  std::uint32_t read;  // of an escape: high surrogate << 20 | digits << 16 | value
};
struct WordRests {  // Words
  std::uint32_t list, depth;
};
struct Named {  // Loop
  std::uint32_t number;
  bool nullable;
};
struct Branches {  // Tree
  std::uint32_t tree;
};
struct Operands {  // Alt, And: a piece of the store's pool
  std::uint32_t first, count;
};

class Node {
 public:
  Kind kind;
  std::uint16_t flags = 0;
  std::uint32_t ends = 0;  // index of the set of tags with which the text may end here

  explicit Node(Kind k) : kind(k) {}  // without payload, or operands that come later
  explicit Node(OneByte x) : kind(Kind::Bytes), payload_{x.set} {}
  explicit Node(EndMark x) : kind(Kind::Tag), payload_{x.tag} {}
  explicit Node(Pair x) : kind(Kind::Cat), payload_{x.head, x.tail} {}
  explicit Node(Complement x) : kind(Kind::Not), payload_{x.of} {}
  explicit Node(Repetition x) : kind(Kind::Repeat), payload_{x.of, x.lo, x.hi} {}
  explicit Node(StringBody x) : kind(Kind::Json), payload_{x.text, x.phase, x.read} {}
  explicit Node(WordRests x) : kind(Kind::Words), payload_{x.list, x.depth} {}
  explicit Node(Named x) : kind(Kind::Loop), payload_{x.number, x.nullable} {}
  explicit Node(Branches x) : kind(Kind::Tree), payload_{x.tree} {}

  std::uint32_t set() const { return of(Kind::Bytes)[0]; }
  Tag tag() const { return of(Kind::Tag)[0]; }
  Pair cat() const { return {of(Kind::Cat)[0], payload_[1]}; }
  Re negated() const { return of(Kind::Not)[0]; }
  Repetition repeat() const { return {of(Kind::Repeat)[0], payload_[1], payload_[2]}; }
  StringBody json() const { return {of(Kind::Json)[0], payload_[1], payload_[2]}; }
  WordRests words() const { return {of(Kind::Words)[0], payload_[1]}; }
  Named loop() const { return {of(Kind::Loop)[0], payload_[1] != 0}; }
  std::uint32_t tree() const { return of(Kind::Tree)[0]; }
  bool many() const { return kind == Kind::Alt || kind == Kind::And; }
  Operands operands() const {
    assert(many());
    return {payload_[0], payload_[1]};
  }
  void set_operands(Operands x) {
    assert(many());
    payload_ = {x.first, x.count};
  }
  bool whole_string() const { return kind == Kind::Json && payload_[1] == 0; }  // not within an escape
  const std::array<std::uint32_t, 3>& payload() const { return payload_; }      // of nodes that are not many()

 private:
  const std::array<std::uint32_t, 3>& of([[maybe_unused]] Kind k) const {
    assert(kind == k);
    return payload_;
  }
  std::array<std::uint32_t, 3> payload_{};
};

}  // namespace espalier::re
