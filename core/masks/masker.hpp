// Token masks of one machine over one vocabulary.
//
// The mask of a state is made once, under the lock of the generation, as a recipe: a union of shared bitmaps and a list
// of tokens. Recipes never change and are never dropped, so masks of known states are written by any number of threads
// without a lock. All else is protected by the lock, and by being at work on the matcher.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <deque>

#include "automaton/matcher.hpp"
#include "base/stable_vector.hpp"
#include "masks/lexeme_mask.hpp"

namespace espalier {

class Masker {
 public:
  // Of the generation of the matcher, in which this thread must work.
  Masker(Matcher& matcher, std::shared_ptr<const Trie> trie, std::vector<Token> end);

  Masker(const Masker&) = delete;

  Matcher& matcher() { return matcher_; }
  const Trie& trie() const { return *trie_; }
  bool ready(State s) const { return s == 0 || known(s); }
  void prepare(State s) { recipe(s); }         // afterwards it is ready
  void fill(State, std::uint32_t* out) const;  // of a state that is ready; ceil(V / 32) words
  bool is_end(Token t) const { return std::find(end_.begin(), end_.end(), t) != end_.end(); }

 private:
  // A mask as a union of shared bitmaps and a list of single tokens.
  struct Recipe {
    std::vector<std::shared_ptr<const Bits>> dense;
    std::vector<Token> sparse;
    bool unsure = false;  // made for any text, and wrong for some
    void add(const Recipe&);
    std::size_t bytes() const { return sizeof(Recipe) + 16 * dense.size() + 4 * sparse.size(); }
  };
  using Key = std::array<std::uint32_t, 4>;
  struct KeyHash {
    std::size_t operator()(const Key&) const;
  };
  const Recipe& recipe(State);
  const Recipe* known(State s) const {
    const auto* at = recipes_.find(s);
    return at ? at->load(std::memory_order_acquire) : nullptr;
  }
  void gather(const Item&, Trie::Place, Recipe&);
  void rest(const Item&, Trie::Place, Recipe&);
  void gather_part(const Item&, Trie::Place, Recipe&);
  bool gather_capture_free(const Item&, Trie::Place, Recipe&);
  void take(const LexemeMask&, Recipe&);
  void take_last(const LexemeMask&, const Item&, Re front, Trie::Place, Recipe&);
  std::vector<Token> refused(const Item&, Re front, Trie::Place, bool& unsure);
  bool starts(Re, std::uint32_t node);
  void gather_captured(const Item&, Trie::Place, Recipe&);
  void gather_below(const Item&, std::uint32_t node, Recipe&);
  const Recipe& continuation(Cont, Tag, Text, Trie::Place);
  void settle(Recipe&);
  Bits met_;  // scratch for settle(): all zero between calls
  const std::shared_ptr<const Trie> trie_;
  Matcher& matcher_;
  LexemeMasks& lexemes_;
  std::vector<Token> end_;
  std::deque<Recipe> recipe_pool_;
  Shelf<std::atomic<const Recipe*>> recipes_;  // by state
  Table<Key, Recipe, KeyHash> continuations_, rests_;
};

}  // namespace espalier
