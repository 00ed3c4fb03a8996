// Reads a regular expression. Two dialects: the one of docs/constraints.md, and ECMA-262 as JSON Schema's `pattern`
// uses it.
#include <algorithm>

#include "base/stack.hpp"
#include "regex/pattern/pattern.hpp"

namespace espalier::re {

const Classes& classes(bool ecma) {
  static const auto make = [](bool ecma) {
    using unicode::joined;
    const auto get = [](const char* name) { return *unicode::property(name); };
    Classes c;
    c.digit = ecma ? unicode::Ranges{{'0', '9'}} : get("Nd");
    if (ecma) {
      c.word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
      c.space = get("Zs");
      for (const auto& range : unicode::Ranges{{9, 13}, {0x2028, 0x2029}, {0xfeff, 0xfeff}}) c.space.push_back(range);
      c.dot = unicode::complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}});
    } else {
      for (const char* name : {"L", "N"}) {
        for (const auto& range : get(name)) c.word.push_back(range);
      }
      c.word.push_back({'_', '_'});
      c.space = get("White_Space");
      c.space.push_back({0x1c, 0x1f});
      c.dot = unicode::complement({{'\n', '\n'}});
    }
    c.word = joined(c.word);
    c.space = joined(c.space);
    return c;
  };
  static const Classes* ours = new Classes(make(false));
  static const Classes* theirs = new Classes(make(true));
  return ecma ? *theirs : *ours;
}

namespace {

constexpr int kDeepest = 500;
using unicode::Ranges;

PatternPtr node(Pattern::Kind kind) {
  auto p = std::make_unique<Pattern>();
  p->kind = kind;
  return p;
}

class Reader {
 public:
  Reader(Store& store, std::string_view text, bool ecma) : store_(store), ecma_(ecma), whole_(text) {
    for (std::size_t i = 0; i < text.size();) {
      at_.push_back(i);
      text_.push_back(take_code_point(text, i));
    }
    at_.push_back(text.size());
  }

  PatternPtr read() {
    PatternPtr p = either();
    if (i_ < text_.size()) fail("a ')' without its '('");
    return p;
  }

 private:
  struct Flags {
    bool ignore_case = false, dot_all = false, multi_line = false, verbose = false;
  };

  [[noreturn]] void fail(const std::string& what) const { fail(what, i_); }
  [[noreturn]] void fail(const std::string& what, std::size_t at) const {
    throw GrammarError("regex " + std::string(whole_.size() > 200 ? whole_.substr(0, 200) : whole_) + ": at offset " +
                       std::to_string(at_[std::min(at, at_.size() - 1)]) + ": " + what);
  }
  std::uint32_t take_code_point(std::string_view s, std::size_t& i) const {
    Re r = store_.codepoint();
    std::uint32_t c = 0;
    for (const std::size_t begin = i; i < s.size() && i < begin + 4;) {
      const auto byte = static_cast<std::uint8_t>(s[i++]);
      c = i == begin + 1 ? (byte < 0x80   ? byte
                            : byte < 0xe0 ? byte & 31
                            : byte < 0xf0 ? byte & 15
                                          : byte & 7)
                         : c << 6 | (byte & 63);
      r = store_.step(r, byte);
      if (r == kEmpty) break;
      if (store_.nullable(r)) return c;
    }
    throw GrammarError("a regex that is not well-formed UTF-8");
  }

  bool more() const { return i_ < text_.size(); }
  std::uint32_t peek(std::size_t k = 0) const { return i_ + k < text_.size() ? text_[i_ + k] : 0xffffffff; }
  bool eat(std::uint32_t c) { return peek() == c && ++i_; }
  bool eat(std::string_view s) {
    for (std::size_t k = 0; k < s.size(); ++k) {
      if (peek(k) != static_cast<std::uint8_t>(s[k])) return false;
    }
    i_ += s.size();
    return true;
  }

  PatternPtr join(Pattern::Kind kind, std::vector<PatternPtr> parts) {
    if (parts.size() == 1) return std::move(parts[0]);
    PatternPtr p = node(kind);
    std::vector<Re> plain;
    for (const PatternPtr& part : parts) {
      p->behind |= part->behind && kind != Pattern::Kind::Both;  // its operands are texts of their own
      if (part->kind == Pattern::Kind::Plain) plain.push_back(part->plain);
    }
    if (plain.size() < parts.size()) {
      p->parts = std::move(parts);
      return p;
    }
    p->kind = Pattern::Kind::Plain;
    if (kind == Pattern::Kind::Either) p->plain = store_.alt(std::move(plain));
    else if (kind == Pattern::Kind::Both) p->plain = store_.both(std::move(plain));
    else
      for (std::size_t k = plain.size(); k-- > 0;) p->plain = store_.cat(plain[k], p->plain);
    return p;
  }
  PatternPtr plain(Re r) {
    PatternPtr p = node(Pattern::Kind::Plain);
    p->plain = r;
    return p;
  }
  PatternPtr set(Ranges r, bool negated = false) {
    if (flags_.ignore_case) r = unicode::ignore_case(r);
    if (negated) r = unicode::complement(r);
    PatternPtr p = plain(store_.codepoints(r));
    p->characters = std::move(r);
    return p;
  }

