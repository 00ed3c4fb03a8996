// Constructors. They keep expressions in a form in which the derivatives of counted and overlapping repeats stay few:
// x·y | x·z = x·(y | z), r{2,5} | r{4,9} = r{2,9}, and what well-formed text includes already is dropped beside it.
#include <algorithm>

#include "base/budget.hpp"
#include "regex/store.hpp"

namespace espalier::re {

namespace {

std::uint32_t plus(std::uint32_t x, std::uint32_t y) { return x == kInf || y == kInf || x + y < x ? kInf : x + y; }

}  // namespace

Re Store::bytes(const ByteSet& s) {
  if (s == ByteSet{}) return kEmpty;
  std::uint64_t h = 0;
  for (const std::uint64_t w : s.w) h = (h ^ w) * 0xff51afd7ed558ccdull, h ^= h >> 31;
  std::uint32_t id = set_ids_.find(h, [&](std::uint32_t i) { return sets_[i] == s; });
  if (id == Index::kNone) {
    id = static_cast<std::uint32_t>(sets_.size());
    sets_.push_back(s);
    set_ids_.add(h, id);
  }
  return intern(Node(OneByte{id}));
}

Re Store::tag(Tag t) { return t == 0 ? kEpsilon : intern(Node(EndMark{t})); }

Re Store::literal(std::string_view s) {
  Re r = kEpsilon;
  bool boundary = true;    // the part after i is well-formed so far
  std::uint32_t tail = 0;  // continuation bytes waiting for their lead
  for (std::size_t i = s.size(); i-- > 0;) {
    const auto byte = static_cast<std::uint8_t>(s[i]);
    ByteSet one;
    one.add(byte);
    r = cat(bytes(one), r);
    if ((byte & 0xc0) == 0x80) {
      ++tail;
      continue;
    }
    const std::uint32_t need = byte < 0x80                   ? 0
                               : byte >= 0xc2 && byte < 0xe0 ? 1
                               : byte >= 0xe0 && byte < 0xf0 ? 2
                               : byte >= 0xf0 && byte < 0xf5 ? 3
                                                             : 9;
    const auto second = tail ? static_cast<std::uint8_t>(s[i + 1]) : 0x80;
    const bool odd = (byte == 0xe0 && second < 0xa0) || (byte == 0xed && second > 0x9f) ||
                     (byte == 0xf0 && second < 0x90) || (byte == 0xf4 && second > 0x8f);
    boundary = boundary && need == tail && !odd;
    tail = 0;
    if (boundary) nodes_[r].flags |= kText;
  }
  return r;
}

Re Store::cat(Re a, Re b) {
  if (a == kEmpty || b == kEmpty) return kEmpty;
  if (a == kEpsilon) return b;
  if (b == kEpsilon) return a;
  std::vector<Re> spine;
  while (nodes_[a].kind == Kind::Cat) {
    const Pair x = nodes_[a].cat();
    spine.push_back(x.head);
    a = x.tail;
  }
  spine.push_back(a);
  Re r = b;
  for (std::size_t i = spine.size(); i-- > 0;) {
    const Re head = spine[i];
    if (nodes_[head].kind == Kind::Tag) {  // an end mark travels to the end
      if (!(nodes_[r].flags & kTagged)) r = r == kEpsilon ? head : cat(r, head);
      continue;
    }
    if (r == kEpsilon) {
      r = head;
      continue;
    }
    const auto [next, rest] = split(r);
    if (head == kAll && next == kAll) continue;
    if (nodes_[head].kind == Kind::Repeat && nodes_[next].kind == Kind::Repeat) {
      const Repetition x = nodes_[head].repeat(), y = nodes_[next].repeat();
      if (x.of == y.of) {
        r = cat(repeat(x.of, plus(x.lo, y.lo), plus(x.hi, y.hi)), rest);
        continue;
      }
    }
    r = intern(Node(Pair{head, r}));
  }
  return r;
}

// Elements x·T with x a byte set, one set per T; elements r{l,h}·T, one interval per T where they touch.
bool Store::merge_heads(std::vector<Re>& v) {
  struct Entry {
    Re key, tail, head;
  };
  std::vector<Entry> sets, counts;
  for (const Re r : v) {
    const auto [head, tail] = split(r);
    if (nodes_[head].kind == Kind::Bytes) sets.push_back({tail, tail, head});
    if (nodes_[head].kind == Kind::Repeat) counts.push_back({nodes_[head].repeat().of, tail, head});
  }
  std::vector<Re> gone, made;
  std::sort(sets.begin(), sets.end(), [](const Entry& x, const Entry& y) { return x.tail < y.tail; });
  for (std::size_t i = 0, j; i < sets.size(); i = j) {
    for (j = i + 1; j < sets.size() && sets[j].tail == sets[i].tail;) ++j;
    if (j == i + 1) continue;
    ByteSet all;
    for (std::size_t k = i; k < j; ++k) {
      for (int w = 0; w < 4; ++w) all.w[w] |= set(sets[k].head).w[w];
      gone.push_back(cat(sets[k].head, sets[k].tail));
    }
    made.push_back(cat(bytes(all), sets[i].tail));
  }
  std::sort(counts.begin(), counts.end(), [&](const Entry& x, const Entry& y) {
    return std::tuple(x.key, x.tail, nodes_[x.head].repeat().lo) <
           std::tuple(y.key, y.tail, nodes_[y.head].repeat().lo);
  });
  for (std::size_t i = 0, j; i < counts.size(); i = j) {
    const std::uint32_t lo = nodes_[counts[i].head].repeat().lo;
    std::uint32_t hi = nodes_[counts[i].head].repeat().hi;
    for (j = i + 1; j < counts.size() && counts[j].key == counts[i].key && counts[j].tail == counts[i].tail; ++j) {
      const Repetition n = nodes_[counts[j].head].repeat();
      if (n.lo > plus(hi, 1)) break;
      hi = std::max(hi, n.hi);
    }
    if (j == i + 1) continue;
    for (std::size_t k = i; k < j; ++k) gone.push_back(cat(counts[k].head, counts[k].tail));
    made.push_back(cat(repeat(counts[i].key, lo, hi), counts[i].tail));
  }
  if (made.empty()) return false;
  std::sort(gone.begin(), gone.end());
  std::erase_if(v, [&](Re r) { return std::binary_search(gone.begin(), gone.end(), r); });
  v.insert(v.end(), made.begin(), made.end());
  return true;
}

bool Store::factor(std::vector<Re>& v) {
  if (factor_depth_ > 1000) return false;  // very long common beginnings: correct without, and no deep recursion
  std::vector<std::pair<Re, Re>> parts;
  parts.reserve(v.size());
  for (const Re r : v) parts.push_back(split(r));
  std::stable_sort(parts.begin(), parts.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  bool changed = false;
  std::vector<Re> result;
  for (std::size_t i = 0, j; i < parts.size(); i = j) {
    for (j = i + 1; j < parts.size() && parts[j].first == parts[i].first;) ++j;
    if (j == i + 1) {
      result.push_back(cat(parts[i].first, parts[i].second));
      continue;
    }
    std::vector<Re> tails;
    for (std::size_t k = i; k < j; ++k) tails.push_back(parts[k].second);
    const Deeper deeper{factor_depth_};
    result.push_back(cat(parts[i].first, alt(std::move(tails))));
    changed = true;
  }
  if (changed) v = std::move(result);
  return changed;
}

Re Store::alt(std::vector<Re> v) {
  for (;;) {
    Budget::tick();
    std::vector<Re> flat;
    flat.reserve(v.size());
    for (const Re r : v) {
      if (nodes_[r].kind == Kind::Alt) {
        const auto inner = operands(nodes_[r]);
        flat.insert(flat.end(), inner.begin(), inner.end());
      } else if (r != kEmpty) {
        flat.push_back(r);
      }
    }
    std::sort(flat.begin(), flat.end());
    flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
    const auto within = [&](Re wide, auto&& covers) {
      if (std::binary_search(flat.begin(), flat.end(), wide)) {
        std::erase_if(flat, [&](Re r) { return r != wide && !(nodes_[r].flags & kTagged) && covers(r); });
      }
    };
    within(kAll, [](Re) { return true; });
    within(text_, [&](Re r) { return nodes_[r].flags & kText; });
    absorb(flat);
    if (flat.empty()) return kEmpty;
    if (flat.size() == 1) return flat[0];
    if (!merge_heads(flat) && !factor(flat)) return intern(Node(Kind::Alt), flat);
    v = std::move(flat);
  }
}

Re Store::repeat(Re a, std::uint32_t lo, std::uint32_t hi) {
  if (lo > hi)
    throw GrammarError("a repeat from " + std::to_string(lo) + " to " + std::to_string(hi) +
                       " times: the bounds are in the wrong order");
  if (hi == 0 || a == kEpsilon) return kEpsilon;
  if (a == kEmpty) return lo == 0 ? kEpsilon : kEmpty;
  if (lo == 1 && hi == 1) return a;
  if (a == kAll) return kAll;
  const Node n = nodes_[a];
  if (n.flags & kTagged) throw GrammarError("an expression whose ends are marked cannot be repeated");
  if (n.kind == Kind::Repeat) {
    const Repetition inner = n.repeat();
    if (inner.lo == 0 && inner.hi == kInf) return a;
    if (inner.lo <= 1 && inner.hi == kInf) return repeat(inner.of, lo == 0 ? 0 : inner.lo * lo, kInf);
    if (inner.lo == 0 && inner.hi == 1) return repeat(inner.of, 0, hi);
  }
  if (nullable(a)) lo = 0;
  if (lo == 0 && hi == kInf && n.kind == Kind::Bytes && set(a) == ByteSet{{~0ull, ~0ull, ~0ull, ~0ull}}) return kAll;
  return intern(Node(Repetition{a, lo, hi}));
}

}  // namespace espalier::re
