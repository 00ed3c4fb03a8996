// The states that the tokens of a vocabulary lead to, with bounded work.
#pragma once
#include <vector>

#include "automaton/matcher.hpp"
#include "masks/trie.hpp"

namespace espalier {

// The states that the tokens of `mask` lead to, each once behind a 0; `which` says for each token which of them. With
// `by_sort` states stand for all of their sort (Matcher::sorted). None at all where more than `most` states are met on
// the way: then `which` says nothing.
std::vector<State> successors(Matcher&, const Trie&, State from, const std::vector<std::uint32_t>& mask, bool by_sort,
                              std::size_t most, std::uint32_t* which);

}  // namespace espalier
