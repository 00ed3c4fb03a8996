// What was read, as far as the look-behinds of a pattern can tell: the states of a deterministic automaton.
//
// Where every look-behind asks for the sort of the last character (^, \b, (?<=[a-z])), a state is such a sort. Else it
// is what remains of "any text, then r" for each look-behind r, by derivatives.
#pragma once
#include <map>
#include <vector>

#include "regex/pattern/pattern.hpp"

namespace espalier::re {

class History {
 public:
  History(Store&, const Pattern&, bool ecma);

  std::size_t size() const { return holds_.size(); }  // state 0: nothing was read
  bool holds(const Pattern& look, std::size_t state) const;
  // The texts of at least one character that lead from a state into one of the set.
  Re between(std::size_t from, const std::vector<bool>& into);

 private:
  struct Place {                  // between two bytes of a text
    std::vector<Re> remain;       // of the look-behinds; of any text, last
    std::vector<std::size_t> to;  // byte -> place
    std::size_t state;            // between two characters: which
  };
  static constexpr std::size_t kNone = ~std::size_t{0};

  void collect(const Pattern&);
  std::size_t ask(const Pattern&, const unicode::Ranges&);
  void by_last_character();
  void by_derivatives();

  Store& s_;
  bool ecma_;
  std::map<const Pattern*, std::size_t> asked_;                 // which of the look-behinds
  std::vector<unicode::Ranges> characters_;                     // of each, if it is one character
  std::vector<const Pattern*> patterns_;                        // of each, otherwise
  std::vector<std::vector<bool>> holds_;                        // state, look-behind
  std::vector<std::pair<unicode::Ranges, std::size_t>> sorts_;  // characters and the state after them
  std::vector<Place> places_;
  std::vector<std::size_t> place_of_;                   // state -> place
  std::map<std::vector<bool>, std::vector<Re>> loops_;  // into -> a language for each place
};

}  // namespace espalier::re
