// Expressions as text, for people who debug grammars.
#include <cstdio>

#include "regex/store.hpp"

namespace espalier::re {

std::string Store::show(Re r, int depth) const {
  const Node& n = nodes_[r];
  if (depth == 0) return "…";
  const auto bounds = [&] {
    const auto [of, lo, hi] = n.repeat();
    return "{" + std::to_string(lo) + "," + (hi == kInf ? "" : std::to_string(hi)) + "}";
  };
  const auto joined = [&](const char* sign) {
    std::string out;
    int shown = 0;
    for (const Re x : operands(n)) {
      if (++shown > 8) return "(" + out + sign + "… " + std::to_string(n.operands().count) + ")";
      out += (out.empty() ? "" : sign) + show(x, depth - 1);
    }
    return "(" + out + ")";
  };
  switch (n.kind) {
    case Kind::Empty: return "∅";
    case Kind::Epsilon: return "ε";
    case Kind::All: return "Σ*";
    case Kind::Tag: return "#" + std::to_string(n.tag());
    case Kind::Bytes: {
      std::string out;
      unsigned count = 0;
      for (unsigned b = 0; b < 256; ++b) {
        if (!set(r).has(b)) continue;
        char text[8];
        std::snprintf(text, sizeof text, b > 32 && b < 127 ? "%c" : "\\x%02x", b);
        if (++count < 6) out += text;
      }
      return count == 1 ? out : "[" + out + (count > 5 ? "…" + std::to_string(count) : "") + "]";
    }
    case Kind::Cat: {
      const auto [head, tail] = n.cat();
      return show(head, depth - 1) + show(tail, nodes_[head].kind == Kind::Bytes ? depth : depth - 1);
    }
    case Kind::Not: return "~" + show(n.negated(), depth - 1);
    case Kind::Repeat: return r == text_ ? "text" : r == codepoint_ ? "." : show(n.repeat().of, depth - 1) + bounds();
    case Kind::Json:
      return "json" + (n.whole_string() ? "" : std::to_string(n.json().phase)) + "(" + show(n.json().text, depth - 1) +
             ")";
    case Kind::Alt: return r == codepoint_ ? "." : joined("|");
    case Kind::And: return joined("&");
    case Kind::Tree: {
      const Tree t = trees_[n.tree()];
      return show(t.rest, depth - 1) + "|… " + std::to_string(t.count);
    }
    case Kind::Loop: return "X" + std::to_string(n.loop().number);
    case Kind::Words: {
      const std::vector<WordId>& list = word_lists_[n.words().list];
      return words_[list[0]].text.substr(n.words().depth) +
             (list.size() > 1 ? "|… " + std::to_string(list.size()) : "");
    }
  }
  return "";
}

}  // namespace espalier::re
