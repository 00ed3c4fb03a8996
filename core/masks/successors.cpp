// A walk over the trie: a state and a byte are followed once.
#include "masks/successors.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace espalier {

namespace {

constexpr std::uint32_t kUnknown = 0xffffffff;

class Walk {
 public:
  Walk(Matcher& m, bool by_sort) : matcher_(m), by_sort_(by_sort) { id(0); }
  std::uint32_t id(State s) {
    if (by_sort_ && s) s = matcher_.sorted(s);
    const auto [at, fresh] = ids_.try_emplace(s, static_cast<std::uint32_t>(states_.size()));
    if (fresh) {
      states_.push_back(s);
      steps_.emplace_back().fill(kUnknown);
    }
    return at->second;
  }
  std::uint32_t step(std::uint32_t from, std::uint8_t byte) {
    if (steps_[from][byte] != kUnknown) return steps_[from][byte];
    const char c = static_cast<char>(byte);
    const std::uint32_t to = id(matcher_.advance(states_[from], {&c, 1}));
    return steps_[from][byte] = to;
  }
  const std::vector<State>& states() const { return states_; }

 private:
  Matcher& matcher_;
  const bool by_sort_;
  std::vector<State> states_;
  std::vector<std::array<std::uint32_t, 256>> steps_;
  std::unordered_map<State, std::uint32_t> ids_;
};

}  // namespace

std::vector<State> successors(Matcher& m, const Trie& trie, State from, const std::vector<std::uint32_t>& mask,
                              bool by_sort, std::size_t most, std::uint32_t* which) {
  Walk walk(m, by_sort);
  std::vector<std::uint32_t> path(trie.longest() + 1);
  path[0] = walk.id(from);
  for (std::uint32_t i = 1; i < trie.size();) {
    const Trie::Node& node = trie.node(i);
    const std::uint32_t at = path[node.depth] = walk.step(path[node.depth - 1u], node.byte);
    if (walk.states().size() > most + 2) return {};
    for (std::uint32_t k = node.tokens; at && k < trie.node(i + 1).tokens; ++k) {
      const Token t = trie.tokens()[k];
      if (mask[t >> 5] >> (t & 31) & 1) which[t] = at;
    }
    i = at ? i + 1 : node.skip;
  }
  std::vector<State> found{0};  // without those that were only passed
  std::vector<std::uint32_t> as(walk.states().size(), 0);
  for (Token t = 0; t < trie.vocab_size(); ++t) {
    if (!which[t]) continue;
    std::uint32_t& id = as[which[t]];
    if (!id) {
      id = static_cast<std::uint32_t>(found.size());
      found.push_back(walk.states()[which[t]]);
    }
    which[t] = id;
  }
  return found;
}

}  // namespace espalier
