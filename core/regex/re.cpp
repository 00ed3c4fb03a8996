// The functions of re.hpp: the store under the engine's lock.
#include "regex/re.hpp"

#include "base/budget.hpp"
#include "regex/store.hpp"

namespace espalier::re {

namespace {
Store& store() { return Store::get(); }
}  // namespace

Re bytes(const ByteSet& s) {
  const EngineGuard guard(engine_lock());
  return store().bytes(s);
}
Re literal(std::string_view s) {
  const EngineGuard guard(engine_lock());
  return store().literal(s);
}
Re cat(Re a, Re b) {
  const EngineGuard guard(engine_lock());
  return store().cat(a, b);
}
Re alt(Re a, Re b) {
  const EngineGuard guard(engine_lock());
  return store().alt({a, b});
}
Re alt(std::span<const Re> v) {
  const EngineGuard guard(engine_lock());
  return store().alt({v.begin(), v.end()});
}
Re both(Re a, Re b) {
  const EngineGuard guard(engine_lock());
  return store().both({a, b});
}
Re negate(Re r) {
  const EngineGuard guard(engine_lock());
  return store().negate(r);
}
Re repeat(Re r, std::uint32_t lo, std::uint32_t hi) {
  const EngineGuard guard(engine_lock());
  return store().repeat(r, lo, hi);
}
Re mark(Re r, Tag t) {
  const EngineGuard guard(engine_lock());
  return store().mark(r, t);
}
Re json_string(Re r) {
  const EngineGuard guard(engine_lock());
  return store().json(r);
}
bool within(Re lexeme, Re body, Re& out) {
  const EngineGuard guard(engine_lock());
  return store().within(lexeme, body, out);
}
bool marked(Re r) {
  const EngineGuard guard(engine_lock());
  return store().node(r).flags & kTagged;
}
WordId word(std::string_view s, Tag t) {
  const EngineGuard guard(engine_lock());
  return store().word(s, t);
}
Re words(std::vector<WordId> list) {
  const EngineGuard guard(engine_lock());
  return store().words(std::move(list));
}
Re codepoint() {
  const EngineGuard guard(engine_lock());
  return store().codepoint();
}
Re text() {
  const EngineGuard guard(engine_lock());
  return store().text();
}
Re codepoints(std::span<const std::pair<std::uint32_t, std::uint32_t>> ranges) {
  const EngineGuard guard(engine_lock());
  return store().codepoints(ranges);
}

Re step(Re r, std::uint8_t byte) {
  const EngineGuard guard(engine_lock());
  return store().step(r, byte);
}
bool nullable(Re r) {
  const EngineGuard guard(engine_lock());
  return store().nullable(r);
}
std::span<const Tag> ends(Re r) {
  const EngineGuard guard(engine_lock());
  return store().ends(r);
}
bool empty(Re r) {
  const EngineGuard guard(engine_lock());
  return !store().live(r);
}

ByteSet first(Re r) {
  const EngineGuard guard(engine_lock());
  ByteSet s;
  for (unsigned b = 0; b < 256; ++b) {
    if (store().step(r, static_cast<std::uint8_t>(b)) != kEmpty) s.add(b);
  }
  return s;
}

}  // namespace espalier::re
