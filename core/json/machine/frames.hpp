// Frames: where in a document a text stands, that is a formula of what is still open and the frame around it.
// Hash-consed, so that a continuation of the machine is one number.
//
// Protected by the lock of the machine's generation.
#pragma once
#include <deque>
#include <map>
#include <vector>

#include "automaton/machine.hpp"
#include "base/hash_table.hpp"
#include "json/split/satisfiability.hpp"

namespace espalier::json {

enum class At : std::uint8_t {
  End,
  ObjectBegin,
  ObjectNext,
  ObjectComma,
  Member,
  Colon,
  ArrayBegin,
  ArrayNext,
  ArrayComma,
  NumberEnd,
  Gap
};

struct Frame {
  At at;
  bool capture = false;  // something around keeps the text of this value
  Formula formula = kTrue;
  Cont around = 0;           // what follows the closing bracket
  std::uint32_t shape = 0;   // names that schemas mention, in their order
  std::uint32_t seen = 0;    // set of names, or of texts of items (uniqueItems)
  std::uint32_t index = 0;   // of the next item, as far as it matters
  std::uint32_t offset = 0;  // where in the captured text the lexeme begins; of a colon: the name
  std::uint32_t depth = 0;
  bool operator==(const Frame&) const = default;
  bool array() const { return at >= At::ArrayBegin && at <= At::ArrayComma; }
  bool object() const { return at >= At::ObjectBegin && at <= At::Colon; }
  Open open() const { return {formula, shape, seen, index}; }
};

class Frames {
 public:
  Frames() { frames_.push_back({At::End}); }  // 0 is no continuation
  Cont id(const Frame&);
  const Frame& operator[](Cont cont) const { return frames_[cont]; }
  std::size_t size() const { return frames_.size(); }
  // Blanks, and then one of these.
  Cont gap(const std::vector<Item>&, bool capture);
  const std::vector<Item>& after_gap(const Frame& gap) const { return gaps_[gap.formula]; }

 private:
  std::deque<Frame> frames_;
  Index frame_ids_;
  std::deque<std::vector<Item>> gaps_;
  std::map<std::vector<Item>, std::uint32_t> gap_ids_;
};

}  // namespace espalier::json
