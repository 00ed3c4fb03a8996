// Finite sets of words as one expression: names of members, enumerated strings. A state is a list of words and how much
// of them was read, so a step looks at one byte of each word and builds nothing.
#include <algorithm>

#include "base/budget.hpp"
#include "regex/store.hpp"

namespace espalier::re {

WordId Store::word(std::string_view text, Tag tag) {
  const std::uint64_t h = std::hash<std::string_view>{}(text) + tag * 0xff51afd7ed558ccdull;
  const auto same = [&](std::uint32_t i) { return words_[i].tag == tag && words_[i].text == text; };
  if (const std::uint32_t id = word_ids_.find(h, same); id != Index::kNone) return id;
  Budget::keep(0, text.size() + 96);
  Re rest = text_;
  for (const char c : text) rest = step(rest, static_cast<std::uint8_t>(c));
  words_.push_back({std::string(text), tag, rest != kEmpty && nullable(rest)});
  word_ids_.add(h, static_cast<WordId>(words_.size() - 1));
  return static_cast<WordId>(words_.size() - 1);
}

std::vector<WordId> Store::in_order(std::vector<WordId> list) const {
  const auto before = [&](WordId x, WordId y) { return std::tie(words_[x].text, x) < std::tie(words_[y].text, y); };
  if (!std::is_sorted(list.begin(), list.end(), before)) std::sort(list.begin(), list.end(), before);
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

Re Store::words(std::vector<WordId> list) { return words_after(in_order(std::move(list)), 0); }

// The rests of these words (in order, alike up to `depth`) from there on.
Re Store::words_after(std::span<const WordId> list, std::uint32_t depth) {
  if (list.empty()) return kEmpty;
  if (words_[list.back()].text.size() == depth) {  // the longest comes last
    std::vector<Re> ends;
    for (const WordId w : list) ends.push_back(tag(words_[w].tag));
    return ends.size() == 1 ? ends[0] : alt(std::move(ends));
  }
  std::size_t h = list.size();
  for (const WordId w : list) h = (h ^ w) * 0x9e3779b97f4a7c15ull, h ^= h >> 29;
  const std::uint32_t known =
      word_list_ids_.find(h, [&](std::uint32_t i) { return std::ranges::equal(word_lists_[i], list); });
  if (known != Index::kNone) return intern(Node(WordRests{known, depth}));
  Budget::keep(0, 4 * list.size() + 64);
  word_lists_.emplace_back(list.begin(), list.end());
  const auto id = static_cast<std::uint32_t>(word_lists_.size() - 1);
  word_list_ids_.add(h, id);
  return intern(Node(WordRests{id, depth}));
}

// Those of the words that go on with this byte.
std::span<const WordId> Store::narrow(std::span<const WordId> list, std::uint32_t depth, std::uint8_t byte) const {
  const auto at = [&](WordId w) {
    return words_[w].text.size() == depth ? -1 : static_cast<int>(static_cast<std::uint8_t>(words_[w].text[depth]));
  };
  if (list.size() == 1) return at(list[0]) == byte ? list : list.first(0);
  const auto begin = std::partition_point(list.begin(), list.end(), [&](WordId w) { return at(w) < byte; });
  return {begin, std::partition_point(begin, list.end(), [&](WordId w) { return at(w) == byte; })};
}

const Row& Store::words_row(Re r) {
  Partition classes{};
  std::vector<Re> to{kEmpty};
  next(r, [&](std::uint8_t byte, Re rest) {
    classes[byte] = static_cast<std::uint8_t>(to.size());
    to.push_back(rest);
  });
  return keep_row(r, classes, to, false);
}

std::uint32_t Store::words_ends(WordRests n) {
  std::vector<Tag> tags;
  for (const WordId w : word_lists_[n.list]) {
    if (words_[w].text.size() == n.depth) tags.push_back(words_[w].tag);
  }
  return end_set(std::move(tags));
}

std::uint16_t Store::words_flags(WordRests n) const {
  std::uint16_t flags = kText | kFinite;
  for (const WordId w : word_lists_[n.list]) {
    const Word& word = words_[w];
    const bool inside = n.depth < word.text.size() && (word.text[n.depth] & 0xc0) == 0x80;
    if (!word.text_only || inside) flags &= static_cast<std::uint16_t>(~kText);
    if (word.tag) flags |= kTagged;
  }
  return flags;
}

}  // namespace espalier::re
