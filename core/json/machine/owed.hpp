// Owed: what is open and must be closed, the fewest bytes that must still come, counted from the frames.
//
// Remembered per frame. Protected by the lock of the machine's generation.
#pragma once
#include <unordered_map>
#include <vector>

#include "json/machine/frames.hpp"

namespace espalier::json {

class Owed {
 public:
  Owed(const Frames& frames, const Formulas& formulas, const Names& names, const ObjectMembers& members)
      : frames_(frames), f_(formulas), names_(names), members_(members) {}
  Owed(const Owed&) = delete;
  Owed& operator=(const Owed&) = delete;
  std::uint32_t owed(Cont, Tag);
  bool worth(Cont, Tag) const;

 private:
  std::uint32_t owed(Cont);
  std::vector<std::uint32_t> demanded(const Frame&) const;
  std::uint32_t longest_demanded(const Frame&) const;

  const Frames& frames_;
  const Formulas& f_;
  const Names& names_;
  const ObjectMembers& members_;
  std::unordered_map<Cont, std::uint32_t> owed_;
};

}  // namespace espalier::json
