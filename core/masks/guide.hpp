// A guide for as long as the process lives: its lives one after the other, and the masks of each.
//
// A life is a matcher in some generation. What a life has learnt is never forgotten, so that all of it can be read
// without a lock; when its generation is full, or it has cost half of what its limits allow, the next text begins a new
// life in the newest generation. Texts go on in the life in which they began, and it ends with the last of them.
#pragma once
#include <mutex>

#include "masks/masker.hpp"

namespace espalier {

class Guide {
 public:
  Guide(const std::shared_ptr<Machine>& machine, std::string name, const Limits& limits);
  std::shared_ptr<Matcher> matcher();     // of the life in which a text begins now
  std::shared_ptr<Matcher> last() const;  // the same, however worn
  const std::string& name() const { return name_; }
  const Limits& limits() const { return limits_; }

 private:
  bool worn(const Matcher&) const;
  const std::string name_;
  const Limits limits_;
  mutable std::mutex lock_;  // protects now_
  std::shared_ptr<Matcher> now_;
};

// Where a text is: a state, and the life it belongs to.
struct Position {
  std::shared_ptr<Matcher> matcher;  // none: the text has ended
  State state = 0;
  bool operator==(const Position&) const = default;
};

// While one lives this thread works on a guide's life: with its lock, its parts and its limits.
class Working {
 public:
  Working(Matcher& m, double milliseconds)
      : inside_(m.home()), at_work_(m.workers()), budget_(milliseconds, m.limits(), m.name(), &m.life()) {}

 private:
  Inside inside_;
  AtWork at_work_;
  Budget budget_;
};

// The masks of a guide over a vocabulary, in each of its lives.
class GuideMasks {
 public:
  GuideMasks(std::shared_ptr<Guide> guide, std::shared_ptr<const Trie> trie, std::vector<Token> end);
  Guide& guide() { return *guide_; }
  const Trie& trie() const { return *trie_; }
  Masker& of(Matcher&);  // takes the lock where there are none yet
  bool is_end(Token t) const { return std::find(end_.begin(), end_.end(), t) != end_.end(); }
  void fill(Masker&, State, std::uint32_t* out);
  std::uint64_t key() const { return key_; }

 private:
  const std::shared_ptr<Guide> guide_;
  const std::shared_ptr<const Trie> trie_;
  const std::vector<Token> end_;
  const std::uint64_t key_;  // of what is kept in matchers
};

// Masks of many rows, of any guides, each with `words` words from `out` on: those that are known are written by so many
// threads at once (0: as many as there are cores and work for).
struct MaskRow {
  Masker* masker;  // none: no token
  State state;
};
void fill_rows(std::span<const MaskRow> rows, std::uint32_t* out, std::size_t words, unsigned threads);

}  // namespace espalier
