// An expression without its store: what is needed to make it again in another generation.
#pragma once
#include <string>
#include <vector>

#include "regex/store.hpp"

namespace espalier::re {

class Portable {
 public:
  explicit Portable(Re);  // of the store in which this thread works
  Re here() const;        // the same expression, in the store in which this thread works

 private:
  struct Part {  // as a Node, but with the numbers of parts, and what the store keeps elsewhere
    Node node;
    std::vector<std::uint32_t> operands;
    ByteSet set;
    std::vector<std::pair<std::string, Tag>> words;
  };
  std::vector<Part> parts_;                                     // operands before what is made of them
  std::vector<std::pair<std::uint32_t, std::uint32_t>> loops_;  // and what each is
  std::uint32_t root_ = 0;
};

}  // namespace espalier::re
