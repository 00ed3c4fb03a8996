// One derivative without the row of all: names and other texts are read once, byte by byte, and most of their states never again.
#include "grammar/re_store.hpp"

namespace espalier::re {

Re Store::lone(Re r, std::uint8_t byte) {
  const Node n = nodes_[r];
  if (rows_[r]) return raw_step(r, byte);
  switch (n.kind) {
    case Kind::Bytes: return sets_[n.a].has(byte) ? kEpsilon : kEmpty;
    case Kind::Words: {
      const std::vector<WordId>& list = word_lists_[n.a];   // in a deque: stays where it is
      const auto at = [&](WordId w) { return words_[w].text.size() == n.b ? -1 : static_cast<int>(static_cast<std::uint8_t>(words_[w].text[n.b])); };
      const int wanted = byte;
      return words_after(std::span(std::ranges::lower_bound(list, wanted, {}, at), std::ranges::upper_bound(list, wanted, {}, at)), n.b + 1);
    }
    case Kind::Not: return negate(lone(n.a, byte));
    case Kind::And: {
      std::vector<Re> parts(operands(n).begin(), operands(n).end());
      for (Re& x : parts) {
        x = lone(x, byte);
        if (x == kEmpty) return kEmpty;
      }
      return both(std::move(parts));
    }
    case Kind::Json:
      if (n.lo || byte < 0x20 || byte == '"' || byte == '\\') return derive_json(n, byte);
      return json(lone(n.a, byte));
    case Kind::Cat: {
      const auto ends = this->ends(n.a);
      if (!ends.empty() && !(ends.size() == 1 && ends[0] == 0)) break;
      const Re head = cat(lone(n.a, byte), n.b);
      return ends.empty() ? head : alt({head, lone(n.b, byte)});
    }
    default: break;
  }
  return raw_step(r, byte);
}

}  // namespace espalier::re
