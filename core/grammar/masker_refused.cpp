// Ends of a lexeme after which nothing follows: tokens that stop there stay within the expression, but no text has them.
#include <algorithm>

#include "grammar/masker.hpp"

namespace espalier {

// The nodes below `node` at which r is complete and cannot go on.
const std::vector<Slices::End>& Slices::finals(Re r, std::uint32_t node) {
  const Re same = re::Store::get().clamp(r, static_cast<std::uint32_t>(trie_.longest()));
  const std::uint64_t key = static_cast<std::uint64_t>(same) << 32 | node;
  if (const auto at = finals_.find(key); at != finals_.end()) return at->second;
  re::Store& store = re::Store::get();
  const Trie::Node* const nodes = trie_.nodes();
  const std::uint32_t base = nodes[node].depth;
  std::vector<Re> level(trie_.longest() + 2);
  std::vector<End> found;
  level[0] = same;
  for (std::uint32_t i = node + 1; i < nodes[node].skip;) {
    if ((i & 4095) == 0) Budget::tick_time();
    const Trie::Node& n = nodes[i];
    const Re to = level[n.depth - base] = store.step(level[n.depth - base - 1], n.byte);
    const re::Kind kind = store.node(to).kind;
    if (kind == re::Kind::Epsilon || kind == re::Kind::Tag) {
      for (const Tag tag : store.ends(to)) found.push_back({tag, i});
    }
    i = kind <= re::Kind::Epsilon || kind == re::Kind::Tag ? n.skip : i + 1;
  }
  memory_ += 64 + sizeof(End) * found.size();
  return finals_.emplace(key, std::move(found)).first->second;
}

// Tokens of `place` that end the item where the machine has nothing to go on with.
std::vector<Token> Masker::refused(const Item& item, Re front, Trie::Place place) {
  std::vector<Token> out;
  const bool tagged = re::Store::get().node(front).flags & re::kTagged;
  if (!matcher_->machine().refuses(item.cont, tagged)) return out;
  if (item.text == kAnyText && !matcher_->machine().after(item.cont, 0, kAnyText).items.empty()) return out;   // one answer for all
  const Trie::Node* const nodes = trie().nodes();
  const Token* const order = trie().tokens();
  const bool captured = item.text && item.text != kAnyText;
  const std::vector<std::uint32_t> from = place & Trie::kSingle ? std::vector{place & ~Trie::kSingle} : trie().members(place);
  for (const std::uint32_t node : from) {
    for (const Slices::End& end : std::vector<Slices::End>(slices_->finals(front, node))) {
      const std::uint32_t first = nodes[end.node].tokens, last = nodes[end.node + 1].tokens;
      if (first == last) continue;
      Text text = item.text;
      const std::string_view word = trie().bytes(order[first]);
      for (std::size_t d = nodes[node].depth; captured && d < nodes[end.node].depth; ++d) text = text_append(text, static_cast<std::uint8_t>(word[d]));
      const Expansion& next = matcher_->machine().after(item.cont, end.tag, text);
      if (next.items.empty() && !next.accepts) out.insert(out.end(), order + first, order + last);
    }
  }
  return out;
}

// Adds the tokens of a slice that ends its item, without those that are refused.
void Masker::take_last(const Slice& slice, const Item& item, Re front, Trie::Place place, Recipe& out) {
  const std::vector<Token> gone = refused(item, front, place);
  if (gone.empty()) return take(slice, out);
  Slice left = slice;
  std::erase_if(left.sparse, [&](Token t) { return std::find(gone.begin(), gone.end(), t) != gone.end(); });
  if (left.dense) {
    Bits bits = *left.dense;
    for (const Token t : gone) bits[t >> 5] &= ~(1u << (t & 31));
    left.dense = std::make_shared<const Bits>(std::move(bits));
    memory_ += 4 * trie().words();
  }
  take(left, out);
}

}  // namespace espalier
