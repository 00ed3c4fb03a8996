// Demands on a child of which at most one can hold: branches that one member tells apart, oneOf with a constant, a
// pattern or a range in each, chains of if and then.
//
// Then there is one alternative for each of them and one for none, instead of one for each set of them; and what
// remains in each is found without looking at the others.
#pragma once
#include <map>
#include <utility>
#include <vector>

#include "json/expand/scalars.hpp"

namespace espalier::json {

struct Split {
  Formula child, rest;
};

struct Use {  // of an atom in a list of formulas
  std::uint32_t times = 0, last = 0;
  bool positive = false, negative = false;
};

class BranchesApart {
 public:
  BranchesApart(Formulas& formulas, Expander& expander, Scalars& scalars)
      : f_(formulas), expander_(expander), scalars_(scalars) {}
  BranchesApart(const BranchesApart&) = delete;
  BranchesApart& operator=(const BranchesApart&) = delete;
  bool worlds(const std::vector<Formula>& open, Formula child, Formula rest, std::vector<Split>& out);
  void uses(Formula, bool negative, std::uint32_t number, std::map<Formula, Use>&) const;

 private:
  struct Worlds {
    Formula none = kFalse;                            // the formula where none of the demands holds
    std::vector<std::pair<Formula, Formula>> only{};  // and where only this one does
  };
  Worlds worlds_of(Formula);
  bool logic(Formula) const;
  bool apart(const std::vector<Schema>&);
  bool texts_apart(const std::vector<Formula>&);
  bool numbers_apart(const std::vector<Formula>&) const;

  Formulas& f_;
  Expander& expander_;
  Scalars& scalars_;
};

}  // namespace espalier::json