  PatternPtr either() {
    need_stack();
    if (++depth_ > kDeepest) fail("groups nested deeper than " + std::to_string(kDeepest) + " levels");
    const Flags outer = flags_;
    std::vector<PatternPtr> parts;
    do parts.push_back(intersection());
    while (eat('|'));
    flags_ = outer;
    --depth_;
    return join(Pattern::Kind::Either, std::move(parts));
  }
  PatternPtr intersection() {
    std::vector<PatternPtr> parts;
    do parts.push_back(sequence());
    while (!ecma_ && eat('&'));
    return join(Pattern::Kind::Both, std::move(parts));
  }
  PatternPtr sequence() {
    std::vector<PatternPtr> parts;
    for (;;) {
      if (flags_.verbose) skip_blanks();
      if (!more() || peek() == '|' || peek() == ')' || (!ecma_ && peek() == '&')) break;
      if (PatternPtr p = quantified()) parts.push_back(std::move(p));
    }
    return parts.empty() ? plain(kEpsilon) : join(Pattern::Kind::Sequence, std::move(parts));
  }
  void skip_blanks() {
    while (more() && (peek() == ' ' || (peek() >= 9 && peek() <= 13) || peek() == '#')) {
      if (eat('#'))
        while (more() && peek() != '\n') ++i_;
      else ++i_;
    }
  }

  PatternPtr quantified() {
    if (!ecma_ && eat('~')) {
      if (flags_.verbose) skip_blanks();
      if (!more() || peek() == '|' || peek() == ')' || peek() == '&') fail("~ needs an expression after it");
      need_stack();
      if (++depth_ > kDeepest) fail("complements nested deeper than " + std::to_string(kDeepest) + " levels");
      PatternPtr inner = quantified();
      --depth_;
      if (!inner) fail("~ needs an expression after it");
      PatternPtr p = node(Pattern::Kind::Without);
      if (inner->kind == Pattern::Kind::Plain) return plain(store_.both({store_.text(), store_.negate(inner->plain)}));
      p->parts.push_back(std::move(inner));
      return p;
    }
    const std::size_t begin = i_;
    PatternPtr p = atom();
    if (!p) return p;
    for (std::uint32_t lo, hi; quantifier(lo, hi);) {
      if (p->kind == Pattern::Kind::Look && text_[begin] != '(')
        fail("nothing to repeat: an anchor has no length", begin);
      if (lo > hi) fail("a repeat with its bounds in the wrong order");
      if (peek() == '+' && !ecma_)
        fail(
            "possessive repeats (like a*+) change what matches by order of trial, which a language of texts does not "
            "have; write a* or use & and ~");
      eat('?');  // lazy: the same texts
      if (p->kind == Pattern::Kind::Plain) {
        p->plain = store_.repeat(p->plain, lo, hi);
        p->characters.clear();
        continue;
      }
      PatternPtr r = node(Pattern::Kind::Repeat);
      r->lo = lo, r->hi = hi, r->behind = p->behind;
      r->parts.push_back(std::move(p));
      p = std::move(r);
    }
    return p;
  }
  bool quantifier(std::uint32_t& lo, std::uint32_t& hi) {
    if (flags_.verbose) skip_blanks();
    if (eat('*')) {
      lo = 0, hi = kInf;
      return true;
    }
    if (eat('+')) {
      lo = 1, hi = kInf;
      return true;
    }
    if (eat('?')) {
      lo = 0, hi = 1;
      return true;
    }
    if (peek() != '{') return false;
    const std::size_t begin = i_++;
    const auto number = [&](std::uint32_t& n) {
      std::uint64_t value = 0;
      bool any = false;
      for (; peek() >= '0' && peek() <= '9'; ++i_, any = true) {
        if ((value = value * 10 + (peek() - '0')) > 1'000'000'000) fail("a repeat count above 1,000,000,000");
      }
      n = static_cast<std::uint32_t>(value);
      return any;
    };
    const bool has_lo = number(lo);
    bool has_hi = false;
    hi = lo;
    const bool comma = eat(',');
    if (comma) {
      has_hi = number(hi);
      if (!has_hi) hi = kInf;
    }
    if (!eat('}') || (!has_lo && (!has_hi || ecma_))) {
      i_ = begin;
      return false;
    }
    return true;
  }

  PatternPtr look(Look l) {
    PatternPtr p = node(Pattern::Kind::Look);
    p->look = l;
    p->behind = l != Look::End && l != Look::LineEnd;
    return p;
  }
  PatternPtr atom();
  PatternPtr group();
  bool inline_flags();
  PatternPtr escape();
  PatternPtr bracket();
  bool shorthand(std::uint32_t c, Ranges& out);
  std::uint32_t character(std::uint32_t c, bool in_class);
  std::uint32_t hex(int digits);

  Store& store_;
  bool ecma_;
  std::string_view whole_;
  std::vector<std::uint32_t> text_;
  std::vector<std::size_t> at_;
  std::size_t i_ = 0;
  int depth_ = 0;
  Flags flags_;
};

#include "regex/pattern/pattern_atoms.inc"

}  // namespace

PatternPtr read_pattern(Store& store, std::string_view text, bool ecma) { return Reader(store, text, ecma).read(); }

}  // namespace espalier::re
