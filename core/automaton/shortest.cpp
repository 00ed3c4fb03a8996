// The search for the shortest end, led by what is owed.
#include "automaton/shortest.hpp"

#include <algorithm>
#include <functional>
#include <queue>
#include <set>

#include "base/budget.hpp"

namespace espalier {

namespace {

constexpr std::size_t kNodes = 4'000;  // of one search; then it says what it knows

// The ends behind which the shortest text may lie. Of names that may come in any order one is enough, unless what was
// written so far is the beginning of another.
std::vector<re::Ending> promising(Machine& machine, const Item& item) {
  const std::vector<re::Ending> all = re::endings(item.re);
  std::vector<re::Ending> found;
  for (const re::Ending& w : all) {
    if (machine.worth(item.cont, w.tag)) found.push_back(w);
  }
  return found.empty() ? all : found;
}

// What follows an item that ended so.
Expansion following(Machine& machine, const Item& item, const re::Ending& end) {
  Text text = item.text;
  for (const char c : end.bytes) text = text ? text_append(text, static_cast<std::uint8_t>(c)) : 0;
  return machine.after(item.cont, end.tag, text);
}

// Whether an item, such as blanks, only leads to what stands beside it.
template <class Beside>
bool detour(Machine& machine, const Item& item, const Beside& beside) {
  return std::ranges::all_of(promising(machine, item), [&](const re::Ending& end) {
    const Expansion after = following(machine, item, end);
    return !after.accepts && std::ranges::all_of(after.items, beside);
  });
}

}  // namespace

std::uint32_t Shortest::owed(const Item& item) {
  std::uint32_t least = kNever;
  for (const re::Ending& w : promising(matcher_->machine(), item)) {
    least = std::min(least, static_cast<std::uint32_t>(w.bytes.size()) + matcher_->machine().owed(item.cont, w.tag));
  }
  return least;
}

// The way to an end, remembered for every item on it.
Shortest::End Shortest::reached(const std::vector<Node>& nodes, std::int32_t last, const std::string& tail) {
  std::string text = tail;
  for (std::int32_t at = last; at >= 0; at = nodes[at].from) {
    known_.emplace(key(nodes[at].item), text);
    text = nodes[at].bytes + text;
  }
  return {static_cast<std::uint32_t>(text.size()), true, std::move(text)};
}

Shortest::End Shortest::search(State state) {
  if (matcher_->accepts(state)) return {0, true, ""};
  Machine& machine = matcher_->machine();
  std::vector<Node> nodes;
  struct Open {
    std::uint32_t total, cost;
    std::int32_t at;    // a node, or with `tail` an end behind it
    std::int32_t tail;  // of `tails`, -1 = none
    bool operator<(const Open& o) const { return total != o.total ? total > o.total : cost < o.cost; }
  };
  std::vector<std::string> tails;
  std::priority_queue<Open> open;
  std::map<Key, std::uint32_t> best;
  const auto add = [&](const Item& item, std::uint32_t cost, std::int32_t from, std::string bytes) {
    const auto [at, fresh] = best.try_emplace(key(item), cost);
    if (!fresh && at->second <= cost) return;
    at->second = cost;
    const std::int32_t id = static_cast<std::int32_t>(nodes.size());
    if (const auto end = known_.find(key(item)); end != known_.end()) {
      nodes.push_back({item, cost, from, std::move(bytes)});
      tails.push_back(end->second);
      const std::uint32_t total = cost + static_cast<std::uint32_t>(end->second.size());
      open.push({total, total, id, static_cast<std::int32_t>(tails.size()) - 1});
      return;
    }
    const std::uint32_t rest = owed(item);
    if (rest == kNever) return;
    nodes.push_back({item, cost, from, std::move(bytes)});
    open.push({cost + rest, cost, id, -1});
  };
  const auto items = matcher_->items(state);
  for (const Item& item : std::vector<Item>(items.begin(), items.end())) add(item, 0, -1, "");
  while (!open.empty()) {
    const Open now = open.top();
    open.pop();
    if (now.tail >= 0) return reached(nodes, now.at, tails[static_cast<std::size_t>(now.tail)]);
    const Node node = nodes[static_cast<std::size_t>(now.at)];
    if (node.cost > best[key(node.item)]) continue;
    if (nodes.size() > kNodes) return some(state, now.total);
    Budget::tick();
    bool longer = false;
    for (const re::Ending& w : promising(machine, node.item)) {
      const Expansion after = following(machine, node.item, w);
      if (node.item.text && after.items.empty() && !after.accepts) longer = true;  // not with these bytes
      const std::uint32_t cost = node.cost + static_cast<std::uint32_t>(w.bytes.size());
      if (after.accepts) {
        tails.push_back(w.bytes);
        open.push({cost, cost, now.at, static_cast<std::int32_t>(tails.size()) - 1});
      }
      for (const Item& item : after.items) add(item, cost, now.at, w.bytes);
    }
    if (!longer) continue;
    for (unsigned b = 0x20; b < 0x7f; ++b) {
      const Re to = re::step(node.item.re, static_cast<std::uint8_t>(b));
      if (to == re::kEmpty) continue;
      const Item next{to, node.item.cont, text_append(node.item.text, static_cast<std::uint8_t>(b))};
      add(next, node.cost + 1, now.at, std::string(1, static_cast<char>(b)));
    }
  }
  return {kNever, false, ""};
}

// Some end of a state that owes so many bytes at least: depth first, what owes least before the rest.
Shortest::End Shortest::some(State state, std::uint32_t least) {
  Machine& machine = matcher_->machine();
  std::vector<Node> nodes;
  std::vector<std::int32_t> todo;
  std::map<Key, bool> met;
  struct Way {
    std::uint32_t rest;
    Node node;
  };
  std::vector<Way> ways;  // on from here
  const auto way = [&](const Item& item, std::int32_t from, std::string bytes) {
    if (met.contains(key(item))) return;
    const std::uint32_t rest = owed(item);
    if (rest != kNever)
      ways.push_back({rest + static_cast<std::uint32_t>(bytes.size()), {item, 0, from, std::move(bytes)}});
  };
  const auto push = [&] {
    std::set<Key> beside;
    for (const Way& w : ways) beside.insert(key(w.node.item));
    const auto known = [&](const Item& item) { return beside.contains(key(item)) || met.contains(key(item)); };
    std::erase_if(ways, [&](const Way& w) { return detour(machine, w.node.item, known); });
    std::ranges::reverse(ways);  // of equals the first one first
    std::ranges::stable_sort(ways, std::greater<>(), &Way::rest);
    for (Way& w : ways) todo.push_back(static_cast<std::int32_t>(nodes.size())), nodes.push_back(std::move(w.node));
    ways.clear();
  };
  const auto text_of = [&](std::int32_t at, std::string text) {
    for (; at >= 0; at = nodes[static_cast<std::size_t>(at)].from)
      text = nodes[static_cast<std::size_t>(at)].bytes + text;
    return text;
  };
  const auto items = matcher_->items(state);
  for (const Item& item : std::vector<Item>(items.begin(), items.end())) way(item, -1, "");
  for (push(); !todo.empty() && nodes.size() <= kNodes; push()) {
    const std::int32_t at = todo.back();
    todo.pop_back();
    const Item item = nodes[static_cast<std::size_t>(at)].item;
    if (!met.try_emplace(key(item), true).second) continue;
    if (const auto end = known_.find(key(item)); end != known_.end()) return {least, true, text_of(at, end->second)};
    Budget::tick();
    for (const re::Ending& w : promising(machine, item)) {
      const Expansion after = following(machine, item, w);
      if (after.accepts) return {least, true, text_of(at, w.bytes)};
      for (const Item& next : after.items) way(next, at, w.bytes);
    }
  }
  return {least, false, ""};
}

const Shortest::End& Shortest::of(State state) {
  if (const auto at = ends_.find(state); at != ends_.end()) return at->second;
  return ends_.emplace(state, search(state)).first->second;
}

Shortest& Shortest::in(Matcher& m) {
  constexpr std::uint64_t kKey = ~0ull;  // of what is kept in matchers
  if (void* known = m.kept(kKey)) return *static_cast<Shortest*>(known);
  const auto made = std::make_shared<Shortest>(m);
  m.keep(kKey, made);
  return *made;
}

}  // namespace espalier
