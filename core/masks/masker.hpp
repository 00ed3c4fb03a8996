// Token masks of one machine over one vocabulary.
#pragma once
#include <algorithm>
#include <array>

#include "automaton/matcher.hpp"
#include "masks/lexeme_mask.hpp"

namespace espalier {

class Masker {
 public:
  Masker(std::shared_ptr<Matcher> matcher, std::shared_ptr<LexemeMasks> masks, std::vector<Token> end);

  Masker(const Masker&) = delete;

  Matcher& matcher() { return *matcher_; }
  Trie& trie() { return lexemes_->trie(); }
  bool ready(State s) const { return s < recipes_.size() && recipes_[s]; }
  void fill(State, std::uint32_t* out);  // ceil(V / 32) words
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
  void trim();
  std::shared_ptr<Matcher> matcher_;
  std::shared_ptr<LexemeMasks> lexemes_;
  std::vector<Token> end_;
  std::vector<std::unique_ptr<Recipe>> recipes_;
  Table<Key, Recipe, KeyHash> continuations_, rests_;
  std::size_t memory_ = 0;
};

}  // namespace espalier
