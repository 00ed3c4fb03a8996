// What stacks still owe: the search for the shortest end is led by it.
#include <algorithm>

#include "base/budget.hpp"
#include "cfg/cfg_machine.hpp"

namespace espalier::cfg {

std::uint32_t CfgMachine::owed_below(Cont cont) {
  std::vector<Cont> todo{cont};  // in place of recursion: stacks may be deep
  while (!todo.empty()) {
    const Cont c = todo.back();
    if (owed_.contains(c)) {
      todo.pop_back();
      continue;
    }
    Budget::tick();
    std::uint32_t best = ~0u;
    bool ready = true;
    for (const Frame& f : conts_[c]) {
      if (f.key == kTextEnds) {
        best = 0;
        continue;
      }
      const auto below = owed_.find(f.below);
      if (below == owed_.end()) {
        ready = false;
        todo.push_back(f.below);
        continue;
      }
      best = std::min(best, below->second + (f.key < kEmbedded ? programs_.least(f.key) : 0));
    }
    if (!ready) continue;
    owed_[c] = best == ~0u ? 0 : best;
    todo.pop_back();
  }
  return owed_.at(cont);
}

std::uint32_t CfgMachine::owed(Cont cont, Tag tag) {
  std::uint32_t best = ~0u;
  const std::vector<Frame> frames = conts_[cont];
  for (const Frame& f : frames) {
    if (f.key == kTextEnds) return 0;
    if (f.key < kEmbedded) {
      const auto& targets = programs_.at(f.key).targets;
      if (tag < targets.size()) best = std::min(best, owed_below(push(targets[tag], f.below)));
      continue;
    }
    const auto [machine, inner] = embedded_[f.key - kEmbedded];
    best = std::min(best, programs_.network().machines[machine]->owed(inner, tag) + owed_below(f.below));
  }
  return best == ~0u ? 0 : best;
}

bool CfgMachine::worth(Cont cont, Tag tag) {
  return std::any_of(conts_[cont].begin(), conts_[cont].end(), [&](const Frame& f) {
    if (f.key < kEmbedded) return true;
    const auto [machine, inner] = embedded_[f.key - kEmbedded];
    return programs_.network().machines[machine]->worth(inner, tag);
  });
}

}  // namespace espalier::cfg
