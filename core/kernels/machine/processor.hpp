// Which instruction set is in use, and the team of threads that shares a pass.
//
// Both belong to the process. The set is chosen when the module is loaded (the fastest that runs here) and may be
// chosen anew between passes; who runs a pass reads it once. The team is made by the first pass, and again in a forked
// child, which has the memory of its threads but not the threads.
#pragma once
#include <string>
#include <vector>

#include "kernels/machine/thread_team.hpp"
#include "kernels/model.hpp"

namespace espalier::kernels {

// The sets that this processor can run, the fastest first.
std::vector<const Kernels*> known();

// The set in use.
const Kernels& chosen();

// Uses the set of this name from now on; std::invalid_argument if it is not known.
void choose(const std::string& name);

// The team of this process.
Team& crew();

// Makes the team anew with so many threads. No pass may be running.
void set_threads(int count);

}  // namespace espalier::kernels
