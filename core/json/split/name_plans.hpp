// Plans: which names may come in an object, as far as the part of its formula says that no name changes.
//
// Remembered per formula and shape. Protected by the lock of the machine's generation.
#pragma once
#include <map>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "json/split/object_members.hpp"
#include "json/split/open_questions.hpp"
#include "json/split/quickly_satisfiable.hpp"
#include "json/split/wide_formulas.hpp"

namespace espalier::json {

class Satisfiability;
class Splitter;

struct Plan {
  std::vector<std::uint32_t> live;  // positions in the shape
  struct Spelled {
    WordId word;
    std::uint32_t at;
  };
  std::vector<Spelled> spelled;       // the live names in the order of their letters; at: in `live`
  std::vector<std::uint32_t> listed;  // all names of the shape, sorted
  Re others = re::kEmpty;             // decoded names beyond the shape's
};

class NamePlans {
 public:
  NamePlans(Schemas& schemas, Formulas& formulas, Names& names, Expander& expander, Scalars& scalars,
            ObjectMembers& members, WideFormulas& wide, Obvious& obvious, Splitter& splitter, OpenQuestions& questions,
            Satisfiability& live)
      : schemas_(schemas),
        f_(formulas),
        names_(names),
        expander_(expander),
        scalars_(scalars),
        members_(members),
        wide_(wide),
        obvious_(obvious),
        splitter_(splitter),
        questions_(questions),
        live_(live) {}
  NamePlans(const NamePlans&) = delete;
  NamePlans& operator=(const NamePlans&) = delete;
  std::shared_ptr<const Plan> plan(Formula, std::uint32_t shape);
  bool planned(Formula constant, std::uint32_t shape) const { return plans_.contains({constant, shape}); }
  bool name_lives(Formula constant, std::uint32_t name);
  Re other_names(Formula);

 private:
  bool lives(Formula constant, std::uint32_t name);
  Re member_names(Schema);
  Re evaluated_names(Schema);
  bool obvious_member(Formula, std::string_view name);

  Schemas& schemas_;
  Formulas& f_;
  Names& names_;
  Expander& expander_;
  Scalars& scalars_;
  ObjectMembers& members_;
  WideFormulas& wide_;
  Obvious& obvious_;
  Splitter& splitter_;
  OpenQuestions& questions_;
  Satisfiability& live_;
  std::map<std::pair<Formula, std::uint32_t>, std::shared_ptr<const Plan>> plans_;
};

}  // namespace espalier::json
