// Machines made of machines. A part that is empty (no text at all) has a start without items that does not accept.
#pragma once
#include "automaton/machine.hpp"

namespace espalier {

std::shared_ptr<Machine> both_machine(std::shared_ptr<Machine> a, std::shared_ptr<Machine> b);  // never exact
std::shared_ptr<Machine> either_machine(std::vector<std::shared_ptr<Machine>> parts);
std::shared_ptr<Machine> then_machine(std::vector<std::shared_ptr<Machine>> parts);  // exact if no part is empty
std::shared_ptr<Machine> repeat_machine(std::shared_ptr<Machine> part, std::uint32_t lo, std::uint32_t hi);

}  // namespace espalier
