// Interning: equal expressions get equal ids.
#include "regex/store.hpp"

#include <algorithm>

#include "base/budget.hpp"

namespace espalier::re {

namespace {

std::uint64_t mix(std::uint64_t h, std::uint64_t v) {
  h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
  return h * 0xff51afd7ed558ccdull;
}

std::uint64_t hash(const Node& n, std::span<const Re> operands) {
  std::uint64_t h = static_cast<std::uint64_t>(n.kind) + 1;
  if (n.many()) {
    for (const Re r : operands) h = mix(h, r);
  } else {
    for (const std::uint32_t x : n.payload()) h = mix(h, x);
  }
  return h ^ (h >> 29);
}

}  // namespace

Store& Store::get() { return Generation::here().part<Store>(); }

Store::Store() {
  end_set({});
  end_set({0});
  intern(Node(Kind::Empty));
  intern(Node(Kind::Epsilon));
  intern(Node(Kind::All));
  using Range = std::pair<std::uint32_t, std::uint32_t>;
  const Range all[] = {{0, 0xd7ff}, {0xe000, 0x10ffff}};
  codepoint_ = codepoints(all);
  text_ = repeat(codepoint_, 0, kInf);
}

std::uint32_t Store::end_set(std::vector<Tag> tags) {
  std::sort(tags.begin(), tags.end());
  tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
  const auto [at, fresh] = end_ids_.try_emplace(tags, static_cast<std::uint32_t>(end_sets_.size()));
  if (fresh) end_sets_.push_back(std::move(tags));
  return at->second;
}

std::uint32_t Store::ends_of(const Node& n, std::span<const Re> operands) {
  const auto product = [&](std::uint32_t x, std::uint32_t y) {  // both end: the tag of whichever has one
    if (x <= 1 && y <= 1) return x & y;
    if (x == 0 || y == 0) return 0u;
    std::vector<Tag> tags;
    for (const Tag s : end_sets_[x]) {
      for (const Tag t : end_sets_[y]) tags.push_back(std::max(s, t));
    }
    return end_set(std::move(tags));
  };
  switch (n.kind) {
    case Kind::Empty:
    case Kind::Bytes: return 0;
    case Kind::Epsilon:
    case Kind::All: return 1;
    case Kind::Tag: return end_set({n.tag()});
    case Kind::Cat: return product(nodes_[n.cat().head].ends, nodes_[n.cat().tail].ends);
    case Kind::Not: return nodes_[n.negated()].ends == 0;
    case Kind::Repeat: return n.repeat().lo == 0 ? 1u : nodes_[n.repeat().of].ends;
    case Kind::Json: return n.whole_string() ? nodes_[n.json().text].ends : 0;
    case Kind::Words: return words_ends(n.words());
    case Kind::Loop: return n.loop().nullable;
    case Kind::Tree: return nodes_[trees_[n.tree()].rest].ends;
    case Kind::And: {
      std::uint32_t e = nodes_[operands[0]].ends;
      for (const Re r : operands.subspan(1)) e = product(e, nodes_[r].ends);
      return e;
    }
    case Kind::Alt: break;
  }
  std::uint32_t e = 0;
  for (const Re r : operands) {
    const std::uint32_t x = nodes_[r].ends;
    if (x == e || x == 0) continue;
    if (e <= 1 && x <= 1) {
      e |= x;
      continue;
    }
    std::vector<Tag> tags = end_sets_[e];
    tags.insert(tags.end(), end_sets_[x].begin(), end_sets_[x].end());
    e = end_set(std::move(tags));
  }
  return e;
}

std::uint16_t Store::flags_of(const Node& n, std::span<const Re> operands) const {
  std::uint16_t flags = 0;
  const auto inherit = [&](Re r) {
    return static_cast<std::uint16_t>(nodes_[r].flags & (kCheck | kTagged | kCounted | kLooped | kGrown));
  };
  const auto text = [&](Re r) { return nodes_[r].flags & kText; };
  switch (n.kind) {
    case Kind::Empty: return kText | kDead | kFinite;
    case Kind::Epsilon: flags = kText | kFinite; break;
    case Kind::All: break;
    case Kind::Tag: flags = kText | kTagged | kFinite; break;
    case Kind::Bytes: flags = (sets_[n.set()].w[2] | sets_[n.set()].w[3] ? 0 : kText | kClass) | kFinite; break;
    case Kind::Words: flags = words_flags(n.words()); break;
    case Kind::Cat: {
      const auto [head, tail] = n.cat();
      flags = inherit(head) | inherit(tail) | (nodes_[head].flags & nodes_[tail].flags & (kText | kFinite));
      break;
    }
    case Kind::Not: flags = kCheck | (nodes_[n.negated()].flags & (kLooped | kGrown)); break;
    case Kind::Loop: flags = kCheck | kLooped; break;
    case Kind::Tree: flags = tree_flags(trees_[n.tree()]); break;
    case Kind::Repeat: {
      const auto [of, lo, hi] = n.repeat();
      flags = inherit(of) | text(of) | (lo >= 16 || (hi >= 16 && hi != kInf) ? kCounted : 0);
      break;
    }
    case Kind::Json: flags = inherit(n.json().text) | (n.whole_string() ? text(n.json().text) : kCheck); break;
    case Kind::Alt:
    case Kind::And: {
      const bool all = n.kind == Kind::Alt;
      std::uint16_t known = all ? kText | kFinite : 0;
      for (const Re r : operands) {
        flags |= inherit(r);
        known = all ? known & nodes_[r].flags : known | (nodes_[r].flags & (kText | kFinite));
      }
      flags |= known | (all ? 0 : kCheck);
    }
  }
  if (n.kind == Kind::Alt &&
      std::all_of(operands.begin(), operands.end(), [&](Re r) { return nodes_[r].flags & kClass; }))
    flags |= kClass;
  if (n.ends || !(flags & kCheck) || (n.kind == Kind::And && endless(operands))) flags |= kLive;
  return flags;
}

// Any text but finitely many.
bool Store::endless(std::span<const Re> operands) const {
  return std::all_of(operands.begin(), operands.end(), [&](Re r) {
    return r == text_ || (nodes_[r].kind == Kind::Not && nodes_[nodes_[r].negated()].flags & kFinite);
  });
}

bool Store::same(const Node& x, std::span<const Re> operands, const Node& y) const {
  if (x.kind != y.kind) return false;
  return x.many() ? std::ranges::equal(operands, this->operands(y)) : x.payload() == y.payload();
}

// `operands` must not point into pool_.
Re Store::intern(Node n, std::span<const Re> operands) {
  const std::uint64_t h = hash(n, operands);
  if (const std::uint32_t at = ids_.find(h, [&](std::uint32_t i) { return same(n, operands, nodes_[i]); });
      at != Index::kNone)
    return at;
  Budget::keep(1, sizeof(Node) + sizeof(Row*) + 16 + 4 * operands.size());
  if (nodes_.size() >= 0xfffffff0u || pool_.size() + operands.size() >= 0xfffffff0u)
    throw GrammarError("the store of expressions is full");
  n.ends = ends_of(n, operands);
  n.flags = flags_of(n, operands);
  if (!operands.empty()) {
    n.set_operands({static_cast<std::uint32_t>(pool_.size()), static_cast<std::uint32_t>(operands.size())});
    pool_.append(operands.data(), operands.size());
  }
  nodes_.push_back(n);
  rows_.push_back(nullptr);
  ids_.add(h, static_cast<Re>(nodes_.size() - 1));
  return static_cast<Re>(nodes_.size() - 1);
}

}  // namespace espalier::re
