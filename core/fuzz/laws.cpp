// The laws, as code: each input is walked by bytes and by masks.
#include "fuzz/laws.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "masks/guide.hpp"

namespace espalier::fuzz {

namespace {

constexpr std::size_t kSteps = 24;

const std::vector<std::string>& vocabulary() {
  static const std::vector<std::string> tokens = [] {
    std::vector<std::string> all;
    for (int b = 0; b < 256; ++b) all.emplace_back(1, static_cast<char>(b));
    for (const char* longer :
         {"ab",    "abc",   "aa", "bab",      "  ",       "\n  ", "{\"", "\":",    "\": ", "\",",  "\", \"", "\"}",
          "}}",    "[]",    "],", "[[",       "10",       "00",   "0.5", "-1",     "1e",   "true", "false",  "null",
          "\\u00", "\\ud8", "é",  "\xe2\x82", "\xf0\x9f", "a\"",  "id",  "name\"", "(a",   "))",   "ababab"}) {
      all.emplace_back(longer);
    }
    all.emplace_back();  // a special token: never allowed
    all.emplace_back();  // the end
    return all;
  }();
  return tokens;
}

std::string shown(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, c >= 0x20 && c < 0x7f ? "%c" : "\\x%02x", static_cast<std::uint8_t>(c));
    out += escaped;
  }
  return out;
}

struct Followed {
  std::shared_ptr<Matcher> matcher;
  Working working;
  Masker masker;
  std::vector<Token> allowed{};
  std::string written{};

  explicit Followed(std::shared_ptr<Machine> machine)
      : matcher(std::make_shared<Matcher>(std::move(machine), "the input", limits())),
        working(*matcher, limits().compile_ms),
        masker(*matcher, trie(), {static_cast<Token>(vocabulary().size() - 1)}) {}

  static std::shared_ptr<const Trie> trie() {
    static const auto all = std::make_shared<const Trie>(vocabulary());
    return all;
  }

  State walk(State s, std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size() && s; ++i) s = matcher->advance(s, bytes.substr(i, 1));
    return s;
  }

  void check(State s, bool exact) {
    const auto& words = vocabulary();
    std::vector<std::uint32_t> mask((words.size() + 31) / 32);
    masker.prepare(s);
    masker.fill(s, mask.data());
    allowed.clear();
    for (Token t = 0; t + 2 < words.size(); ++t) {
      const bool in_mask = mask[t >> 5] >> (t & 31) & 1;
      if (in_mask != (walk(s, words[t]) != 0))
        std::fprintf(stderr, "after %s the token %s is in the mask: %d\n", shown(written).c_str(),
                     shown(words[t]).c_str(), in_mask);
      require(in_mask == (walk(s, words[t]) != 0), "a token is in the mask iff its bytes are not refused");
      if (t >= 256) require((matcher->advance(s, words[t]) != 0) == in_mask, "bytes at once and one by one agree");
      if (in_mask) allowed.push_back(t);
    }
    const Token special = static_cast<Token>(words.size() - 2), end = special + 1;
    require(!(mask[special >> 5] >> (special & 31) & 1), "a special token is never allowed");
    require((mask[end >> 5] >> (end & 31) & 1) == matcher->accepts(s), "the end is in the mask iff the text may end");
    if (exact) require(!allowed.empty() || matcher->accepts(s), "what is not refused can end or go on");
    check_forced(s);
  }

  void check_forced(State s) {
    const std::string forced = matcher->forced(s, 8);
    require(forced.empty() || !matcher->accepts(s), "where the text may end nothing is forced");
    for (const char c : forced) {
      for (int b = 0; b < 256; ++b) {
        const char byte = static_cast<char>(b);
        require((matcher->advance(s, {&byte, 1}) != 0) == (byte == c), "a forced byte is the only one allowed");
      }
      s = matcher->advance(s, {&c, 1});
    }
  }
};

}  // namespace

const Limits& limits() {
  static const Limits all{.compile_ms = 300, .states = 50'000, .memory_mb = 64, .mask_us = 0};
  return all;
}

void require(bool holds, const char* law) {
  if (holds) return;
  std::fprintf(stderr, "LAW BROKEN: %s\n", law);
  std::abort();
}

void follow(std::shared_ptr<Machine> machine, Input choices, bool exact) {
  Followed f(std::move(machine));
  State s = f.matcher->start();
  for (std::size_t i = 0; s && i < kSteps; ++i) {
    f.check(s, exact);
    if (f.matcher->accepts(s)) require(f.matcher->matches(f.written), "a text that may end here matches");
    if (i >= choices.size() || f.allowed.empty()) return;
    const std::string& token = vocabulary()[f.allowed[choices[i] % f.allowed.size()]];
    f.written += token;
    s = f.matcher->advance(s, token);
  }
}

void read(std::shared_ptr<Machine> machine, Input data, bool exact) {
  Followed f(std::move(machine));
  State s = f.matcher->start();
  const std::string_view all = text(data);
  for (std::size_t i = 0; s && i < all.size(); ++i) {
    if (i < kSteps || i + 1 == all.size()) f.check(s, exact);
    s = f.matcher->advance(s, all.substr(i, 1));
  }
  require((s && f.matcher->accepts(s)) == f.matcher->matches(all), "byte by byte and at once a text matches alike");
}

std::string_view text(Input data) { return {reinterpret_cast<const char*>(data.data()), data.size()}; }

}  // namespace espalier::fuzz
