// Satisfiability: can it still be completed? `true` where that is not decided, so that nothing valid is ever refused.
//
// Remembered per formula. Protected by the lock of the machine's generation.
#pragma once
#include <functional>
#include <unordered_map>
#include <vector>

#include "json/split/array_items.hpp"
#include "json/split/name_plans.hpp"
#include "json/split/splitter.hpp"

namespace espalier::json {

struct Open {  // what is still open of an object or an array
  Formula formula = kTrue;
  std::uint32_t shape = 0;  // names that schemas mention, in their order
  std::uint32_t seen = 0;   // set of names, or of texts of items (uniqueItems)
  std::uint32_t index = 0;  // of the next item, as far as it matters; in order: of the first name that may come
};

class Satisfiability {
 public:
  Satisfiability(Formulas& formulas, Names& names, Expander& expander, Scalars& scalars, ObjectMembers& members,
                 ArrayItems& items, NamePlans& plans, Splitter& splitter, Obvious& obvious, OpenQuestions& questions,
                 const Options& options)
      : f_(formulas),
        names_(names),
        expander_(expander),
        scalars_(scalars),
        members_(members),
        array_items_(items),
        plans_(plans),
        splitter_(splitter),
        obvious_(obvious),
        questions_(questions),
        options_(options) {}
  Satisfiability(const Satisfiability&) = delete;
  Satisfiability& operator=(const Satisfiability&) = delete;
  bool satisfiable(Formula child);
  bool evident(Formula child);
  bool possible_object(const Open&);
  bool possible_array(const Open&);
  Formula at_end(Formula);

 private:
  using Holds = std::function<bool(const std::vector<Formula>&)>;
  bool possible(Formula child);
  bool solve(std::vector<Formula> todo, std::vector<Formula> literals, int& budget, const Holds& holds);
  bool object_holds(const Open&, const std::vector<Formula>& literals);
  bool array_holds(const Open&, const std::vector<Formula>& literals);

  Formulas& f_;
  Names& names_;
  Expander& expander_;
  Scalars& scalars_;
  ObjectMembers& members_;
  ArrayItems& array_items_;
  NamePlans& plans_;
  Splitter& splitter_;
  Obvious& obvious_;
  OpenQuestions& questions_;
  const Options& options_;
  std::unordered_map<Formula, bool> possible_;
  std::unordered_map<Formula, Formula> ended_;
};

}  // namespace espalier::json
