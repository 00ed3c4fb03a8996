// Can it still be completed? Answers `true` where it does not decide, so nothing valid is ever refused.
#include <algorithm>

#include "grammar/json_machine.hpp"

namespace espalier::json {

bool SchemaMachine::obvious(Schema, int) { return false; }

bool SchemaMachine::evident(Formula child) { return child == kTrue; }

bool SchemaMachine::possible(Formula) { return true; }

bool SchemaMachine::possible_object(const Frame& f) { return f.formula != kFalse; }

bool SchemaMachine::possible_array(const Frame& f) { return f.formula != kFalse; }

}  // namespace espalier::json
