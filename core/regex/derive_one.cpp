// One derivative without the row of all: names and other texts are read once, byte by byte, and most of their states
// never again.
#include "base/stack.hpp"
#include "regex/store.hpp"

namespace espalier::re {

// The text of a string that is any text, or any but some words.
bool Store::unlisted(Re body) const {
  const Node n = nodes_[body];
  if (body == text_) return true;
  if (n.kind != Kind::And || !endless(operands(n))) return false;
  const auto known = [&](Re r) {
    return r == text_ || nodes_[nodes_[r].negated()].kind == Kind::Words || nodes_[r].negated() == kEpsilon ||
           nodes_[nodes_[r].negated()].kind == Kind::Tree;
  };
  return std::ranges::count(operands(n), text_) && std::ranges::all_of(operands(n), known);
}

std::size_t Store::plain(Re r, std::string_view bytes) const {
  const Node n = nodes_[r];
  if (n.kind == Kind::Words) {
    std::span<const WordId> list = word_lists_[n.words().list];
    const std::uint32_t depth = n.words().depth;
    for (std::uint32_t i = 0; i < bytes.size(); ++i) {
      list = narrow(list, depth + i, static_cast<std::uint8_t>(bytes[i]));
      if (list.empty()) break;
      if (words_[list[0]].text.size() == depth + i + 1) return i;  // a word ends
    }
    return bytes.size();
  }
  if (n.kind != Kind::Cat || ended(n.cat().tail)) return 0;
  const Node head = nodes_[n.cat().head];
  if (!head.whole_string() || !unlisted(head.json().text)) return 0;
  const auto special = [](char c) {
    return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x80;
  };
  return static_cast<std::size_t>(std::ranges::find_if(bytes, special) - bytes.begin());
}

Re Store::skip(Re r, std::string_view bytes) {
  const auto words = [&](Re x) {
    if (nodes_[x].kind != Kind::Words) {
      for (const char c : bytes) x = x == kEmpty ? x : derive_one(x, static_cast<std::uint8_t>(c));
      return x;
    }
    std::uint32_t depth = nodes_[x].words().depth;
    std::span<const WordId> list = word_lists_[nodes_[x].words().list];
    for (const char c : bytes) {
      if (list.empty()) return kEmpty;
      list = narrow(list, depth++, static_cast<std::uint8_t>(c));
    }
    return words_after(list, depth);
  };
  const Node n = nodes_[r];
  if (n.kind == Kind::Words) return words(r);
  const Re body = nodes_[n.cat().head].json().text;
  if (body == text_) return r;
  std::vector<Re> parts(operands(nodes_[body]).begin(), operands(nodes_[body]).end());
  for (Re& x : parts) {
    if (x != text_) x = negate(words(nodes_[x].negated()));
  }
  return cat(json(both(std::move(parts))), n.cat().tail);
}

Re Store::derive_one(Re r, std::uint8_t byte) {
  const Node n = nodes_[r];
  if (rows_[r]) return raw_step(r, byte);
  need_stack();
  switch (n.kind) {
    case Kind::Bytes: return sets_[n.set()].has(byte) ? kEpsilon : kEmpty;
    case Kind::Words: {
      const std::vector<WordId>& list = word_lists_[n.words().list];  // in a deque: stays where it is
      return words_after(narrow(list, n.words().depth, byte), n.words().depth + 1);
    }
    case Kind::Not: return negate(derive_one(n.negated(), byte));
    case Kind::Tree: return tree_step(r, byte);
    case Kind::Alt:
      if (n.flags & kGrown) {
        std::vector<Re> parts(operands(n).begin(), operands(n).end());
        for (Re& x : parts) x = derive_one(x, byte);
        return alt(std::move(parts));
      }
      break;
    case Kind::And: {
      std::vector<Re> parts(operands(n).begin(), operands(n).end());
      for (Re& x : parts) {
        x = derive_one(x, byte);
        if (x == kEmpty) return kEmpty;
      }
      return both(std::move(parts));
    }
    case Kind::Json:
      if (!n.whole_string() || byte < 0x20 || byte == '"' || byte == '\\') return derive_json(n.json(), byte);
      return json(derive_one(n.json().text, byte));
    case Kind::Cat: {
      const auto [first, tail] = n.cat();
      const auto ends = this->ends(first);
      if (!ends.empty() && !(ends.size() == 1 && ends[0] == 0)) break;
      const Re head = cat(derive_one(first, byte), tail);
      return ends.empty() ? head : alt({head, derive_one(tail, byte)});
    }
    default: break;
  }
  return raw_step(r, byte);
}

}  // namespace espalier::re
