// LexemeMasks of "the body of a string, but not one of these words", with the closing quote: names of members that no
// schema lists. They are those of the body without the exception, except where a token holds the end of a word, and
// these places are found along the words.
#include <algorithm>
#include <map>

#include "base/budget.hpp"
#include "base/utf8.hpp"
#include "masks/lexeme_mask.hpp"

namespace espalier {

namespace {

constexpr std::string_view kEscapes = "\"\\/bfnrt", kEscaped = "\"\\/\b\f\n\r\t";

std::uint32_t continuation(std::uint8_t lead) { return lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3; }

int hex(std::uint8_t c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

}  // namespace

// Follows finite sets of words and their spellings in JSON strings along the trie.
class WordEnds {
 public:
  explicit WordEnds(const Trie& trie) : trie_(trie) {}

  // Appends the nodes of the quotes after a word; false if `words` is not a union of words, or if they are very many.
  bool find(Re words, std::uint32_t node) {
    walk(store_.spelling(words), node, 0);
    return plain_ && work_ < 20000;
  }
  std::vector<std::uint32_t> quotes;

 private:
  using Spelling = re::Store::Spelling;

  // pending: how many more bytes of a code point are to come.
  void walk(const Spelling& words, std::uint32_t node, std::uint32_t pending) {
    if (!words.list.empty() || pending || store_.node(words.re).kind != re::Kind::Tree)
      return look(words, node, pending);
    const std::pair key{&trie_, static_cast<std::uint64_t>(words.re) << 32 | node};
    if (const auto known = found_.find(key); known != found_.end()) {
      quotes.insert(quotes.end(), known->second.begin(), known->second.end());
      return;
    }
    const auto begin = static_cast<std::ptrdiff_t>(quotes.size());
    look(words, node, pending);
    if (!plain_ || work_ >= 20000) return;
    Budget::keep(0, 96 + 4 * (quotes.size() - static_cast<std::size_t>(begin)));
    found_.emplace(key, std::vector(quotes.begin() + begin, quotes.end()));
  }

  void look(const Spelling& words, std::uint32_t node, std::uint32_t pending) {
    plain_ &= (words.list.empty() && words.re <= re::kEpsilon) ||
              store_.spelled(words);  // at the end of a token too: it may leave nothing
    if (!plain_ || trie_.leaf(node)) return;
    bool ended = false;
    store_.ends(words, [&](Tag) { ended = true; });
    if (ended) {
      if (const std::uint32_t quote = trie_.child(node, '"')) quotes.push_back(quote);
    }
    store_.next(words, [&](std::uint8_t byte, const Spelling& rest) {
      if (++work_ > 20000 || (byte < 0x80 && (byte < 0x20 || byte == '"' || byte == '\\'))) return;
      if (const std::uint32_t next = trie_.child(node, byte))
        walk(rest, next, byte < 0xc0 ? pending - (pending > 0) : continuation(byte));
    });
    if (pending) return;
    if (const std::uint32_t backslash = trie_.child(node, '\\')) escape(words, backslash);
  }

  void escape(const Spelling& words, std::uint32_t backslash) {
    for (std::size_t k = 0; k < kEscapes.size(); ++k) {
      const std::uint32_t next = trie_.child(backslash, static_cast<std::uint8_t>(kEscapes[k]));
      if (next) decoded(words, std::string(1, kEscaped[k]), next);
    }
    if (const std::uint32_t u = trie_.child(backslash, 'u')) digits(words, u, 0, 0, 0);
  }

  // Four hexadecimal digits, and four more after a high surrogate.
  void digits(const Spelling& words, std::uint32_t node, int count, std::uint32_t value, std::uint32_t high) {
    if (count < 4) {
      for (std::uint32_t c = node + 1; c < trie_.node(node).skip; c = trie_.node(c).skip) {
        const int d = hex(trie_.node(c).byte);
        if (d >= 0) digits(words, c, count + 1, value << 4 | static_cast<std::uint32_t>(d), high);
      }
      return;
    }
    const bool low = value >= 0xdc00 && value < 0xe000;
    if (high ? !low : low) return;
    if (value >= 0xd800 && value < 0xdc00) {
      const std::uint32_t backslash = trie_.child(node, '\\'), u = backslash ? trie_.child(backslash, 'u') : 0;
      if (u) digits(words, u, 0, 0, value);
      return;
    }
    const std::uint32_t c = high ? 0x10000 + ((high - 0xd800) << 10) + (value - 0xdc00) : value;
    std::string bytes;
    utf8(c, [&](std::uint32_t b) { bytes.push_back(static_cast<char>(b)); });
    decoded(words, bytes, node);
  }

