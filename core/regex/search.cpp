// Whether a language is empty: the search that decides it for expressions with &, ~ or escapes in them.
#include <algorithm>
#include <unordered_set>

#include "base/budget.hpp"
#include "base/stack.hpp"
#include "regex/store.hpp"

namespace espalier::re {

// A part of the language: lengths of up to 65,536 code points beside something else become short ones. If that part is
// not empty neither is the whole, and it is found without a state for every length.
Re Store::shorter(Re r) {
  constexpr std::uint32_t kSlack = 64;
  need_stack();
  const Node n = nodes_[r];
  if (!(n.flags & kCounted)) return r;
  if (n.kind == Kind::Cat) return cat(shorter(n.cat().head), shorter(n.cat().tail));
  if (n.kind == Kind::Repeat) {
    const auto [of, lo, hi] = n.repeat();
    return of == codepoint_ && hi != kInf && hi - lo > kSlack ? repeat(of, lo, lo + kSlack) : r;
  }
  if (n.kind != Kind::And && n.kind != Kind::Alt) return r;
  std::vector<Re> parts(operands(n).begin(), operands(n).end());
  for (Re& p : parts) p = shorter(p);
  return n.kind == Kind::And ? both(std::move(parts)) : alt(std::move(parts));
}

// Whether a code point of [from, to] can come next.
bool Store::reaches(Re r, std::uint32_t from, std::uint32_t to) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranges;
  if (from < 0xd800) ranges.emplace_back(from, std::min(to, 0xd7ffu));
  if (to > 0xdfff) ranges.emplace_back(std::max(from, 0xe000u), to);
  return !ranges.empty() && live(both({cat(codepoints(ranges), kAll), r}));
}

// Whether an escape that has begun can be ended: decided by the characters it may stand for.
bool Store::escape_lives(const StringBody& n) {
  const std::uint32_t count = n.read >> 16 & 15, open = 4 * (4 - count), low = (n.read & 0xffff) << open,
                      high = low + (1u << open) - 1, pair = n.read >> 20;
  const auto above = [](std::uint32_t unit) { return 0x10000 + ((unit - 0xd800) << 10); };
  if (n.phase >= 3) {  // after a high surrogate: of the low one, its digits so far
    const std::uint32_t first = std::max(n.phase == 5 ? low : 0, 0xdc00u),
                        last = std::min(n.phase == 5 ? high : 0xffff, 0xdfffu);
    return first <= last &&
           reaches(n.text, 0x10000 + (pair << 10) + (first - 0xdc00), 0x10000 + (pair << 10) + (last - 0xdc00));
  }
  if (n.phase == 1) return reaches(n.text, 0, 0x10ffff);
  const std::uint32_t first = std::max(low, 0xd800u), last = std::min(high, 0xdbffu);
  return reaches(n.text, low, high) || (first <= last && reaches(n.text, above(first), above(last) + 0x3ff));
}

// Depth first over derivatives until one may end. All that was seen in vain is empty; all on the way to a find is not.
bool Store::search(Re root) {
  need_stack();
  const auto decided = [&](bool found) {
    nodes_[root].flags |= found ? kLive : kDead;
    return found;
  };
  const Node n = nodes_[root];
  if (n.kind == Kind::Cat) {  // the parts decide, where they can
    Re rest = root;
    while (nodes_[rest].kind == Kind::Cat) {
      const auto [head, tail] = nodes_[rest].cat();
      if (!live(head)) return decided(false);
      rest = tail;
    }
    return decided(live(rest));
  }
  if (n.kind == Kind::Alt) {
    const std::vector<Re> parts(operands(n).begin(), operands(n).end());
    return decided(std::any_of(parts.begin(), parts.end(), [&](Re r) { return live(r); }));
  }
  if (n.kind == Kind::Json && !n.whole_string()) return decided(escape_lives(n.json()));
  if (const Re shorter = this->shorter(root); shorter != root && live(shorter)) {
    nodes_[root].flags |= kLive;
    return true;
  }
  const auto known = [&](Re r) { return nodes_[r].flags & (kLive | kDead); };
  struct Frame {
    Re r;
    std::uint32_t next;
  };
  std::vector<Frame> path{{root, 0}};
  std::unordered_set<Re> seen{root};
  const auto found = [&] {
    for (const Frame& f : path) nodes_[f.r].flags |= kLive;
    return true;
  };
  while (!path.empty()) {
    Budget::tick();
    const Row& row = this->row(path.back().r);
    Frame& top = path.back();
    if (top.next == 0) {
      for (std::uint32_t c = 0; c < row.classes; ++c) {
        if (nodes_[row.to[c]].flags & kLive) return found();
      }
    }
    if (top.next >= row.classes) {
      path.pop_back();
      continue;
    }
    const Re to = row.to[top.next++];
    if (nodes_[to].flags & kLive) return found();  // found meanwhile
    if (!known(to) && seen.insert(to).second) path.push_back({to, 0});
  }
  for (const Re r : seen) nodes_[r].flags |= kDead;
  return false;
}

// Every state of it has one after it, so that no finite set of texts can be taken away such that nothing is left
// somewhere.
bool Store::goes_on(Re root) {
  if (root == text_) return true;
  const auto [at, fresh] = goes_on_.try_emplace(root, false);
  if (!fresh) return at->second;
  constexpr std::size_t kMost = 64;
  std::vector<Re> all{root};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Row& row = this->row(all[i]);
    bool more = false;
    for (std::uint32_t c = 0; c < row.classes; ++c) {
      const Re to = row.to[c];
      if (to == kEmpty || !live(to)) continue;
      more = true;
      if (std::find(all.begin(), all.end(), to) == all.end()) all.push_back(to);
    }
    if (!more || all.size() > kMost) return false;
  }
  return goes_on_[root] = true;
}

}  // namespace espalier::re
