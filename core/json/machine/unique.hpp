// uniqueItems: which items were there, and where the text of the next one makes no difference to what may follow.
//
// Protected by the lock of the machine's generation.
#pragma once
#include <string_view>
#include <unordered_map>

#include "json/expand/names.hpp"
#include "json/formula.hpp"
#include "regex/re.hpp"

namespace espalier::json {

class Unique {
 public:
  Unique(Formulas& formulas, const Names& names) : f_(formulas), names_(names) {}
  Unique(const Unique&) = delete;
  Unique& operator=(const Unique&) = delete;
  bool unique(Formula);
  Formula not_unique(Formula);
  bool new_item(std::string_view text, std::uint32_t seen) const;
  bool unknown(std::uint32_t set) const;
  Re spelled(std::uint32_t set);
  static Re any_string();

 private:
  struct Scalar {  // how it may be written: a string by its decoded text
    bool string;
    WordId word;
    Re re;
  };
  static Scalar scalar(std::string_view canonical);

  Formulas& f_;
  const Names& names_;
  std::unordered_map<std::uint32_t, Scalar> scalars_;  // items, by their canonical text
};

}  // namespace espalier::json
