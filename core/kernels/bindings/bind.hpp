// The parts of espalier._kernels, each with a file of its own.
#pragma once
#include <string>

#include "kernels/bindings/arrays.hpp"
#include "kernels/model.hpp"

namespace espalier::kernels {

// The kind of this name; std::invalid_argument for another.
Kind kind_of(const std::string& name);
const char* name_of(Kind kind);

void bind_weights(nb::module_& m);
void bind_rows(nb::module_& m);

}  // namespace espalier::kernels
