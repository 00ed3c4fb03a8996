// What the engine throws: the library says it in its own words (espalier.errors).
#pragma once
#include <stdexcept>

namespace espalier {

struct GrammarError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct OverLimit : GrammarError {  // past a bound of Limits
  using GrammarError::GrammarError;
};

}  // namespace espalier
