// Scalars: how a value may begin, and formulas of strings and numbers as expressions: strings by what their decoded
// text is, numbers by their exact value.
//
// Remembered per formula. Protected by the lock of the machine's generation.
#pragma once
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "json/expand/expander.hpp"

namespace espalier::json {

struct Values {  // how a value may begin
  Re scalars = re::kEmpty, checked_number = re::kEmpty;
  // What the scalars are made of: the decoded texts of strings, strings that are listed, all others.
  Re texts = re::kEmpty, listed = re::kEmpty, others = re::kEmpty;
  Formula number = kTrue, object = kFalse, array = kFalse;
  bool few = false;  // values that are listed, so that unique items may come to an end
};

Re quoted(Re texts);  // strings that stand for them, in any spelling

class Scalars {
 public:
  Scalars(Formulas& formulas, Expander& expander, const Options& options)
      : f_(formulas), expander_(expander), options_(options) {}
  Scalars(const Scalars&) = delete;
  Scalars& operator=(const Scalars&) = delete;
  const Values& values(Formula child);
  Re text_of(Formula);
  bool text_holds(Formula, std::string_view);
  bool number_holds(Formula, const Decimal&, std::string_view text);
  const std::vector<std::string>* finite(Formula) const;
  bool finite(Formula, std::vector<Decimal>& numbers) const;

 private:
  std::vector<std::string_view> holding(Formula, const std::vector<std::string>& words);
  void strings(Formula, Values&);
  Re numbers(Formula, bool& exact);
  Re spelled_numbers(Formula, bool& exact);
  Re ordinary_numbers(Formula);

  Formulas& f_;
  Expander& expander_;
  const Options& options_;
  std::unordered_map<Formula, Values> values_;
  std::unordered_map<Formula, Re> texts_;
};

}  // namespace espalier::json