  void decoded(const Spelling& words, std::string_view bytes, std::uint32_t node) {
    if (bytes.empty()) return walk(words, node, 0);
    store_.next(words, [&](std::uint8_t byte, const Spelling& rest) {
      if (byte == static_cast<std::uint8_t>(bytes[0])) decoded(rest, bytes.substr(1), node);
    });
  }

  const Trie& trie_;
  re::Store& store_ = re::Store::get();
  // What was found below the branches of growing sets, which the next set shares. Of a generation.
  struct Found : std::map<std::pair<const Trie*, std::uint64_t>, std::vector<std::uint32_t>> {};
  Found& found_ = Generation::here().part<Found>();
  bool plain_ = true;
  std::size_t work_ = 0;
};

bool LexemeMasks::all_but_words(Re r, Trie::Place p, LexemeMask& out) {
  re::Store& store = re::Store::get();
  const re::Node whole = store.node(r);
  if (whole.kind != re::Kind::Cat) return false;
  const auto [head, tail] = whole.cat();
  const re::Node body = store.node(head);
  ByteSet quote;
  quote.add('"');
  if (!body.whole_string() || tail != store.bytes(quote)) return false;
  const re::Node text = store.node(body.json().text);
  if (text.kind != re::Kind::And) return false;
  const auto parts = store.operands(text);
  std::vector<Re> others, words;
  for (const Re part : parts) {
    const bool but =
        store.node(part).kind == re::Kind::Not && store.node(store.node(part).negated()).flags & re::kFinite;
    but ? words.push_back(store.node(part).negated()) : others.push_back(part);
  }
  if (words.empty() || others.empty()) return false;
  const Re any = store.both(std::move(others));
  if (!store.goes_on(any)) return false;
  WordEnds ends(trie_);
  for (const Re list : words) {
    if (p & Trie::kSingle) {
      if (!ends.find(list, p & ~Trie::kSingle)) return false;
    } else {
      for (const std::uint32_t node : places_.members(p)) {
        if (!ends.find(list, node)) return false;
      }
    }
  }
  out = get(store.cat(store.json(any), tail), p);
  if (ends.quotes.empty()) return true;
  std::sort(ends.quotes.begin(), ends.quotes.end());
  take_away(ends.quotes, out);
  return true;
}

// Takes the tokens that end at these nodes, and what goes on from there, out of a mask with one exit at most.
void LexemeMasks::take_away(const std::vector<std::uint32_t>& gone, LexemeMask& from) {
  const auto bits = from.dense ? std::make_shared<Bits>(*from.dense) : nullptr;
  for (const std::uint32_t i : gone) {
    for (std::uint32_t t = trie_.node(i).tokens; t < trie_.node(i + 1).tokens; ++t) {
      const Token token = trie_.tokens()[t];
      if (bits) (*bits)[token >> 5] &= ~(1u << (token & 31));
      std::erase(from.sparse, token);
    }
  }
  from.dense = bits;
  if (from.exits.empty()) return;
  const Trie::Place p = from.exits[0].place;
  std::vector<std::uint32_t> left =
      p & Trie::kSingle ? std::vector<std::uint32_t>{p & ~Trie::kSingle} : places_.members(p);
  std::erase_if(left, [&](std::uint32_t i) { return std::binary_search(gone.begin(), gone.end(), i); });
  const Tag tag = from.exits[0].tag;
  from.exits.clear();
  if (const Trie::Place to = places_.place(left)) from.exits.push_back({tag, to});
}

}  // namespace espalier
