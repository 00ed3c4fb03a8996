// What a grammar must say so that checks, masks and forced bytes can be computed for it.
//
// A state of the text written so far is a *set of items*. An item says: the text goes on with a string of `re`, and
// then as `cont` says. The regular part is shared by all grammars of the process (re.hpp), so token masks are cached
// per `re`, once; only tokens that run past the end of `re` ask the machine what follows.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/generation.hpp"
#include "regex/re.hpp"

namespace espalier {

using Cont = std::uint32_t;   // what follows; hash-consed by the machine that made it; 0 is never used
using Text = std::uint32_t;   // captured bytes, hash-consed; 0 = this item captures nothing, 1 = captured "" so far
constexpr Text kAnyText = 2;  // stands for every text: masks ask what follows without saying after which
constexpr Text kSorts = 8;    // kAnyText + 1 … kAnyText + kSorts stand for every text of a sort that the machine knows
inline bool any_text(Text t) { return t - kAnyText <= kSorts; }

struct Item {
  Re re;
  Cont cont;
  Text text =
      0;  // items that capture remember the bytes of their lexeme (uniqueItems, enumerations decided by value …)
  auto operator<=>(const Item&) const = default;
};

struct Expansion {
  std::vector<Item> items;  // closed: an item whose `re` may be empty is accompanied by what follows it
  bool accepts = false;     // the whole text may end here
  bool doubtful = false;    // unsure, and perhaps nothing follows
  bool unsure = false;      // asked with any text, or after it was: some texts may not go on like this
};

class Machine;
using Source = std::function<std::shared_ptr<Machine>()>;  // what makes the machine, in any generation

// A machine belongs to the generation in which it was made, and is protected by its lock: whoever calls it works there,
// and is at work on the machine and its parts (`workers`).
class Machine : public Interruptible {
 public:
  Machine() : home_(Generation::here().shared_from_this()) {}
  virtual ~Machine() = default;
  Generation& home() const { return *home_; }
  const std::shared_ptr<Generation>& shared_home() const { return home_; }
  virtual Source source() = 0;                                                     // of an equal machine
  virtual void workers(std::vector<Interruptible*>& all) { all.push_back(this); }  // itself and its parts, each once
  // The text begins.
  virtual const Expansion& start() = 0;
  // The lexeme of an item (…, cont, text) has ended with `tag`: what may come now. Remembered by the machine, so the
  // reference stays good. Every item returned must be able to reach the end of a text where the machine claims to be
  // exact.
  virtual const Expansion& after(Cont cont, Tag tag, Text text) = 0;
  // What goes on as `a` or as `b` does, as one continuation; 0 = keep them apart. The matcher joins items of a closed
  // set that agree in `re` and `text`: without it ambiguous grammars have as many items as the text so far has parses.
  virtual Cont join(Cont /*a*/, Cont /*b*/) { return 0; }
  virtual bool joins() const { return false; }  // whether it ever does
  // An item that remembers its bytes as items that together have its texts, each with a text that stands for all of
  // them: what follows is the same. Where `after` then needs the text after all, its answer is unsure. None: every text
  // counts for itself.
  virtual std::vector<Item> sorts(const Item&) { return {}; }
  // `after` may say of some end of an item of this continuation (whose expression is marked: `tagged`) that nothing
  // follows.
  virtual bool refuses(Cont, bool /*tagged*/) { return false; }
  // At most so many bytes fewer than any text has that goes on when a lexeme of this continuation ended with `tag`:
  // what the search for the shortest end is led by. 0 is always right.
  virtual std::uint32_t owed(Cont, Tag) { return 0; }
  // Whether the shortest end may lie behind this one; false where another tag leads to an end as short.
  virtual bool worth(Cont, Tag) { return true; }
  // Where in the schema or in which rule of the grammar a continuation stands, for messages; "" if that is not known.
  virtual std::string where(Cont) { return ""; }
  virtual bool exact() const = 0;

 private:
  const std::shared_ptr<Generation> home_;
};

// Captured bytes: each text is a shorter one and a byte more; every text with a byte more is every text.
Text text_append(Text, std::uint8_t);
std::size_t text_size(Text);
std::string text_from(Text, std::size_t offset);  // its bytes from there on

}  // namespace espalier
