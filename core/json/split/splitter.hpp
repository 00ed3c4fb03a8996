// Splitting: the formula after a member or an item speaks about the child that comes now. `split` makes it a list of
// alternatives (what the child satisfies, what then remains): the union of the alternatives is the formula.
//
// Remembered per formula. Protected by the lock of the machine's generation.
#pragma once
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "json/split/branches_apart.hpp"
#include "json/split/open_questions.hpp"

namespace espalier::json {

class Satisfiability;

class Splitter {
 public:
  Splitter(Schemas& schemas, Schema root, Formulas& formulas, Expander& expander, Scalars& scalars,
           BranchesApart& apart, OpenQuestions& questions, Satisfiability& live)
      : schemas_(schemas),
        root_(root),
        f_(formulas),
        expander_(expander),
        scalars_(scalars),
        apart_(apart),
        questions_(questions),
        live_(live) {}
  Splitter(const Splitter&) = delete;
  Splitter& operator=(const Splitter&) = delete;
  std::vector<Split> split(Formula);

 private:
  void split(Formula, Formula child, Formula rest, std::vector<Split>&, int& budget);
  int relation(Schema, Schema);
  Formula decided(Formula, Formula child);

  Schemas& schemas_;
  const Schema root_;  // for messages
  Formulas& f_;
  Expander& expander_;
  Scalars& scalars_;
  BranchesApart& apart_;
  OpenQuestions& questions_;
  Satisfiability& live_;
  std::unordered_map<Formula, std::vector<Split>> splits_;
  std::map<std::pair<Schema, Schema>, int> relations_;
};

}  // namespace espalier::json
