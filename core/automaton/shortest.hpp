// The shortest text that a state still owes: a search for the nearest end, led by what machines know of what is open.
//
// Nodes are items, not states: an item is one way to go on, and the nearest end is the nearest of any. A lexeme is left
// by its shortest string (one per tag), found by a walk over its derivatives; what follows says the machine. Found ends
// are remembered along the whole way, so that the states that a text then walks through are answered at once. Where the
// search gives up, the first end that is met will do, what owes least followed first.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "automaton/matcher.hpp"

namespace espalier {

class Shortest {  // of one matcher, kept with it; used by who is at work on it
 public:
  explicit Shortest(Matcher& matcher) : matcher_(&matcher) {}
  static Shortest& in(Matcher&);

  struct End {
    std::uint32_t bytes = 0;  // how many are owed at least; kNever = none leads to an end
    bool found = false;       // `text` is an end: the nearest, or some end where the search for that gave up
    std::string text;
  };
  static constexpr std::uint32_t kNever = 0xffffffff;
  const End& of(State);

 private:
  struct Node {
    Item item;
    std::uint32_t cost;
    std::int32_t from;
    std::string bytes;  // that led here from there
  };
  using Key = std::array<std::uint32_t, 3>;
  static Key key(const Item& i) { return {i.re, i.cont, i.text}; }
  std::uint32_t owed(const Item&);
  End search(State);
  End some(State, std::uint32_t owed);
  End reached(const std::vector<Node>&, std::int32_t last, const std::string& tail);

  Matcher* matcher_;
  std::unordered_map<State, End> ends_;
  std::map<Key, std::string> known_;  // the shortest end of an item
};

}  // namespace espalier
