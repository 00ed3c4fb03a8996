// What lets expressions share their masks. clamp(): counts larger than any token can reach are all alike to a token, so
// the states of a counted string are few. cut(): white space, the body of a string and a property name are masked once,
// not once for everything that may follow them.
#include <algorithm>
#include <bit>

#include "base/stack.hpp"
#include "regex/store.hpp"

namespace espalier::re {

Re Store::clamp(Re r, std::uint32_t length) {
  const Node n = nodes_[r];
  if (!(n.flags & kCounted)) return r;
  need_stack();
  switch (n.kind) {
    case Kind::Repeat: {
      const auto [of, lo, hi] = n.repeat();
      if (lo <= length && (hi <= length || hi == kInf) && !(nodes_[of].flags & kCounted)) return r;
      break;
    }
    case Kind::Json:
    case Kind::Cat: break;
    default:
      return r;  // under & and ~ a count far away may decide whether anything can follow; in a choice it is left as it
                 // is
  }
  const std::uint64_t key = static_cast<std::uint64_t>(length) << 32 | r;
  if (const auto at = clamp_ids_.find(key); at != clamp_ids_.end()) return at->second;
  Re out = r;
  if (n.kind == Kind::Repeat) {
    const auto [of, lo, hi] = n.repeat();
    const Re a = clamp(of, length);
    const bool counts = !nullable(a);  // each round takes at least one byte
    out = repeat(a, counts ? std::min(lo, length + 1) : lo, counts && hi > length ? kInf : hi);
  } else if (n.kind == Kind::Cat) {
    const auto [head, tail] = n.cat();
    const Re a = clamp(head, length), b = clamp(tail, length);
    out = a == head && b == tail ? r : cat(a, b);
  } else {
    const auto [text, phase, read] = n.json();
    out = json(clamp(text, length), phase, read);
  }
  return clamp_ids_[key] = out;
}

// The bytes that occur in strings of r, or more.
const ByteSet& Store::alphabet(Re r) {
  need_stack();
  if (const auto at = alphabets_.find(r); at != alphabets_.end()) return at->second;
  const Node n = nodes_[r];
  ByteSet set;
  const auto add = [&](Re x) {
    const ByteSet& more = alphabet(x);
    for (int w = 0; w < 4; ++w) set.w[w] |= more.w[w];
  };
  switch (n.kind) {
    case Kind::Empty:
    case Kind::Epsilon:
    case Kind::Tag: break;
    case Kind::Bytes: set = sets_[n.set()]; break;
    case Kind::Repeat: add(n.repeat().of); break;
    case Kind::Cat: {
      Re tail = r;
      for (Re head; tail != kEpsilon;) {
        std::tie(head, tail) = split(tail);
        add(head);
      }
      break;
    }
    case Kind::Alt:
      for (const Re x : std::vector<Re>(operands(n).begin(), operands(n).end())) add(x);
      break;
    default: set.add(0, 255);
  }
  return alphabets_[r] = set;
}

Store::Cut Store::cut(Re r) {
  if (nodes_[r].kind != Kind::Cat) return {r, kEpsilon};
  if (const auto at = cuts_.find(r); at != cuts_.end()) return at->second;
  Cut out{r, kEpsilon};
  auto [head, tail] = split(r);
  const auto is = [&](Re x, Kind k) { return nodes_[x].kind == k; };
  if (is(head, Kind::Bytes)) {  // a literal
    std::vector<Re> run{head};
    while (is(split(tail).first, Kind::Bytes)) {
      run.push_back(split(tail).first);
      tail = split(tail).second;
    }
    Re front = kEpsilon;
    for (std::size_t i = run.size(); i-- > 0;) front = cat(run[i], front);
    out = {front, tail};
  } else if (nodes_[head].whole_string()) {  // the body of a string holds no quote
    const auto [next, rest] = split(tail);
    ByteSet quote;
    quote.add('"');
    if (next == bytes(quote)) out = {cat(head, next), rest};
  } else if (!(nodes_[head].flags & kTagged)) {
    const ByteSet& own = alphabet(head);
    bool apart = !nullable(tail);
    for (unsigned w = 0; w < 4; ++w) {
      for (std::uint64_t bits = own.w[w]; bits && apart; bits &= bits - 1) {
        apart = step(tail, static_cast<std::uint8_t>(w * 64 + static_cast<unsigned>(std::countr_zero(bits)))) == kEmpty;
      }
    }
    if (apart) out = {head, tail};
  }
  if (out.back == kEpsilon && nodes_[r].flags & kTagged) out = cut_lexeme(r);
  return cuts_[r] = out;
}

bool Store::within(Re lexeme, Re body, Re& out) {
  const auto [head, tail] = split(lexeme);
  const Node n = nodes_[head];
  if (n.kind == Kind::Json) {
    if (!n.whole_string()) return false;
    out = cat(json(both({n.json().text, body})), tail);
    return true;
  }
  if (tail == kEpsilon) {  // its end: all was read
    out = nullable(body) ? lexeme : kEmpty;
    return true;
  }
  const bool known = within(tail, body, out);
  out = cat(head, out);
  return known;
}

// In front of a marked expression: its blanks, or what stands before the next blanks or before the mark. They are the
// same in many places of a grammar, and what follows them is not. (The two parts need not be apart: masks take all ways
// to cut.)
Store::Cut Store::cut_lexeme(Re r) {
  const auto blanks = [&](Re x) {
    const Node n = nodes_[x];
    if (n.kind != Kind::Repeat) return false;
    const Re one = n.repeat().of;
    return step(one, ' ') != kEmpty && step(one, 'x') == kEmpty && step(one, '0') == kEmpty;
  };
  std::vector<Re> front;
  Re rest = r;
  for (; nodes_[rest].kind == Kind::Cat; rest = split(rest).second) {
    const Re head = split(rest).first;
    if (nodes_[head].flags & kTagged) return {r, kEpsilon};
    if (!front.empty() && (blanks(front[0]) || blanks(head))) break;
    front.push_back(head);
  }
  if (front.empty() ||
      (nodes_[rest].kind != Kind::Cat && nodes_[rest].kind != Kind::Tag && !(nodes_[rest].flags & kTagged)))
    return {r, kEpsilon};
  Re whole = kEpsilon;
  for (std::size_t i = front.size(); i-- > 0;) whole = cat(front[i], whole);
  return {whole, rest};
}

// Marked alternatives one by one, also those before a common rest: each is known from other places of other grammars.
const std::vector<Re>& Store::alternatives(Re r) {
  if (const auto at = alternatives_.find(r); at != alternatives_.end()) return at->second;
  constexpr std::size_t kMost = 64;
  std::vector<Re> all{r};
  const auto spread = [&](Re part, std::vector<Re>& out) {
    const auto [head, tail] = split(part);
    if (nodes_[head].kind != Kind::Alt || tail == kEpsilon || nodes_[head].operands().count > kMost)
      return out.push_back(part);
    for (const Re x : std::vector<Re>(operands(nodes_[head]).begin(), operands(nodes_[head]).end()))
      out.push_back(cat(x, tail));
  };
  if (nodes_[r].flags & kTagged) {
    std::vector<Re> parts{r}, found;
    if (nodes_[r].kind == Kind::Alt) parts.assign(operands(nodes_[r]).begin(), operands(nodes_[r]).end());
    for (const Re part : parts) spread(part, found);
    if (found.size() <= kMost) all = std::move(found);
  }
  return alternatives_[r] = std::move(all);
}

}  // namespace espalier::re
