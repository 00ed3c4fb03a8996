// What a pattern with anchors and look-ahead means, as an expression without them.
//
// Meaning is given backwards: meaning(p, before, rest) is the language of "p, then rest" when the character before is
// of a known sort, and `rest` is one language per sort of the last character of p. So ^ and \b look at `before`, and $
// and look-ahead intersect `rest`.
#include <array>
#include <map>
#include <tuple>

#include "base/budget.hpp"
#include "base/stack.hpp"
#include "regex/pattern.hpp"

namespace espalier::re {

namespace {

enum Before { kStart, kWord, kNewline, kOther, kSorts };
using Rest = std::array<Re, kSorts>;

class Meaning {
 public:
  Meaning(Store& s, bool ecma) : s_(s) {
    const Classes& known = classes(ecma);
    Re word = s.codepoints(known.word), newline = s.codepoints(unicode::Ranges{{'\n', '\n'}});
    unicode::Ranges rest = known.word;
    rest.push_back({'\n', '\n'});
    Re other = s.codepoints(unicode::complement(unicode::joined(rest)));
    sort_ = {kEmpty, word, newline, other};
  }

  // Asked once for each part, sort and rest: nested look-aheads ask for the same again and again.
  Re of(const Pattern& p, Before before, const Rest& rest) {
    Budget::tick();
    const std::tuple key{&p, before, rest};
    if (const auto at = known_.find(key); at != known_.end()) return at->second;
    need_stack();
    Budget::charge(0, 96);
    return known_[key] = made(p, before, rest);
  }

  Rest all(const Pattern& p, const Rest& rest) {
    Rest out;
    for (int b = 0; b < kSorts; ++b)
      out[b] = b > 0 && !p.looks && uniform(rest) ? out[b - 1] : of(p, static_cast<Before>(b), rest);
    return out;
  }
  static Rest same(Re r) { return {r, r, r, r}; }

 private:
  Re made(const Pattern& p, Before before, const Rest& rest) {
    switch (p.kind) {
      case Pattern::Kind::Plain: return then(p.plain, before, rest);
      case Pattern::Kind::Sequence: {
        Rest now = rest;
        for (std::size_t i = p.parts.size(); i-- > 1;) now = all(*p.parts[i], now);
        return of(*p.parts[0], before, now);
      }
      case Pattern::Kind::Either: {
        std::vector<Re> parts;
        for (const auto& part : p.parts) parts.push_back(of(*part, before, rest));
        return s_.alt(std::move(parts));
      }
      case Pattern::Kind::Both:
      case Pattern::Kind::Without: return then(alone(p), before, rest);
      case Pattern::Kind::Repeat: return repeated(p, before, rest);
      case Pattern::Kind::Look: return look(p.look, before, rest);
      case Pattern::Kind::Ahead: return s_.both({rest[before], of(*p.parts[0], before, same(s_.text()))});
      case Pattern::Kind::NotAhead: return s_.both({rest[before], s_.negate(of(*p.parts[0], before, same(s_.text())))});
    }
    return kEmpty;
  }

  static bool uniform(const Rest& r) { return r[0] == r[1] && r[1] == r[2] && r[2] == r[3]; }

  // An operand of & or ~: a text of its own, whose anchors are its own beginning and end.
  Re alone(const Pattern& p) {
    if (p.kind == Pattern::Kind::Without) return s_.both({s_.text(), s_.negate(alone(*p.parts[0]))});
    if (p.kind != Pattern::Kind::Both) return of(p, kStart, same(kEpsilon));
    std::vector<Re> parts;
    for (const auto& part : p.parts) parts.push_back(alone(*part));
    return s_.both(std::move(parts));
  }

  // A language without look-around, then what follows for the sort of its last character.
  Re then(Re r, Before before, const Rest& rest) {
    if (uniform(rest)) return s_.cat(r, rest[0]);
    std::vector<Re> parts;
    if (s_.nullable(r)) parts.push_back(rest[before]);
    for (int b = kWord; b < kSorts; ++b) {
      if (rest[b] != kEmpty) parts.push_back(s_.cat(s_.both({r, s_.cat(s_.text(), sort_[b])}), rest[b]));
    }
    return s_.alt(std::move(parts));
  }

  Re look(Look l, Before before, const Rest& rest) {
    const Re go_on = rest[before];
    const Re word_next = s_.cat(sort_[kWord], kAll);
    switch (l) {
      case Look::Begin: return before == kStart ? go_on : kEmpty;
      case Look::End: return s_.both({go_on, kEpsilon});
      case Look::LineBegin: return before == kStart || before == kNewline ? go_on : kEmpty;
      case Look::LineEnd: return s_.both({go_on, s_.alt({kEpsilon, s_.cat(sort_[kNewline], kAll)})});
      case Look::Word: return s_.both({go_on, before == kWord ? s_.negate(word_next) : word_next});
      case Look::NotWord: return s_.both({go_on, before == kWord ? word_next : s_.negate(word_next)});
    }
    return kEmpty;
  }

  // Rounds with look-around are written out one by one; a star is the least solution of its equation, found in few
  // rounds when only the first or last round can look.
  Re repeated(const Pattern& p, Before before, const Rest& rest) {
    const Pattern& inner = *p.parts[0];
    constexpr std::uint32_t kRounds = 64;
    if (p.lo > kRounds || (p.hi != kInf && p.hi > kRounds)) {
      throw GrammarError("a regex with an anchor or look-ahead inside a group that is repeated more than " +
                         std::to_string(kRounds) + " times; move it out of the repeat");
    }
    Rest now = rest;
    if (p.hi == kInf) {
      bool settled = false;
      for (std::uint32_t i = 0; i < kRounds / 8 && !settled; ++i) {
        Rest next = all(inner, now);
        for (int b = 0; b < kSorts; ++b) next[b] = s_.alt({rest[b], next[b]});
        settled = next == now;
        now = next;
      }
      if (!settled)
        throw GrammarError(
            "a regex with an anchor or look-ahead inside a group that is repeated without bound; move it out of the "
            "repeat");
    }
    for (std::uint32_t i = p.hi == kInf ? 0 : p.lo; p.hi != kInf && i < p.hi; ++i) {
      Rest next = all(inner, now);
      for (int b = 0; b < kSorts; ++b) next[b] = s_.alt({rest[b], next[b]});
      now = next;
    }
    for (std::uint32_t i = 0; i < p.lo; ++i) now = all(inner, now);
    return now[before];
  }

  Store& s_;
  std::array<Re, kSorts> sort_;
  std::map<std::tuple<const Pattern*, Before, Rest>, Re> known_;
};

}  // namespace

Re meaning(Store& store, const Pattern& p, bool search, bool ecma) {
  if (!search)
    return p.kind == Pattern::Kind::Plain ? p.plain : Meaning(store, ecma).of(p, kStart, Meaning::same(kEpsilon));
  if (p.kind == Pattern::Kind::Plain) return store.cat(store.text(), store.cat(p.plain, store.text()));
  Meaning m(store, ecma);
  Pattern anything;
  anything.kind = Pattern::Kind::Plain;
  anything.plain = store.text();
  return m.of(anything, kStart, m.all(p, Meaning::same(store.text())));
}

void check(std::string_view pattern, bool search) { read_pattern(Store::get(), pattern, search); }

Re parse(std::string_view pattern, bool search) {
  Store& store = Store::get();
  return meaning(store, *read_pattern(store, pattern, search), search, search);
}

}  // namespace espalier::re
