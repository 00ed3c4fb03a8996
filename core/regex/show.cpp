// Expressions as text, for people who debug grammars.
#include <cstdio>

#include "regex/store.hpp"

namespace espalier::re {

std::string Store::show(Re r, int depth) const {
  const Node& n = nodes_[r];
  if (depth == 0) return "…";
  const auto bounds = [&] {
    return "{" + std::to_string(n.lo) + "," + (n.hi == kInf ? "" : std::to_string(n.hi)) + "}";
  };
  const auto joined = [&](const char* sign) {
    std::string out;
    int shown = 0;
    for (const Re x : operands(n)) {
      if (++shown > 8) return "(" + out + sign + "… " + std::to_string(n.b) + ")";
      out += (out.empty() ? "" : sign) + show(x, depth - 1);
    }
    return "(" + out + ")";
  };
  switch (n.kind) {
    case Kind::Empty: return "∅";
    case Kind::Epsilon: return "ε";
    case Kind::All: return "Σ*";
    case Kind::Tag: return "#" + std::to_string(n.a);
    case Kind::Bytes: {
      std::string out;
      unsigned count = 0;
      for (unsigned b = 0; b < 256; ++b) {
        if (!sets_[n.a].has(b)) continue;
        char text[8];
        std::snprintf(text, sizeof text, b > 32 && b < 127 ? "%c" : "\\x%02x", b);
        if (++count < 6) out += text;
      }
      return count == 1 ? out : "[" + out + (count > 5 ? "…" + std::to_string(count) : "") + "]";
    }
    case Kind::Cat:
      return show(n.a, depth - 1) + (nodes_[n.a].kind == Kind::Bytes ? show(n.b, depth) : show(n.b, depth - 1));
    case Kind::Not: return "~" + show(n.a, depth - 1);
    case Kind::Repeat: return r == text_ ? "text" : r == codepoint_ ? "." : show(n.a, depth - 1) + bounds();
    case Kind::Json: return "json" + (n.lo ? std::to_string(n.lo) : "") + "(" + show(n.a, depth - 1) + ")";
    case Kind::Alt: return r == codepoint_ ? "." : joined("|");
    case Kind::And: return joined("&");
    case Kind::Loop: return "X" + std::to_string(n.a);
    case Kind::Words:
      return words_[word_lists_[n.a][0]].text.substr(n.b) +
             (word_lists_[n.a].size() > 1 ? "|… " + std::to_string(word_lists_[n.a].size()) : "");
  }
  return "";
}

}  // namespace espalier::re
