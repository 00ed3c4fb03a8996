// The mask of a state is put together from the masks of its items.
#include "masks/masker.hpp"

#include <algorithm>
#include <cstring>

namespace espalier {

namespace {

__attribute__((target_clones("avx2", "default"))) void unite(std::uint32_t* __restrict out,
                                                             const std::uint32_t* __restrict in, std::size_t words) {
  for (std::size_t i = 0; i < words; ++i) out[i] |= in[i];
}

}  // namespace

std::size_t Masker::KeyHash::operator()(const Key& k) const {
  std::uint64_t h = (static_cast<std::uint64_t>(k[0]) << 32 | k[1]) * 0x9e3779b97f4a7c15ull;
  h = (h ^ (h >> 32) ^ (static_cast<std::uint64_t>(k[2]) << 32 | k[3])) * 0xff51afd7ed558ccdull;
  return h ^ (h >> 32);
}

void Masker::Recipe::add(const Recipe& other) {
  for (const auto& d : other.dense) {
    if (std::find(dense.begin(), dense.end(), d) == dense.end()) dense.push_back(d);
  }
  sparse.insert(sparse.end(), other.sparse.begin(), other.sparse.end());
  unsure |= other.unsure;
}

Masker::Masker(Matcher& matcher, std::shared_ptr<const Trie> trie, std::vector<Token> end)
    : trie_(std::move(trie)), matcher_(matcher), lexemes_(LexemeMasks::of(trie_)), end_(std::move(end)) {}

void Masker::settle(Recipe& r) {
  if (r.sparse.size() > 256) {  // the same token is often reached in several ways
    met_.resize(trie().words());
    std::erase_if(r.sparse, [&](Token t) {
      const std::uint32_t bit = 1u << (t & 31), before = met_[t >> 5];
      met_[t >> 5] |= bit;
      return (before & bit) != 0;
    });
    for (const Token t : r.sparse) met_[t >> 5] = 0;
  }
  if (r.sparse.size() > 1024 + trie().vocab_size() / 64) {
    Bits bits(trie().words());
    for (const Token t : r.sparse) bits[t >> 5] |= 1u << (t & 31);
    r.sparse.clear();
    r.dense.push_back(std::make_shared<const Bits>(std::move(bits)));
    Budget::charge(0, 4 * trie().words());
  }
  r.sparse.shrink_to_fit();
}

void Masker::take(const LexemeMask& mask, Recipe& out) {
  if (mask.dense && std::find(out.dense.begin(), out.dense.end(), mask.dense) == out.dense.end())
    out.dense.push_back(mask.dense);
  out.sparse.insert(out.sparse.end(), mask.sparse.begin(), mask.sparse.end());
}

// Tokens of `place` that the item allows, those that leave its expression included.
void Masker::gather(const Item& item, Trie::Place place, Recipe& out) {
  if (item.text && !any_text(item.text)) {
    if (!gather_capture_free(item, place, out)) gather_captured(item, place, out);
    return;
  }
  re::Store& store = re::Store::get();
  if (!(store.node(item.re).flags & re::kTagged)) return gather_part(item, place, out);
  const std::vector<Re>& parts = store.alternatives(item.re);
  if (parts.size() == 1) return gather_part(item, place, out);
  for (const Re part : std::vector<Re>(parts)) gather_part({part, item.cont, item.text}, place, out);
}

void Masker::gather_part(const Item& item, Trie::Place place, Recipe& out) {
  re::Store& store = re::Store::get();
  re::Store::Cut cut = store.cut(item.re);
  const bool marked = store.node(cut.back).kind == re::Kind::Tag;
  if (marked && matcher_.machine().refuses(item.cont, marked)) cut = {item.re, re::kEpsilon};
  const LexemeMask& mask = lexemes_.get(cut.front, place);
  const bool last = cut.back == re::kEpsilon;
  last ? take_last(mask, item, cut.front, place, out) : take(mask, out);
  const auto go_on = [&](const LexemeMask::Exit& exit) {
    if (last) return out.add(continuation(item.cont, exit.tag, item.text, exit.place));
    if (!marked) rest({cut.back, item.cont, item.text}, exit.place, out);
    for (const Tag tag : store.ends(cut.back)) out.add(continuation(item.cont, tag, item.text, exit.place));
  };
  if (mask.exits.size() == 1) go_on(LexemeMask::Exit(mask.exits[0]));
  else
    for (const LexemeMask::Exit& exit : std::vector<LexemeMask::Exit>(mask.exits)) go_on(exit);
  if (!last && store.nullable(cut.front)) rest({cut.back, item.cont, item.text}, place, out);
}

// The rest of a marked expression: several ways lead to the same rest, so it is remembered.
void Masker::rest(const Item& item, Trie::Place place, Recipe& out) {
  if (!(re::Store::get().node(item.re).flags & re::kTagged)) return gather(item, place, out);
  const Key key{item.re, item.cont, item.text, place};
  if (const Recipe* known = rests_.find(key)) return out.add(*known);
  Recipe r;
  gather(item, place, r);
  settle(r);
  Budget::charge(0, r.bytes() + 64);
  out.add(rests_.add(key, std::move(r)));
}

// An item that remembers its bytes, where they make no difference to what follows. False if they do, or if a token is
// so long that they may.
bool Masker::gather_capture_free(const Item& item, Trie::Place place, Recipe& out) {
  const std::vector<Item> sorts = matcher_.machine().sorts(item);
  Recipe all;
  for (const Item& sort : sorts) gather(sort, place, all);
  if (sorts.empty() || all.unsure) return false;
  out.add(all);
  return true;
}

// Whether any token goes on from `node` with a byte of r.
bool Masker::starts(Re r, std::uint32_t node) {
  re::Store& store = re::Store::get();
  const Trie::Node* const nodes = trie().nodes();
  for (std::uint32_t c = node + 1; c < nodes[node].skip; c = nodes[c].skip) {
    if (store.step(r, nodes[c].byte) != re::kEmpty) return true;
  }
  return false;
}

// An item whose bytes count: each end has its own text, so ends are followed one by one.
void Masker::gather_captured(const Item& item, Trie::Place place, Recipe& out) {
  if (place & Trie::kSingle) return gather_below(item, place & ~Trie::kSingle, out);
  for (const std::uint32_t node : std::vector<std::uint32_t>(lexemes_.places().members(place)))
    gather_below(item, node, out);
}

void Masker::gather_below(const Item& item, std::uint32_t node, Recipe& out) {
  re::Store& store = re::Store::get();
  re::Store::Cut cut = store.cut(item.re);
  // a cut pays after white space and literals; the ends of a string body are many, each with a text of its own
  const re::Kind head =
      store.node(store.node(cut.front).kind == re::Kind::Cat ? store.node(cut.front).cat().head : cut.front).kind;
  if ((head != re::Kind::Repeat && head != re::Kind::Bytes) || store.node(cut.back).kind == re::Kind::Tag)
    cut = {item.re, re::kEpsilon};
  const bool last = cut.back == re::kEpsilon;
  const LexemeMask& mask = lexemes_.get(cut.front, node | Trie::kSingle);
  last ? take_last(mask, item, cut.front, node | Trie::kSingle, out) : take(mask, out);
  if (!last && store.nullable(cut.front)) gather_below({cut.back, item.cont, item.text}, node, out);
  if (mask.exits.empty()) return;
  const Trie::Node* const nodes = trie().nodes();
  const Token* const order = trie().tokens();
  for (const LexemeMasks::End& end : lexemes_.ends(cut.front, node)) {
    if (!last && !store.ended(cut.back) && !starts(cut.back, end.node)) continue;
    const std::string_view word =
        trie().bytes(order[nodes[end.node].tokens]);  // the first token below has these bytes first
    Text text = item.text;
    for (std::size_t d = nodes[node].depth; d < nodes[end.node].depth; ++d)
      text = text_append(text, static_cast<std::uint8_t>(word[d]));
    const Trie::Place place = end.node | Trie::kSingle;
    if (last) {
      out.add(continuation(item.cont, end.tag, text, place));
      continue;
    }
    gather_below({cut.back, item.cont, text}, end.node, out);
    for (const Tag tag : store.ends(cut.back)) out.add(continuation(item.cont, tag, text, place));
  }
}

const Masker::Recipe& Masker::continuation(Cont cont, Tag tag, Text text, Trie::Place place) {
  const Key key{cont, tag, text, place};
  if (const Recipe* known = continuations_.find(key)) return *known;
  const Expansion& next = matcher_.machine().after(cont, tag, text);
  Recipe r;
  r.unsure = next.unsure;
  for (const Item& item : next.items) gather(item, place, r);
  settle(r);
  Budget::charge(0, r.bytes() + 64);
  return continuations_.add(key, std::move(r));
}

const Masker::Recipe& Masker::recipe(State s) {
  if (const Recipe* known = this->known(s)) return *known;
  Recipe r;
  const auto view = matcher_.items(s);
  const std::vector<Item> items(view.begin(), view.end());
  try {
    for (const Item& item : items) {
      gather(item, Trie::kRoot, r);
      Budget::tick_time();  // however little was done: what went past mask_us is not kept
    }
  } catch (const OverLimit& error) { matcher_.over_limit(error, items); }
  if (matcher_.accepts(s)) r.sparse.insert(r.sparse.end(), end_.begin(), end_.end());
  settle(r);
  Budget::charge(0, r.bytes());
  recipe_pool_.push_back(std::move(r));
  const Recipe& kept = recipe_pool_.back();
  recipes_.make(s).store(&kept, std::memory_order_release);
  return kept;
}

void Masker::fill(State s, std::uint32_t* out) const {
  const std::size_t words = trie().words();
  if (s == 0) {
    std::memset(out, 0, 4 * words);
    return;
  }
  const Recipe& r = *known(s);
  if (r.dense.empty()) std::memset(out, 0, 4 * words);
  else std::memcpy(out, r.dense[0]->data(), 4 * words);
  for (std::size_t i = 1; i < r.dense.size(); ++i) unite(out, r.dense[i]->data(), words);
  for (const Token t : r.sparse) out[t >> 5] |= 1u << (t & 31);
}

}  // namespace espalier
