#include "grammar/slices.hpp"

#include <algorithm>

#include "grammar/budget.hpp"

namespace espalier {

struct Slices::Walk {
  std::vector<Token> tokens;
  std::vector<End> ends;
  bool keep_tokens = true;
};

const Slice& Slices::get(Re r, Trie::Place p) {
  const Re same = re::Store::get().clamp(r, static_cast<std::uint32_t>(trie_.longest()));
  const std::uint64_t key = static_cast<std::uint64_t>(same) << 32 | p;
  if (const auto at = known_.find(key); at != known_.end()) return at->second;
  Slice s = compute(same, p);
  const std::size_t bytes = sizeof(Slice) + 64 + 4 * s.sparse.size() + (s.dense ? 4 * s.dense->size() : 0) + sizeof(Slice::Exit) * s.exits.size();
  Budget::charge(0, bytes);
  memory_ += bytes;
  return known_.emplace(key, std::move(s)).first->second;
}

void Slices::trim(std::size_t bytes) {
  if (memory_ <= bytes) return;
  known_.clear();
  memory_ = 0;
}

// All tokens below one node of the trie.
void Slices::flat(Walk& walk, Re r, std::uint32_t node) {
  re::Store& store = re::Store::get();
  const Trie::Node* const nodes = trie_.nodes();
  const Token* const tokens = trie_.tokens();
  const std::uint32_t base = nodes[node].depth, end = nodes[node].skip;
  struct Level { const re::Row* row; Re re; };
  static thread_local std::vector<Level> levels;
  if (levels.size() < trie_.longest() + 2) levels.resize(trie_.longest() + 2);
  Level* const level = levels.data();
  level[0] = {nullptr, r};
  std::uint32_t work = 0;
  for (std::uint32_t i = node + 1; i < end;) {
    if ((++work & 4095) == 0) Budget::tick_time();
    const Trie::Node& n = nodes[i];
    Level& above = level[n.depth - base - 1];
    if (!above.row) above.row = &store.row(above.re);
    const re::Row& row = *above.row;
    Re to = row.to[row.cls[n.byte]];
    if (row.pending && to != re::kEmpty && !store.live(to)) to = row.to[row.cls[n.byte]] = re::kEmpty;
    if (to == re::kEmpty) {
      i = n.skip;
      continue;
    }
    level[n.depth - base] = {nullptr, to};
    if (walk.keep_tokens) {
      for (std::uint32_t t = n.tokens; t < nodes[i + 1].tokens; ++t) walk.tokens.push_back(tokens[t]);
    }
    if (n.skip > i + 1 && store.ended(to)) {
      for (const Tag tag : store.ends(to)) walk.ends.push_back({tag, i});
    }
    ++i;
  }
}

void Slices::branching(Walk& walk, Re r, Trie::Place p) {
  if (p & Trie::kSingle) return flat(walk, r, p & ~Trie::kSingle);
  re::Store& store = re::Store::get();
  for (const Trie::Child child : std::vector<Trie::Child>(trie_.children(p))) {
    const Re to = store.step(r, child.byte);
    if (to == re::kEmpty) continue;
    walk.tokens.insert(walk.tokens.end(), trie_.child_tokens() + child.begin, trie_.child_tokens() + child.end);
    if (child.place == Trie::kNowhere) continue;
    for (const Tag tag : store.ends(to)) {
      if (child.place & Trie::kSingle) walk.ends.push_back({tag, child.place & ~Trie::kSingle});
      else for (const std::uint32_t i : trie_.members(child.place)) walk.ends.push_back({tag, i});
    }
    branching(walk, to, child.place);
  }
}

std::vector<Slices::End> Slices::ends(Re r, std::uint32_t node) {
  Walk walk;
  walk.keep_tokens = false;
  flat(walk, r, node);
  return std::move(walk.ends);
}

Slice Slices::compute(Re r, Trie::Place p) {
  Walk walk;
  branching(walk, r, p);
  Slice s;
  if (walk.tokens.size() > 64 + trie_.vocab_size() / 128) {
    Bits bits(trie_.words());
    for (const Token t : walk.tokens) bits[t >> 5] |= 1u << (t & 31);
    s.dense = std::make_shared<const Bits>(std::move(bits));
  } else {
    s.sparse = {walk.tokens.begin(), walk.tokens.end()};
  }
  std::stable_sort(walk.ends.begin(), walk.ends.end(), [](const End& x, const End& y) { return x.tag < y.tag; });
  for (std::size_t i = 0, j; i < walk.ends.size(); i = j) {
    std::vector<std::uint32_t> nodes;
    for (j = i; j < walk.ends.size() && walk.ends[j].tag == walk.ends[i].tag; ++j) nodes.push_back(walk.ends[j].node);
    if (const Trie::Place to = trie_.place(nodes)) s.exits.push_back({walk.ends[i].tag, to});
  }
  return s;
}

}  // namespace espalier
