// Schemas that some value satisfies, as their keywords show without more ado: what else would have to be expanded long
// before the text gets there.
//
// Remembered per schema. Protected by the lock of the machine's generation.
#pragma once
#include <unordered_map>

#include "json/schema.hpp"

namespace espalier::json {

class Obvious {
 public:
  explicit Obvious(Schemas& schemas) : schemas_(schemas) {}
  Obvious(const Obvious&) = delete;
  Obvious& operator=(const Obvious&) = delete;
  bool satisfiable(Schema, int depth = 0);

 private:
  bool keywords(Schema, const Value&, int depth);

  Schemas& schemas_;
  std::unordered_map<Schema, bool> known_;
};

}  // namespace espalier::json
