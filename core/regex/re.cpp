// The functions of re.hpp: those of the store in which this thread works.
#include "regex/re.hpp"

#include "regex/store.hpp"

namespace espalier::re {

namespace {
Store& store() { return Store::get(); }
}  // namespace

Re bytes(const ByteSet& s) { return store().bytes(s); }
Re literal(std::string_view s) { return store().literal(s); }
Re cat(Re a, Re b) { return store().cat(a, b); }
Re alt(Re a, Re b) { return store().alt({a, b}); }
Re alt(std::span<const Re> v) { return store().alt({v.begin(), v.end()}); }
Re both(Re a, Re b) { return store().both({a, b}); }
Re negate(Re r) { return store().negate(r); }
Re repeat(Re r, std::uint32_t lo, std::uint32_t hi) { return store().repeat(r, lo, hi); }
Re mark(Re r, Tag t) { return store().mark(r, t); }
Re json_string(Re r) { return store().json(r); }
bool within(Re lexeme, Re body, Re& out) { return store().within(lexeme, body, out); }
bool marked(Re r) { return store().node(r).flags & kTagged; }
WordId word(std::string_view s, Tag t) { return store().word(s, t); }
Re words(std::vector<WordId> list) { return store().words(std::move(list)); }
Re grow(Re words, std::string_view word, Re rest) { return store().grow(words, word, rest); }
Re codepoint() { return store().codepoint(); }
Re text() { return store().text(); }
Re codepoints(std::span<const std::pair<std::uint32_t, std::uint32_t>> ranges) { return store().codepoints(ranges); }

Re step(Re r, std::uint8_t byte) { return store().step(r, byte); }
bool nullable(Re r) { return store().nullable(r); }
std::span<const Tag> ends(Re r) { return store().ends(r); }
bool empty(Re r) { return !store().live(r); }

ByteSet first(Re r) {
  ByteSet s;
  for (unsigned b = 0; b < 256; ++b) {
    if (store().step(r, static_cast<std::uint8_t>(b)) != kEmpty) s.add(b);
  }
  return s;
}

}  // namespace espalier::re
