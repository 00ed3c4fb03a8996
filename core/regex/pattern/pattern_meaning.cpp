// What a pattern with anchors, look-ahead and look-behind means, as an expression without them.
//
// Meaning is given backwards: of(p, before, rest) is the language of "p, then rest" when what was read is in the state
// `before` of History, and `rest` is one language per state after p. So look-behind asks `before`, and look-ahead
// intersects `rest`. A star is the language that is part of itself: X = rest | round, then X, where each round takes a
// character: a round that only looks around would change nothing.
#include <algorithm>
#include <map>
#include <tuple>

#include "base/budget.hpp"
#include "base/stack.hpp"
#include "regex/pattern/look_behind.hpp"

namespace espalier::re {

namespace {

using Rest = std::vector<Re>;

class Meaning {
 public:
  // `apart`: the texts end here, but what they are part of may go on: nothing can be asked of what follows their end.
  Meaning(Store& s, const Pattern& p, bool ecma, bool apart = false) : s_(s), history_(s, p, ecma), apart_(apart) {
    word_next_ = s.cat(s.codepoints(classes(ecma).word), kAll);
    newline_next_ = s.cat(s.literal("\n"), kAll);
  }

  // Asked once for each part, state and rest: nested look-aheads ask for the same again and again.
  Re of(const Pattern& p, std::size_t before, const Rest& rest, bool moving = false) {
    Budget::tick();
    if (!p.behind && uniform(rest)) before = 0;
    const std::tuple key{&p, before, rest, moving};
    if (const auto at = known_.find(key); at != known_.end()) return at->second;
    need_stack();
    Budget::charge(0, 96 + 4 * rest.size());
    return known_[key] = moving ? moved(p, before, rest) : made(p, before, rest);
  }

  Rest all(const Pattern& p, const Rest& rest) {
    Rest out;
    for (std::size_t b = 0; b < history_.size(); ++b) out.push_back(of(p, b, rest));
    return out;
  }
  Rest same(Re r) const { return Rest(history_.size(), r); }

  Re anywhere(const Pattern& p, Re rest) {  // any text, then p, then rest
    Pattern anything;
    anything.kind = Pattern::Kind::Plain;
    anything.plain = s_.text();
    return made(anything, 0, all(p, same(rest)));
  }

 private:
  using Kind = Pattern::Kind;

  Re made(const Pattern& p, std::size_t before, const Rest& rest) {
    switch (p.kind) {
      case Kind::Plain: return then(p.plain, before, rest);
      case Kind::Sequence: {
        Rest now = rest;
        for (std::size_t i = p.parts.size(); i-- > 1;) now = all(*p.parts[i], now);
        return of(*p.parts[0], before, now);
      }
      case Kind::Either: return either(p, before, rest, false);
      case Kind::Both:
      case Kind::Without: return then(alone(p), before, rest);
      case Kind::Repeat: return rounds(*p.parts[0], p.lo, p.hi, rest)[before];
      default: return s_.both({rest[before], standing(p, before, rest[before])});
    }
  }

  // As made(), of the texts of which p takes at least one character.
  Re moved(const Pattern& p, std::size_t before, const Rest& rest) {
    switch (p.kind) {
      case Kind::Plain: return then(p.plain, before, rest, true);
      case Kind::Sequence: {
        std::vector<Rest> after{rest};  // of the last part, of the one before it …
        for (std::size_t i = p.parts.size(); i-- > 1;) after.push_back(all(*p.parts[i], after.back()));
        std::vector<Re> ways;
        Re stood = kAll;  // what the parts ask that take nothing
        for (std::size_t i = 0; i < p.parts.size() && stood != kEmpty; ++i) {
          const Rest& next = after[p.parts.size() - 1 - i];
          ways.push_back(s_.both({stood, of(*p.parts[i], before, next, true)}));
          stood = s_.both({stood, standing(*p.parts[i], before, next[before])});
        }
        return s_.alt(std::move(ways));
      }
      case Kind::Either: return either(p, before, rest, true);
      case Kind::Both:
      case Kind::Without: return then(alone(p), before, rest, true);
      case Kind::Repeat: {
        const Pattern& inner = *p.parts[0];
        if (p.hi == 0) return kEmpty;
        const auto fewer = [&](std::uint32_t n) { return p.hi == kInf ? kInf : p.hi - n; };
        const Re first = of(inner, before, rounds(inner, p.lo ? p.lo - 1 : 0, fewer(1), rest), true);
        if (p.lo < 2) return first;  // rounds that take nothing before it could be left out
        const Rest after = rounds(inner, 0, fewer(2), rest);
        return s_.alt({first, s_.both({standing(inner, before, after[before]), of(inner, before, after, true)})});
      }
      default: return kEmpty;
    }
  }

