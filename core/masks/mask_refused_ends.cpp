// Ends of a lexeme after which nothing follows: tokens that stop there stay within the expression, but no text has
// them.
#include <algorithm>

#include "masks/masker.hpp"

namespace espalier {

namespace {

// The bytes with which a text of r can end, as far as its last factor says.
ByteSet last_bytes(Re r) {
  const re::Store& store = re::Store::get();
  while (store.node(r).kind == re::Kind::Cat) r = store.node(r).cat().tail;
  if (store.node(r).kind == re::Kind::Bytes) return store.set(r);
  ByteSet all;
  all.add(0, 255);
  return all;
}

}  // namespace

// The nodes below a place at which r is complete and cannot go on, in the order of their tags.
const std::vector<LexemeMasks::End>& LexemeMasks::finals(Re r, Trie::Place p) {
  const Re same = re::Store::get().clamp(r, static_cast<std::uint32_t>(trie_.longest()));
  const std::uint64_t key = static_cast<std::uint64_t>(same) << 32 | p;
  if (const auto* known = finals_.find(key)) return *known;
  std::vector<End> found;
  if (p & Trie::kSingle) {
    complete(same, p & ~Trie::kSingle, found);
  } else {
    for (const std::uint32_t node : std::vector<std::uint32_t>(places_.members(p))) complete(same, node, found);
  }
  std::ranges::stable_sort(found, {}, &End::tag);
  Budget::keep(0, 64 + sizeof(End) * found.size());
  return finals_.add(key, std::move(found));
}

void LexemeMasks::complete(Re r, std::uint32_t node, std::vector<End>& found) {
  re::Store& store = re::Store::get();
  const Trie::Node* const nodes = trie_.nodes();
  const std::uint32_t base = nodes[node].depth;
  std::vector<Re> level(trie_.longest() + 2);
  level[0] = r;
  const ByteSet last = last_bytes(r);
  const bool ascii = !(last.w[2] | last.w[3]);
  std::uint32_t work = 0;
  for (std::uint32_t i = node + 1; i < nodes[node].skip;) {
    if ((++work & 4095) == 0) Budget::tick_time();
    const Trie::Node& n = nodes[i];
    const Trie::Below& below = trie_.below(i);
    if (ascii && !last.has(n.byte) && !(below.ascii[0] & last.w[0]) && !(below.ascii[1] & last.w[1])) {
      i = n.skip;
      continue;
    }
    const Re to = level[n.depth - base] = store.step(level[n.depth - base - 1], n.byte);
    const re::Kind kind = store.node(to).kind;
    if (kind == re::Kind::Epsilon || kind == re::Kind::Tag) {
      for (const Tag tag : store.ends(to)) found.push_back({tag, i});
    }
    i = kind <= re::Kind::Epsilon || kind == re::Kind::Tag ? n.skip : i + 1;
  }
}

// Tokens of `place` that end the item where the machine has nothing to go on with.
std::vector<Token> Masker::refused(const Item& item, Re front, Trie::Place place, bool& unsure) {
  std::vector<Token> out;
  Machine& machine = matcher_.machine();
  const bool tagged = re::Store::get().node(front).flags & re::kTagged;
  if (!machine.refuses(item.cont, tagged)) return out;
  const auto nothing = [&](const Expansion& next) { return next.items.empty() && !next.accepts; };
  const Trie::Node* const nodes = trie().nodes();
  const Token* const order = trie().tokens();
  const auto take_out = [&](std::uint32_t node) {
    out.insert(out.end(), order + nodes[node].tokens, order + nodes[node + 1].tokens);
  };
  if (item.text == 0 || any_text(item.text)) {  // one answer for all ends with the same tag
    if (const Expansion* next = tagged ? nullptr : &machine.after(item.cont, 0, item.text);
        next && !next->unsure && !nothing(*next))
      return out;
    const std::vector<LexemeMasks::End>& ends = lexemes_.finals(front, place);
    for (std::size_t i = 0, j; i < ends.size(); i = j) {
      for (j = i + 1; j < ends.size() && ends[j].tag == ends[i].tag;) ++j;
      const Expansion& next = machine.after(item.cont, ends[i].tag, item.text);
      unsure |= next.unsure;
      if (!nothing(next)) continue;
      for (; i < j; ++i) take_out(ends[i].node);
    }
    return out;
  }
  const std::vector<std::uint32_t> from =
      place & Trie::kSingle ? std::vector{place & ~Trie::kSingle} : lexemes_.places().members(place);
  for (const std::uint32_t node : from) {
    for (const LexemeMasks::End& end : lexemes_.finals(front, node | Trie::kSingle)) {
      if (nodes[end.node].tokens == nodes[end.node + 1].tokens) continue;
      Text text = item.text;
      const std::string_view word = trie().bytes(order[nodes[end.node].tokens]);
      for (std::size_t d = nodes[node].depth; d < nodes[end.node].depth; ++d)
        text = text_append(text, static_cast<std::uint8_t>(word[d]));
      const Expansion& next = machine.after(item.cont, end.tag, text);
      unsure |= next.unsure;
      if (nothing(next)) take_out(end.node);
    }
  }
  return out;
}

// Adds the tokens of a mask that ends its item, without those that are refused.
void Masker::take_last(const LexemeMask& mask, const Item& item, Re front, Trie::Place place, Recipe& out) {
  const std::vector<Token> gone = refused(item, front, place, out.unsure);
  if (gone.empty()) return take(mask, out);
  LexemeMask left = mask;
  std::erase_if(left.sparse, [&](Token t) { return std::find(gone.begin(), gone.end(), t) != gone.end(); });
  if (left.dense) {
    Bits bits = *left.dense;
    for (const Token t : gone) bits[t >> 5] &= ~(1u << (t & 31));
    left.dense = std::make_shared<const Bits>(std::move(bits));
    Budget::charge(0, 4 * trie().words());
  }
  take(left, out);
}

}  // namespace espalier
