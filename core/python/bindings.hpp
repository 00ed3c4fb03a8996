// What each part of the engine adds to the Python module espalier._grammar.
#pragma once
#include <nanobind/nanobind.h>

namespace espalier {
void bind_engine(nanobind::module_&);  // expressions, machines and matchers
void bind_cfg(nanobind::module_&);     // context-free grammars
void bind_masks(nanobind::module_&);   // vocabularies and token masks
void bind_json(nanobind::module_&);    // JSON Schema machines
}  // namespace espalier
