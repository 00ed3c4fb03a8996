// Intersections and complements, in the form of build.cpp.
#include <algorithm>

#include "base/budget.hpp"
#include "regex/store.hpp"

namespace espalier::re {

Re Store::both(std::vector<Re> v) {
  std::vector<Re> flat;
  for (const Re r : v) {
    if (nodes_[r].kind == Kind::And) {
      const auto inner = operands(nodes_[r]);
      flat.insert(flat.end(), inner.begin(), inner.end());
    } else if (r == kEmpty) {
      return kEmpty;
    } else if (r != kAll) {
      flat.push_back(r);
    }
  }
  std::sort(flat.begin(), flat.end());
  flat.erase(std::unique(flat.begin(), flat.end()), flat.end());
  const auto has = [&](Re r) { return std::binary_search(flat.begin(), flat.end(), r); };
  if (has(text_) && std::any_of(flat.begin(), flat.end(), [&](Re r) { return r != text_ && nodes_[r].flags & kText; }))
    std::erase(flat, text_);
  if (flat.empty()) return kAll;
  if (flat.size() == 1) return flat[0];
  for (const Re r : flat) {
    if (nodes_[r].kind == Kind::Not && has(nodes_[r].negated())) return kEmpty;
  }
  // A negative look-ahead that has matched leaves "no well-formed text": beside well-formed text that is nothing,
  // without a search.
  const auto no_text = [&](Re r) { return nodes_[r].kind == Kind::Not && nodes_[r].negated() == text_; };
  if (std::any_of(flat.begin(), flat.end(), no_text) &&
      std::any_of(flat.begin(), flat.end(), [&](Re r) { return nodes_[r].flags & kText; }))
    return kEmpty;
  if (has(kEpsilon)) {
    Node probe(Kind::And);
    std::vector<Re> tags;
    for (const Tag t : std::vector<Tag>(end_sets_[ends_of(probe, flat)])) tags.push_back(tag(t));
    return alt(std::move(tags));
  }
  if (const std::optional<Re> r = distribute(flat)) return *r;
  // x·y & x'·z with byte sets in front = (x & x')·(y & z), as long as it lasts
  if (std::all_of(flat.begin(), flat.end(), [&](Re r) { return nodes_[split(r).first].kind == Kind::Bytes; })) {
    ByteSet common = set(split(flat[0]).first);
    std::vector<Re> tails;
    for (const Re r : flat) {
      const auto [head, tail] = split(r);
      for (int w = 0; w < 4; ++w) common.w[w] &= set(head).w[w];
      tails.push_back(tail);
    }
    if (common == ByteSet{}) return kEmpty;
    if (factor_depth_ < 1000) {
      const Deeper deeper{factor_depth_};
      return cat(bytes(common), both(std::move(tails)));
    }
  }
  if (const Re r = measure(flat); r != kEmpty) return r;
  std::vector<Re> decoded, rest;
  for (const Re r : flat) {
    const Node& n = nodes_[r];
    n.whole_string() ? decoded.push_back(n.json().text) : rest.push_back(r);
  }
  if (decoded.size() > 1) {
    rest.push_back(json(both(std::move(decoded))));
    return both(std::move(rest));
  }
  return intern(Node(Kind::And), flat);
}

// A length in code points beside something whose code points are counted already: .{l,h} & x{k,m} = x{…}, and
// .{l,h} & x·y = x·(.{l-1,h-1} & y) for single characters x. kEmpty = does not apply.
Re Store::measure(const std::vector<Re>& v) {
  const auto length = [&](Re r) { return nodes_[r].kind == Kind::Repeat && nodes_[r].repeat().of == codepoint_; };
  const auto single = [&](Re r) { return nodes_[r].flags & kClass; };
  const auto at = std::find_if(v.begin(), v.end(), length);
  if (at == v.end() || v.size() != 2) return kEmpty;
  const Repetition n = nodes_[*at].repeat();
  const Re other = v[at == v.begin()];
  const auto [head, tail] = split(other);
  if (tail == kEpsilon && nodes_[head].kind == Kind::Repeat && single(nodes_[head].repeat().of)) {
    const Repetition x = nodes_[head].repeat();
    const std::uint32_t lo = std::max(n.lo, x.lo), hi = std::min(n.hi, x.hi);
    return lo <= hi ? repeat(x.of, lo, hi) : kEmpty;
  }
  if (!single(head) || factor_depth_ >= 1000) return kEmpty;
  const Deeper deeper{factor_depth_};
  const Re rest = repeat(codepoint_, n.lo ? n.lo - 1 : 0, n.hi == kInf ? kInf : n.hi - 1);
  return cat(head, both({rest, tail}));
}

Re Store::negate(Re r) {
  if (nodes_[r].flags & kTagged) throw GrammarError("an expression whose ends are marked cannot be complemented");
  if (r == kEmpty) return kAll;
  if (r == kAll) return kEmpty;
  if (nodes_[r].kind == Kind::Not) return nodes_[r].negated();
  return intern(Node(Complement{r}));
}

}  // namespace espalier::re
