// Whether a language is empty: the search that decides it for expressions with &, ~ or escapes in them.
#include <algorithm>
#include <unordered_set>

#include "grammar/budget.hpp"
#include "grammar/re_store.hpp"

namespace espalier::re {

// A part of the language: lengths of up to 65,536 code points beside something else become short ones. If that part is not
// empty neither is the whole, and it is found without a state for every length.
Re Store::shorter(Re r) {
  constexpr std::uint32_t kSlack = 64;
  const Node n = nodes_[r];
  if (n.kind == Kind::Cat) return cat(shorter(n.a), shorter(n.b));
  if (n.kind == Kind::Repeat && n.a == codepoint_ && n.hi != kInf && n.hi - n.lo > kSlack) return repeat(n.a, n.lo, n.lo + kSlack);
  if (n.kind != Kind::And && n.kind != Kind::Alt) return r;
  std::vector<Re> parts(operands(n).begin(), operands(n).end());
  for (Re& p : parts) p = shorter(p);
  return n.kind == Kind::And ? both(std::move(parts)) : alt(std::move(parts));
}

// Depth first over derivatives until one may end. All that was seen in vain is empty; all on the way to a find is not.
bool Store::search(Re root) {
  const auto decided = [&](bool found) {
    nodes_[root].flags |= found ? kLive : kDead;
    return found;
  };
  const Node n = nodes_[root];
  if (n.kind == Kind::Cat) {   // the parts decide, where they can
    Re rest = root;
    while (nodes_[rest].kind == Kind::Cat) {
      if (!live(nodes_[rest].a)) return decided(false);
      rest = nodes_[rest].b;
    }
    return decided(live(rest));
  }
  if (n.kind == Kind::Alt) {
    const std::vector<Re> parts(operands(n).begin(), operands(n).end());
    return decided(std::any_of(parts.begin(), parts.end(), [&](Re r) { return live(r); }));
  }
  if (const Re shorter = this->shorter(root); shorter != root && live(shorter)) {
    nodes_[root].flags |= kLive;
    return true;
  }
  const auto known = [&](Re r) { return nodes_[r].flags & (kLive | kDead); };
  struct Frame { Re r; std::uint32_t next; };
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
    if (top.next >= row.classes) { path.pop_back(); continue; }
    const Re to = row.to[top.next++];
    if (!known(to) && seen.insert(to).second) path.push_back({to, 0});
  }
  for (const Re r : seen) nodes_[r].flags |= kDead;
  return false;
}

}  // namespace espalier::re
