// What tokens do to one expression, kept for all guides of a generation: the part of a mask that no grammar changes.
// Protected by the lock of the generation; what was handed out stays good, and never changes.
#pragma once
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/hash_table.hpp"
#include "masks/trie.hpp"
#include "regex/store.hpp"

namespace espalier {

using Bits = std::vector<std::uint32_t>;

struct LexemeMask {
  std::shared_ptr<const Bits> dense;  // tokens that stay within the expression, as a bitmap …
  std::vector<Token> sparse;          // … or as a list if they are few
  struct Exit {
    Tag tag;
    Trie::Place place;
  };
  std::vector<Exit> exits;  // tokens that run past an end go on from there
};

class LexemeMasks {
 public:
  explicit LexemeMasks(std::shared_ptr<const Trie> trie) : owned_(std::move(trie)), trie_(*owned_), places_(trie_) {}
  static LexemeMasks& of(const std::shared_ptr<const Trie>&);  // of the generation in which this thread works
  const Trie& trie() const { return trie_; }
  const Places& places() const { return places_; }
  const LexemeMask& get(Re r, Trie::Place p);  // stays where it is
  // The single nodes below `node` at which r ends, for those who need the bytes up to there.
  struct End {
    Tag tag;
    std::uint32_t node;
  };
  const std::vector<End>& ends(Re r, std::uint32_t node);  // stays where it is
  const std::vector<End>& finals(Re r, Trie::Place p);     // those at which r ends and cannot go on, leaves included
  std::size_t memory() const { return memory_; }

 private:
  struct Walk;
  // r goes on alike (to itself, or down a count) for `steps` code points of `ascii`, without an end on the way:
  // subtrees of such code points need no walk.
  struct Uniform {
    enum class Others : std::uint8_t { Unknown, Yes, No };
    std::uint64_t ascii[2] = {0, 0};
    Others others = Others::Unknown;  // code points beyond ASCII lead to `next` too
    std::uint32_t steps = 0;
    Re next = re::kEmpty;  // where they lead
  };
  const Uniform& uniform(Re r);
  Uniform most(Re r);
  bool others_too(Re r, std::uint32_t steps);
  bool all_others_lead(Re from, Re to);
  LexemeMask compute(Re r, Trie::Place p);
  bool difference(Re r, Re base, LexemeMask& out);
  void complete(Re r, std::uint32_t node, std::vector<End>&);
  struct Counted {
    std::uint32_t count, what;
  };  // characters; a token or a node
  struct Measured {
    std::vector<Counted> inside, closed, exits;  // tokens within a string; that end it; nodes after its end
    bool done = false;
  };
  void measure();
  bool counted(Re r, Trie::Place p, LexemeMask& out);
  bool all_but_words(Re r, Trie::Place p, LexemeMask& out);
  void take_away(const std::vector<std::uint32_t>& nodes, LexemeMask&);
  void flat(Walk&, Re r, std::uint32_t node);
  void branching(Walk&, Re r, Trie::Place p);
  void spelled(Walk&, const re::Store::Spelling&, std::uint32_t node);
  void walk_rest(Walk&, Places::Child, Re to);
  void prepare();
  const std::shared_ptr<const Trie> owned_;
  const Trie& trie_;
  Places places_;
  Table<std::uint64_t, LexemeMask> known_;
  Table<std::uint64_t, std::vector<End>> ends_, finals_;
  std::unordered_map<Re, Uniform> uniform_;
  Measured measured_;
  std::size_t memory_ = 0;
};

}  // namespace espalier
