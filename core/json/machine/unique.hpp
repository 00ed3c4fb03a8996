// uniqueItems: which items were there, and where the text of the next one makes no difference to what may follow.
// Scalars that were there are taken away from the next item; objects and arrays are compared as they are written.
//
// Protected by the lock of the machine's generation.
#pragma once
#include <string_view>

#include "json/formula.hpp"
#include "json/machine/seen_items.hpp"

namespace espalier::json {

class Unique {
 public:
  Unique(Formulas& formulas, const Names& names) : f_(formulas), items_(names) {}
  Unique(const Unique&) = delete;
  Unique& operator=(const Unique&) = delete;
  bool unique(Formula);
  Formula not_unique(Formula);
  bool new_item(std::string_view text, std::uint32_t seen) const;
  std::uint32_t with(std::uint32_t seen, std::uint32_t item) { return items_.with(seen, item); }
  bool unknown(std::uint32_t seen) const { return items_.contains(seen, kAnyName); }
  SeenItems::Written written(std::uint32_t seen) { return items_.written(seen); }

 private:
  Formulas& f_;
  SeenItems items_;
};

}  // namespace espalier::json
