// Items: what an item of an array must satisfy, and what it leaves to be seen of the formula of the array.
//
// Protected by the lock of the machine's generation.
#pragma once
#include <unordered_map>

#include "json/expand/expander.hpp"

namespace espalier::json {

class ArrayItems {
 public:
  ArrayItems(Schemas& schemas, Formulas& formulas, Expander& expander)
      : schemas_(schemas), f_(formulas), expander_(expander) {}
  ArrayItems(const ArrayItems&) = delete;
  ArrayItems& operator=(const ArrayItems&) = delete;
  Formula item_formula(Formula, std::uint32_t index);
  std::uint32_t prefix_length(Formula);

 private:
  const Value* prefix_items(Schema) const;
  Formula item_schema(Schema, std::uint32_t index);
  bool evaluates_item(Schema, std::uint32_t index);

  Schemas& schemas_;
  Formulas& f_;
  Expander& expander_;
  std::unordered_map<Formula, std::uint32_t> prefix_lengths_;
};

}  // namespace espalier::json