  // What p asks of the text from here on where it takes nothing. `go_on`: what follows.
  Re standing(const Pattern& p, std::size_t before, Re go_on) {
    Budget::tick();
    switch (p.kind) {
      case Kind::Plain: return s_.nullable(p.plain) ? kAll : kEmpty;
      case Kind::Both:
      case Kind::Without: return s_.nullable(alone(p)) ? kAll : kEmpty;
      case Kind::Repeat: return p.lo ? standing(*p.parts[0], before, go_on) : kAll;
      case Kind::Sequence: {
        std::vector<Re> parts;
        for (const auto& part : p.parts) parts.push_back(standing(*part, before, go_on));
        return s_.both(std::move(parts));
      }
      case Kind::Either: {
        std::vector<Re> parts;
        for (const auto& part : p.parts) parts.push_back(standing(*part, before, go_on));
        return s_.alt(std::move(parts));
      }
      case Kind::Look: return look(p, before, go_on);
      case Kind::Behind: return history_.holds(p, before) ? kAll : kEmpty;
      case Kind::NotBehind: return history_.holds(p, before) ? kEmpty : kAll;
      case Kind::Ahead:
      case Kind::NotAhead: break;
    }
    if (apart_) throw GrammarError("a regex with a look-ahead inside a look-behind; write it beside the look-behind");
    const Re ahead = of(*p.parts[0], before, same(s_.text()));
    return p.kind == Kind::Ahead ? ahead : s_.negate(ahead);
  }

  Re look(const Pattern& p, std::size_t before, Re go_on) {
    if (apart_ && s_.nullable(go_on) && p.look != Look::Begin && p.look != Look::LineBegin)
      throw GrammarError("a regex with $, \\b or \\B at the end of a look-behind; write it after the look-behind");
    switch (p.look) {
      case Look::Begin:
      case Look::LineBegin: return history_.holds(p, before) ? kEmpty : kAll;
      case Look::End: return kEpsilon;
      case Look::LineEnd: return s_.alt({kEpsilon, newline_next_});
      default: return (p.look == Look::Word) != history_.holds(p, before) ? word_next_ : s_.negate(word_next_);
    }
  }

  static bool uniform(const Rest& r) {
    return std::all_of(r.begin(), r.end(), [&](Re x) { return x == r[0]; });
  }

  Re either(const Pattern& p, std::size_t before, const Rest& rest, bool moving) {
    std::vector<Re> parts;
    for (const auto& part : p.parts) parts.push_back(of(*part, before, rest, moving));
    return s_.alt(std::move(parts));
  }

  // An operand of & or ~: a text of its own, whose anchors are its own beginning and end.
  Re alone(const Pattern& p) {
    if (p.kind == Kind::Without) return s_.both({s_.text(), s_.negate(alone(*p.parts[0]))});
    if (p.kind != Kind::Both) return of(p, 0, same(kEpsilon));
    std::vector<Re> parts;
    for (const auto& part : p.parts) parts.push_back(alone(*part));
    return s_.both(std::move(parts));
  }

