// What must hold for every machine on every input, whatever grammar it came from: computed by each fuzz target.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "automaton/matcher.hpp"

namespace espalier::fuzz {

using Input = std::span<const std::uint8_t>;

// The bounds of a request: small, so that an input that is a trap ends with GrammarError and not with a hang.
const Limits& limits();

// Stops the process (a finding) unless `holds`.
void require(bool holds, const char* law);

// Follows `machine` along `choices`, over a vocabulary of all bytes and some longer tokens, and requires at every
// state:
//   a token is in the mask  iff  its bytes, one by one, are not refused;  the end is in the mask  iff  the text may
//   end; a text at whose end the machine accepts matches;  forced bytes are allowed, and at each of them no other byte
//   is; where `exact`: a text that is not refused can end or go on.
void follow(std::shared_ptr<Machine> machine, Input choices, bool exact);

// The same along a text given byte by byte, which need not be of the language.
void read(std::shared_ptr<Machine> machine, Input text, bool exact);

// Runs `work` under the limits with the engine's lock; what the engine refuses (GrammarError) is no finding.
template <class Work>
void bounded(Work work) {
  const std::shared_ptr<Generation> home = Generation::current();
  const Inside inside(*home);
  const Budget budget(limits().compile_ms, limits(), "the input");
  try {
    work();
  } catch (const GrammarError&) {}
}

std::string_view text(Input);

}  // namespace espalier::fuzz
