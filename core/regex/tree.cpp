// A set of words that grows by one at a time, each with what may follow it: a tree of bytes. One more word makes new
// nodes where others begin like it; all else is shared with the set before.
#include <algorithm>

#include "base/budget.hpp"
#include "regex/store.hpp"

namespace espalier::re {

// What may follow here, or one of the branches (in the order of their bytes).
Re Store::tree(Re rest, std::span<const Branch> branches) {
  if (branches.empty()) return rest;
  if (branches.size() == 1 && rest == kEmpty) {
    ByteSet one;
    one.add(static_cast<unsigned>(branches[0].byte));
    return cat(bytes(one), branches[0].to);
  }
  std::uint64_t h = rest;
  for (const Branch& b : branches)
    h = (h ^ b.byte ^ static_cast<std::uint64_t>(b.to) << 8) * 0x9e3779b97f4a7c15ull, h ^= h >> 29;
  const auto same = [&](std::uint32_t i) {
    return trees_[i].rest == rest && std::ranges::equal(grown(trees_[i]), branches);
  };
  std::uint32_t id = tree_ids_.find(h, same);
  if (id == Index::kNone) {
    Budget::keep(0, sizeof(Tree) + 16 + sizeof(Branch) * branches.size());
    id = static_cast<std::uint32_t>(trees_.size());
    trees_.push_back({rest, static_cast<std::uint32_t>(branches_.size()), static_cast<std::uint32_t>(branches.size())});
    branches_.append(branches.data(), branches.size());
    tree_ids_.add(h, id);
  }
  return intern(Node(Branches{id}));
}

// The same language as what may follow and branches.
std::pair<Re, std::vector<Branch>> Store::opened(Re r) const {
  if (nodes_[r].kind == Kind::Tree) {
    const Tree t = trees_[nodes_[r].tree()];
    return {t.rest, {grown(t).begin(), grown(t).end()}};
  }
  const auto [head, tail] = split(r);
  if (nodes_[head].kind != Kind::Bytes) return {r, {}};
  const ByteSet s = set(head);
  int count = 0;
  std::uint32_t byte = 0;
  for (std::uint32_t w = 0; w < 4; ++w) {
    count += std::popcount(s.w[w]);
    if (s.w[w]) byte = w * 64 + static_cast<std::uint32_t>(std::countr_zero(s.w[w]));
  }
  if (count != 1) return {r, {}};
  return {kEmpty, {{byte, tail}}};
}

Re Store::grow(Re words, std::string_view word, Re rest) {
  std::vector<std::pair<Re, std::vector<Branch>>> way;
  std::size_t at = 0;
  for (; at < word.size() && words != kEmpty; ++at) {
    way.push_back(opened(words));
    const auto byte = static_cast<std::uint8_t>(word[at]);
    const std::vector<Branch>& branches = way.back().second;
    const auto known = std::ranges::lower_bound(branches, byte, {}, &Branch::byte);
    words = known != branches.end() && known->byte == byte ? known->to : kEmpty;
  }
  const auto [own, branches] = opened(words);
  Re r = at < word.size() ? cat(literal(word.substr(at)), rest) : tree(alt({own, rest}), branches);
  while (!way.empty()) {
    auto& [here, above] = way.back();
    const auto byte = static_cast<std::uint8_t>(word[way.size() - 1]);
    const auto place = std::ranges::lower_bound(above, byte, {}, &Branch::byte);
    if (place != above.end() && place->byte == byte) place->to = r;
    else above.insert(place, {byte, r});
    r = tree(here, above);
    way.pop_back();
  }
  return r;
}

Re Store::tree_step(Re r, std::uint8_t byte) {
  const Tree t = trees_[nodes_[r].tree()];
  const auto all = grown(t);
  const auto at = std::ranges::lower_bound(all, byte, {}, &Branch::byte);
  const Re to = at != all.end() && at->byte == byte ? at->to : kEmpty;
  if (t.rest <= kEpsilon) return to;
  const Re more = raw_step(t.rest, byte);
  return to == kEmpty ? more : more == kEmpty ? to : alt({to, more});
}

const Row& Store::tree_row(Re r) {
  Partition classes{};
  std::vector<Re> to{kEmpty};
  bool pending = false;
  for (unsigned b = 0; b < 256; ++b) {
    const Re next = tree_step(r, static_cast<std::uint8_t>(b));
    const auto c = std::find(to.begin(), to.end(), next) - to.begin();
    if (c == static_cast<std::ptrdiff_t>(to.size())) {
      to.push_back(next);
      pending |= !(nodes_[next].flags & kLive);
    }
    classes[b] = static_cast<std::uint8_t>(c);
  }
  if (rows_[r]) return *rows_[r];  // made meanwhile, below
  if (to.size() == 257) {          // every byte goes on, each in its own way
    to.erase(to.begin());
    for (std::uint8_t& c : classes) --c;
  }
  return keep_row(r, classes, to, pending);
}

std::uint16_t Store::tree_flags(const Tree& t) const {
  std::uint16_t flags = nodes_[t.rest].flags & (kCheck | kCounted | kLooped), finite = nodes_[t.rest].flags & kFinite;
  for (const Branch& b : grown(t)) {
    flags |= nodes_[b.to].flags & (kCheck | kCounted | kLooped);
    finite &= nodes_[b.to].flags;
  }
  return flags | finite | kGrown;
}

}  // namespace espalier::re
