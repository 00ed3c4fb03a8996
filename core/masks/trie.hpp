// The byte trie of a vocabulary, and sets of its nodes. The trie never changes: all threads and generations share it.
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace espalier {

using Token = std::uint32_t;

// Nodes in preorder: the subtree of node i is [i, skip of i), its tokens are contiguous. Node 0 is the root.
class Trie {
 public:
  struct Node {
    std::uint32_t skip;    // first node after the subtree
    std::uint32_t tokens;  // its own tokens are [tokens, tokens of the next node)
    std::uint16_t depth;
    std::uint8_t byte;
  };
  // What all paths below a node are made of, to accept a whole subtree without walking it.
  struct Below {
    std::uint64_t ascii[2] = {0, 0};  // the ASCII bytes that occur
    std::uint16_t height = 0;         // code points (bytes below 0x80 and lead bytes) on the longest path
    bool beyond_ascii = false;        // other bytes occur …
    bool text = true;                 // … and all paths are well-formed UTF-8, cut anywhere
  };
  // tokens[id] = bytes; empty ones are left out. Tokens longer than 65,535 bytes are refused.
  explicit Trie(std::vector<std::string> tokens);

  const Node* nodes() const { return nodes_.data(); }
  const Below& below(std::uint32_t i) const { return below_[i]; }
  const Node& node(std::uint32_t i) const { return nodes_[i]; }
  std::size_t size() const { return nodes_.size() - 1; }
  const Token* tokens() const { return order_.data(); }
  std::uint32_t vocab_size() const { return static_cast<std::uint32_t>(bytes_.size()); }
  std::size_t words() const { return (bytes_.size() + 31) / 32; }
  std::size_t longest() const { return longest_; }
  std::string_view bytes(Token t) const { return bytes_[t]; }
  bool leaf(std::uint32_t i) const { return nodes_[i].skip == i + 1; }
  std::uint32_t child(std::uint32_t i, std::uint8_t byte) const {  // 0 = none
    const char* const bytes = kid_bytes_.data();
    const void* const at = std::memchr(bytes + kids_begin_[i], byte, kids_begin_[i + 1] - kids_begin_[i]);
    return at ? kids_[static_cast<std::size_t>(static_cast<const char*>(at) - bytes)] : 0;
  }

  // A hash-consed set of inner nodes: a place from which several tokens go on. A single node v is the place v |
  // kSingle.
  using Place = std::uint32_t;
  static constexpr Place kSingle = 0x80000000u, kRoot = kSingle, kNowhere = 0;

 private:
  std::vector<std::string> bytes_;
  void look_below();
  void list_children();
  bool well_formed(std::uint32_t node, std::uint32_t rest, std::uint32_t any) const;
  std::vector<Node> nodes_;
  std::vector<Below> below_;
  std::vector<Token> order_;
  std::vector<std::uint32_t> kids_, kids_begin_;  // children of all nodes, in order; where those of a node begin
  std::string kid_bytes_;
  std::size_t longest_ = 0;
};

// The sets of nodes of one trie that were met in one generation; protected by that generation's lock.
class Places {
 public:
  using Place = Trie::Place;
  explicit Places(const Trie& trie) : trie_(trie), sets_(1), children_(1), expanded_(1) {}
  Place place(std::vector<std::uint32_t>& nodes);  // sorts, drops leaves and doubles
  struct Child {
    std::uint8_t byte;
    Place place;               // kNowhere if no token goes on
    std::uint32_t begin, end;  // tokens that end there: child_tokens()[begin, end)
  };
  const std::vector<Child>& children(Place);  // of a set
  const std::vector<std::uint32_t>& members(Place p) const { return sets_[p]; }
  const Token* child_tokens() const { return child_tokens_.data(); }

 private:
  const Trie& trie_;
  std::vector<std::vector<std::uint32_t>> sets_;
  std::unordered_multimap<std::size_t, Place> set_ids_;
  std::vector<std::vector<Child>> children_;
  std::vector<bool> expanded_;
  std::vector<Token> child_tokens_;
};

}  // namespace espalier
