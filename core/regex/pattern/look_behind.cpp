// The automaton of what was read: see look_behind.hpp.
#include "regex/pattern/look_behind.hpp"

#include <algorithm>

#include "base/budget.hpp"

namespace espalier::re {

namespace {

constexpr std::size_t kStates = 256, kPlaces = 20'000;

unicode::Ranges common(const unicode::Ranges& a, const unicode::Ranges& b) {
  unicode::Ranges out;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size(); a[i].second < b[j].second ? ++i : ++j) {
    const auto lo = std::max(a[i].first, b[j].first), hi = std::min(a[i].second, b[j].second);
    if (lo <= hi) out.emplace_back(lo, hi);
  }
  return out;
}

}  // namespace

History::History(Store& s, const Pattern& p, bool ecma) : s_(s), ecma_(ecma) {
  collect(p);
  const auto wide = [](const Pattern* p) { return p != nullptr; };
  std::ranges::any_of(patterns_, wide) ? by_derivatives() : by_last_character();
}

void History::collect(const Pattern& p) {
  using Kind = Pattern::Kind;
  const auto once = [&](const unicode::Ranges& characters, const Pattern* wide) {
    for (std::size_t i = 0; i < characters_.size() && !wide; ++i) {
      if (!patterns_[i] && characters_[i] == characters) return void(asked_[&p] = i);
    }
    asked_[&p] = characters_.size();
    characters_.push_back(characters);
    patterns_.push_back(wide);
  };
  if (p.kind == Kind::Look && p.behind) {
    const unicode::Ranges newline{{'\n', '\n'}};
    once(p.look == Look::Begin       ? unicode::complement({})
         : p.look == Look::LineBegin ? unicode::complement(newline)
                                     : classes(ecma_).word,
         nullptr);
  } else if (p.kind == Kind::Behind || p.kind == Kind::NotBehind) {
    const Pattern& inner = *p.parts[0];
    const bool one = inner.kind == Kind::Plain && !inner.characters.empty();
    return once(one ? unicode::joined(inner.characters) : unicode::Ranges{},
                one ? nullptr : &inner);  // has its own history
  }
  for (const auto& part : p.parts) collect(*part);
}

bool History::holds(const Pattern& look, std::size_t state) const { return holds_[state][asked_.at(&look)]; }

void History::by_last_character() {
  holds_ = {std::vector<bool>(characters_.size(), false)};
  std::vector<std::pair<unicode::Ranges, std::vector<bool>>> sorts{{unicode::complement({}), {}}};
  for (const unicode::Ranges& set : characters_) {
    std::vector<std::pair<unicode::Ranges, std::vector<bool>>> finer;
    for (const auto& [all, held] : sorts) {
      for (const bool in : {false, true}) {
        unicode::Ranges part = common(all, in ? set : unicode::complement(set));
        if (part.empty()) continue;
        finer.emplace_back(std::move(part), held);
        finer.back().second.push_back(in);
      }
    }
    sorts = std::move(finer);
  }
  for (const auto& [part, held] : sorts) {
    const auto at = std::ranges::find(holds_, held);
    sorts_.emplace_back(part, at - holds_.begin());
    if (at == holds_.end()) holds_.push_back(held);
  }
  if (holds_.size() > kStates) throw GrammarError("a regex with look-behinds for more than 256 sorts of characters");
}

void History::by_derivatives() {
  std::vector<Re> remain;
  for (std::size_t i = 0; i < patterns_.size(); ++i)
    remain.push_back(patterns_[i] ? prefixes(s_, *patterns_[i], ecma_)
                                  : s_.cat(s_.text(), s_.codepoints(characters_[i])));
  remain.push_back(s_.text());
  std::map<std::vector<Re>, std::size_t> known;
  const auto place = [&](const std::vector<Re>& at) {
    const auto [entry, fresh] = known.try_emplace(at, places_.size());
    if (!fresh) return entry->second;
    places_.push_back({at, {}, kNone});
    if (s_.nullable(at.back())) {
      places_.back().state = holds_.size();
      place_of_.push_back(entry->second);
      std::vector<bool> held;
      for (std::size_t i = 0; i + 1 < at.size(); ++i) held.push_back(s_.nullable(at[i]));
      holds_.push_back(std::move(held));
    }
    if (holds_.size() > kStates || places_.size() > kPlaces)
      throw GrammarError(
          "a regex whose look-behinds have to remember more than 256 different beginnings; write a shorter "
          "look-behind, or say what stands before with & and ~");
    return entry->second;
  };
  place(remain);
  for (std::size_t i = 0; i < places_.size(); ++i) {
    Budget::charge(1, 256 * sizeof(std::size_t));
    std::vector<std::size_t> to(256, kNone);
    for (unsigned b = 0; b < 256; ++b) {
      std::vector<Re> next = places_[i].remain;
      for (Re& x : next) x = s_.step(x, static_cast<std::uint8_t>(b));
      if (next.back() != kEmpty) to[b] = place(next);
    }
    places_[i].to = std::move(to);
  }
}

Re History::between(std::size_t from, const std::vector<bool>& into) {
  if (places_.empty()) {
    unicode::Ranges last;
    for (const auto& [part, state] : sorts_) {
      if (into[state]) last.insert(last.end(), part.begin(), part.end());
    }
    return last.empty() ? kEmpty : s_.cat(s_.text(), s_.codepoints(unicode::joined(last)));
  }
  const auto [at, fresh] = loops_.try_emplace(into);
  std::vector<Re>& loops = at->second;
  const auto ends = [&](std::size_t i) { return places_[i].state != kNone && into[places_[i].state]; };
  const auto going_on = [&](std::size_t i) {
    std::map<std::size_t, ByteSet> sets;
    for (unsigned b = 0; b < 256; ++b) {
      if (places_[i].to[b] != kNone) sets[places_[i].to[b]].add(b);
    }
    std::vector<Re> parts;
    for (const auto& [to, set] : sets) parts.push_back(s_.cat(s_.bytes(set), loops[to]));
    return s_.alt(std::move(parts));
  };
  if (fresh) {
    for (std::size_t i = 0; i < places_.size(); ++i) loops.push_back(s_.loop(ends(i), places_[i].state != kNone));
    for (std::size_t i = 0; i < places_.size(); ++i) {
      Budget::tick();
      s_.close(loops[i], ends(i) ? s_.alt({kEpsilon, going_on(i)}) : going_on(i));
    }
  }
  return going_on(place_of_[from]);
}

}  // namespace espalier::re
