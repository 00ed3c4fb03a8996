#include "grammar/bindings.hpp"

NB_MODULE(_grammar, m) {
  m.doc() = "The grammar engine: automata, machines and token masks. Use espalier.constraints.";
  espalier::bind_engine(m);
  espalier::bind_cfg(m);
  espalier::bind_masks(m);
  espalier::bind_json(m);
}
