// LexemeMasks of string bodies of a bounded length, with the closing quote. How many characters each token takes is
// counted once per vocabulary; every pair of bounds then only asks which counts fit.
#include <algorithm>

#include "masks/lexeme_mask.hpp"

namespace espalier {

// Counts the characters of all tokens, escapes as what they stand for; one that is cut short counts as whole.
void LexemeMasks::measure() {
  re::Store& store = re::Store::get();
  const Re body = store.json(store.text());
  struct Level {
    Re state;
    std::uint32_t count;
  };
  std::vector<Level> level(trie_.longest() + 2);
  level[0] = {body, 0};
  for (std::uint32_t i = 1; i < trie_.size();) {
    const Trie::Node& n = trie_.node(i);
    const Level above = level[n.depth - 1];
    const auto own = [&](std::vector<Counted>& to, std::uint32_t count) {
      for (std::uint32_t t = n.tokens; t < trie_.node(i + 1).tokens; ++t) to.push_back({count, trie_.tokens()[t]});
    };
    if (above.state == body && n.byte == '"') {
      own(measured_.closed, above.count);
      if (!trie_.leaf(i)) measured_.exits.push_back({above.count, i});
      i = n.skip;
      continue;
    }
    const Re to = store.step(above.state, n.byte);
    if (to == re::kEmpty) {
      i = n.skip;
      continue;
    }
    level[n.depth] = {to, above.count + (to == body)};
    own(measured_.inside, level[n.depth].count + (to != body));
    ++i;
  }
  for (auto* list : {&measured_.inside, &measured_.closed}) std::ranges::stable_sort(*list, {}, &Counted::count);
  measured_.done = true;
}

bool LexemeMasks::counted(Re r, Trie::Place p, LexemeMask& out) {
  re::Store& store = re::Store::get();
  const re::Node whole = store.node(r);
  if (p != Trie::kRoot || whole.kind != re::Kind::Cat) return false;
  const auto [head, tail] = whole.cat();
  const re::Node body = store.node(head);
  ByteSet quote;
  quote.add('"');
  if (!body.whole_string() || tail != store.bytes(quote)) return false;
  const Re decoded = body.json().text;
  if (decoded == store.text()) return false;
  re::Repetition text{decoded, 1, 1};
  if (store.node(decoded).kind == re::Kind::Repeat) text = store.node(decoded).repeat();
  if (text.of != store.codepoint()) return false;
  if (!measured_.done) measure();
  auto bits = std::make_shared<Bits>(trie_.words());
  const auto put = [&](Token t) { (*bits)[t >> 5] |= 1u << (t & 31); };
  const auto fits = std::ranges::upper_bound(measured_.inside, text.hi, {}, &Counted::count);
  if (fits - measured_.inside.begin() < measured_.inside.end() - fits) {  // the shorter list
    for (auto at = measured_.inside.begin(); at != fits; ++at) put(at->what);
    for (const Counted& c : measured_.closed) {
      if (c.count >= text.lo && c.count <= text.hi) put(c.what);
    }
  } else {
    const auto any = get(store.cat(store.json(store.text()), tail), p).dense;
    if (!any) return false;
    *bits = *any;
    const auto drop = [&](Token t) { (*bits)[t >> 5] &= ~(1u << (t & 31)); };
    for (auto at = fits; at != measured_.inside.end(); ++at) drop(at->what);
    for (const Counted& c : measured_.closed) {
      if (c.count < text.lo || c.count > text.hi) drop(c.what);
    }
  }
  out.dense = std::move(bits);
  std::vector<std::uint32_t> exits;
  for (const Counted& c : measured_.exits) {
    if (c.count >= text.lo && c.count <= text.hi) exits.push_back(c.what);
  }
  if (const Trie::Place to = places_.place(exits)) out.exits.push_back({0, to});
  return true;
}

}  // namespace espalier
