// How the trie is built from a vocabulary.
#include "masks/trie.hpp"

#include <algorithm>
#include <array>

#include "base/budget.hpp"
#include "regex/re.hpp"

namespace espalier {

Trie::Trie(std::vector<std::string> tokens) : bytes_(std::move(tokens)) {
  for (Token t = 0; t < bytes_.size(); ++t) {
    longest_ = std::max(longest_, bytes_[t].size());
    if (!bytes_[t].empty()) order_.push_back(t);
  }
  if (longest_ > 0xffff) throw GrammarError("a token longer than 65,535 bytes");
  std::sort(order_.begin(), order_.end(),
            [&](Token x, Token y) { return std::tie(bytes_[x], x) < std::tie(bytes_[y], y); });
  std::vector<std::uint32_t> path{0};  // nodes from the root to the last one made
  nodes_.push_back({0, 0, 0, 0});
  std::string_view last;
  for (std::uint32_t k = 0; k < order_.size(); ++k) {
    const std::string_view word = bytes_[order_[k]];
    const std::size_t common = static_cast<std::size_t>(
        std::mismatch(last.begin(), last.end(), word.begin(), word.end()).first - last.begin());
    while (path.size() > common + 1) {
      nodes_[path.back()].skip = static_cast<std::uint32_t>(nodes_.size());
      path.pop_back();
    }
    for (std::size_t d = common; d < word.size(); ++d) {
      path.push_back(static_cast<std::uint32_t>(nodes_.size()));
      nodes_.push_back({0, k, static_cast<std::uint16_t>(d + 1), static_cast<std::uint8_t>(word[d])});
    }
    last = word;
  }
  for (const std::uint32_t i : path) nodes_[i].skip = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({static_cast<std::uint32_t>(nodes_.size()), static_cast<std::uint32_t>(order_.size()), 0, 0});
  look_below();
  list_children();
}

void Trie::list_children() {
  kids_begin_.resize(nodes_.size() + 1);
  const auto each = [&](const auto& then) {
    std::vector<std::uint32_t> path(longest_ + 1);
    for (std::uint32_t i = 1; i + 1 < nodes_.size(); ++i) {
      path[nodes_[i].depth] = i;
      then(path[nodes_[i].depth - 1], i);
    }
  };
  each([&](std::uint32_t parent, std::uint32_t) { ++kids_begin_[parent + 1]; });
  for (std::size_t i = 1; i < kids_begin_.size(); ++i) kids_begin_[i] += kids_begin_[i - 1];
  kids_.resize(nodes_.size());
  kid_bytes_.resize(nodes_.size());
  std::vector<std::uint32_t> next = kids_begin_;
  each([&](std::uint32_t parent, std::uint32_t i) {
    kid_bytes_[next[parent]] = static_cast<char>(nodes_[i].byte);
    kids_[next[parent]++] = i;
  });
}

void Trie::look_below() {
  below_.resize(nodes_.size());
  // well-formed from here, by what is still missing: a node is asked as if it stood between two code points
  const Re any = re::codepoint();
  std::vector<std::uint32_t> parents{0};
  std::vector<std::uint32_t> up(nodes_.size());
  for (std::uint32_t i = 1; i + 1 < nodes_.size(); ++i) {
    parents.resize(nodes_[i].depth);
    up[i] = parents.back();
    parents.push_back(i);
  }
  for (std::uint32_t i = static_cast<std::uint32_t>(nodes_.size()) - 2; i > 0; --i) {
    const std::uint8_t byte = nodes_[i].byte;
    Below& above = below_[up[i]];
    above.ascii[0] |= below_[i].ascii[0];
    above.ascii[1] |= below_[i].ascii[1];
    above.beyond_ascii |= below_[i].beyond_ascii || byte >= 0x80;
    if (byte < 0x80) above.ascii[byte >> 6] |= 1ull << (byte & 63);
    const bool counts = byte < 0x80 || byte >= 0xc0;
    above.height = std::max<std::uint16_t>(above.height, static_cast<std::uint16_t>(below_[i].height + counts));
    if (byte < 0x80) above.text &= below_[i].text;
    else above.text &= well_formed(i, re::step(any, byte), any);
  }
}

// Whether all paths below node i go on with the rest of a code point, and then as well-formed text.
bool Trie::well_formed(std::uint32_t i, Re rest, Re any) const {
  if (rest == re::kEmpty) return false;
  if (re::nullable(rest)) return below_[i].text;
  for (std::uint32_t c = i + 1; c < nodes_[i].skip; c = nodes_[c].skip) {
    if (!well_formed(c, re::step(rest, nodes_[c].byte), any)) return false;
  }
  return true;
}

Trie::Place Places::place(std::vector<std::uint32_t>& nodes) {
  std::erase_if(nodes, [&](std::uint32_t i) { return trie_.leaf(i); });
  if (!std::is_sorted(nodes.begin(), nodes.end())) std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  if (nodes.empty()) return Trie::kNowhere;
  if (nodes.size() == 1) return nodes[0] | Trie::kSingle;
  std::size_t h = nodes.size();
  for (const std::uint32_t i : nodes) h = (h ^ i) * 0x9e3779b97f4a7c15ull, h ^= h >> 29;
  const auto [begin, end] = set_ids_.equal_range(h);
  for (auto at = begin; at != end; ++at) {
    if (sets_[at->second] == nodes) return at->second;
  }
  Budget::keep(0, 4 * nodes.size() + 64);
  sets_.push_back(nodes);
  children_.emplace_back();
  expanded_.push_back(false);
  const Place p = static_cast<Place>(sets_.size() - 1);
  set_ids_.emplace(h, p);
  return p;
}

const std::vector<Places::Child>& Places::children(Place p) {
  if (expanded_[p]) return children_[p];
  const Trie::Node* const nodes = trie_.nodes();
  const Token* const order = trie_.tokens();
  std::array<std::vector<std::uint32_t>, 256> by_byte;
  for (const std::uint32_t i : sets_[p]) {
    for (std::uint32_t c = i + 1; c < nodes[i].skip; c = nodes[c].skip) by_byte[nodes[c].byte].push_back(c);
  }
  std::vector<Child> out;
  for (unsigned b = 0; b < 256; ++b) {
    if (by_byte[b].empty()) continue;
    Child child{static_cast<std::uint8_t>(b), Trie::kNowhere, static_cast<std::uint32_t>(child_tokens_.size()), 0};
    for (const std::uint32_t c : by_byte[b]) {
      child_tokens_.insert(child_tokens_.end(), order + nodes[c].tokens, order + nodes[c + 1].tokens);
    }
    child.end = static_cast<std::uint32_t>(child_tokens_.size());
    child.place = place(by_byte[b]);
    out.push_back(child);
  }
  expanded_[p] = true;
  return children_[p] = std::move(out);
}

}  // namespace espalier
