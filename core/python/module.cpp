// The module _grammar.
#include "python/bindings.hpp"

NB_MODULE(_grammar, m) {
  nanobind::set_leak_warnings(false);  // tries and machines are cached for as long as the process lives
  m.doc() = "The grammar engine: automata, machines and token masks. Use espalier.constraints.";
  espalier::bind_engine(m);
  espalier::bind_cfg(m);
  espalier::bind_masks(m);
  espalier::bind_json(m);
}