  // A language without look-around, then what follows for the state after its last character.
  Re then(Re r, std::size_t before, const Rest& rest, bool moving = false) {
    const auto some = [&] {  // without ""
      return s_.nullable(r) ? s_.both({r, s_.cat(s_.codepoint(), s_.text())}) : r;
    };
    if (uniform(rest)) return s_.cat(moving ? some() : r, rest[0]);
    std::vector<Re> parts;
    if (s_.nullable(r) && !moving) parts.push_back(rest[before]);
    std::map<Re, std::vector<bool>> ways;  // rest -> states
    for (std::size_t b = 0; b < rest.size(); ++b) {
      std::vector<bool>& states = ways[rest[b]];
      states.resize(rest.size());
      states[b] = true;
    }
    ways.erase(kEmpty);
    for (const auto& [next, states] : ways)
      parts.push_back(s_.cat(s_.both({r, history_.between(before, states)}), next));
    return s_.alt(std::move(parts));
  }

  Rest rounds(const Pattern& inner, std::uint32_t lo, std::uint32_t hi, const Rest& rest) {
    constexpr std::uint32_t kRounds = 1'000;
    if (lo > kRounds || (hi != kInf && hi > kRounds)) {
      throw GrammarError("a regex with an anchor or look-around inside a group that is repeated more than " +
                         std::to_string(kRounds) + " times (but not without bound); move it out of the repeat");
    }
    Rest now = hi == kInf ? star(inner, rest) : rest;
    const auto once = [&](bool may_stop) {
      Rest next = all(inner, now);
      for (std::size_t b = 0; b < next.size() && may_stop; ++b) next[b] = s_.alt({rest[b], next[b]});
      now = std::move(next);
    };
    for (std::uint32_t i = lo; hi != kInf && i < hi; ++i) once(true);
    for (std::uint32_t i = 0; i < lo; ++i) once(false);
    return now;
  }

  Rest star(const Pattern& inner, const Rest& rest) {
    const std::tuple key{&inner, rest};
    if (const auto at = stars_.find(key); at != stars_.end()) return at->second;
    const bool alike = !inner.behind && uniform(rest);
    Rest loops;
    for (std::size_t b = 0; b < rest.size(); ++b)
      loops.push_back(b && alike ? loops[0] : s_.loop(s_.nullable(rest[b]), s_.node(rest[b]).flags & kText));
    stars_[key] = loops;
    for (std::size_t b = 0; b < (alike ? 1 : rest.size()); ++b)
      s_.close(loops[b], s_.alt({rest[b], of(inner, b, loops, true)}));
    return loops;
  }

  Store& s_;
  History history_;
  bool apart_;
  Re word_next_, newline_next_;
  std::map<std::tuple<const Pattern*, std::size_t, Rest, bool>, Re> known_;
  std::map<std::tuple<const Pattern*, Rest>, Rest> stars_;
};

}  // namespace

Re meaning(Store& store, const Pattern& p, bool search, bool ecma) {
  if (p.kind == Pattern::Kind::Plain)
    return search ? store.cat(store.text(), store.cat(p.plain, store.text())) : p.plain;
  Meaning m(store, p, ecma);
  return search ? m.anywhere(p, store.text()) : m.of(p, 0, m.same(kEpsilon));
}

Re prefixes(Store& store, const Pattern& p, bool ecma) { return Meaning(store, p, ecma, true).anywhere(p, kEpsilon); }

void check(std::string_view pattern, bool search) {
  Store& store = Store::get();
  const PatternPtr read = read_pattern(store, pattern, search);
  if (read->kind != Pattern::Kind::Plain) store.pattern(pattern, search);  // what look-around cannot say shows here
}

Re Store::pattern(std::string_view text, bool search) {
  const std::pair key{std::string(text), search};
  if (const auto at = patterns_.find(key); at != patterns_.end()) return at->second;
  const std::size_t loops = loops_.size();
  const Re r = meaning(*this, *read_pattern(*this, text, search), search, search);
  if (loops_.size() > loops) {
    Budget::keep(0, text.size() + 64);
    patterns_[key] = r;
  }
  return r;
}

Re parse(std::string_view pattern, bool search) { return Store::get().pattern(pattern, search); }

}  // namespace espalier::re
