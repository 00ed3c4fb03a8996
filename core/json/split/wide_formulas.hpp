// Formulas of many branches, of which a name changes few: whether an object can be completed after that name is asked
// of a formula without most of the others.
//
// So an object of n branches, each with a name of its own, costs about n steps and not n². What is left out is what the
// name does not change and what speaks of no child; the answer "yes" is the same as of the whole formula:
// - Any: fewer branches admit less.
// - One: whole and part have more branches than Satisfiability ever tries, so neither is refused for them.
// - All: the whole has more conjuncts than Satisfiability ever tries, so what is not false can be completed.
// Protected by the lock of the machine's generation.
#pragma once
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "json/split/object_members.hpp"

namespace espalier::json {

constexpr int kBranches = 300;  // of a formula, looked at before it is taken to be satisfiable

class WideFormulas {
 public:
  WideFormulas(Schemas& schemas, Formulas& formulas, Names& names, ObjectMembers& members)
      : schemas_(schemas), f_(formulas), names_(names), members_(members) {}
  WideFormulas(const WideFormulas&) = delete;
  WideFormulas& operator=(const WideFormulas&) = delete;
  enum class Decides : std::uint8_t {
    Child,  // whether some value can stand after the name
    Rest,   // and whether the object can then be completed
    All     // it can, wherever a value can stand
  };
  struct Part {
    Formula formula;
    Decides decides;
  };
  // "Yes" of the part is "yes" of the whole; none: nothing can be left out.
  std::optional<Part> part(Formula, std::uint32_t name);

 private:
  struct Wide {
    bool distinct = true;                                                  // what remains of the branches
    Is join = Is::False;                                                   // False: it is not wide
    std::vector<Formula> beside;                                           // other conjuncts
    std::vector<Formula> branches;                                         // those that change with few names
    std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> change;  // by name: which branches
  };
  const Wide& wide(Formula);
  Wide read(Formula);
  bool mentioned(Formula, std::vector<std::uint32_t>& names);
  bool stays(Formula branch, std::uint32_t name);

  Schemas& schemas_;
  Formulas& f_;
  Names& names_;
  ObjectMembers& members_;
  struct Read {
    Formula formula;
    std::shared_ptr<const Wide> wide;
  };
  std::deque<Read> recent_;  // one formula is asked about name after name
};

}  // namespace espalier::json
