// Derivatives of the bodies of JSON strings: escapes are read off while the decoded text is followed.
#include "regex/store.hpp"

namespace espalier::re {

// A JSON string body: phase 0 between characters, 1 after a backslash, 2 in the digits of \uXXXX, 3 after a high
// surrogate, 4 after its backslash, 5 in the digits of the low one. hi = high surrogate << 20 | digits << 16 | value.
Re Store::derive_json(const Node& n, std::uint8_t byte) {
  if (n.lo == 0) {
    if (byte < 0x20 || byte == '"') return kEmpty;
    if (byte == '\\') return json(n.a, 1);
    if (nodes_[n.a].kind == Kind::And && !rows_[n.a]) return json(derive(n.a, byte));
    return json(raw_step(n.a, byte));
  }
  return json_escape(n, byte);
}

Re Store::json_escape(const Node& n, std::uint8_t byte) {
  const auto decoded = [&](std::uint32_t c) {
    Re r = n.a;
    const auto put = [&](std::uint32_t b) { r = raw_step(r, static_cast<std::uint8_t>(b)); };
    if (c < 0x80) {
      put(c);
    } else if (c < 0x800) {
      put(0xc0 | c >> 6);
      put(0x80 | (c & 63));
    } else if (c < 0x10000) {
      put(0xe0 | c >> 12);
      put(0x80 | (c >> 6 & 63));
      put(0x80 | (c & 63));
    } else {
      put(0xf0 | c >> 18);
      put(0x80 | (c >> 12 & 63));
      put(0x80 | (c >> 6 & 63));
      put(0x80 | (c & 63));
    }
    return json(r);
  };
  switch (n.lo) {
    case 1: {
      if (byte == 'u') return json(n.a, 2);
      static constexpr char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
      for (int i = 0; from[i]; ++i) {
        if (byte == static_cast<std::uint8_t>(from[i])) return decoded(static_cast<std::uint8_t>(to[i]));
      }
      return kEmpty;
    }
    case 3: return byte == '\\' ? json(n.a, 4, n.hi) : kEmpty;
    case 4: return byte == 'u' ? json(n.a, 5, n.hi) : kEmpty;
    default: break;
  }
  const int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                    : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                 : -1;
  if (digit < 0) return kEmpty;
  const std::uint32_t count = (n.hi >> 16 & 15) + 1, value = (n.hi & 0xffff) << 4 | static_cast<std::uint32_t>(digit),
                      high = n.hi >> 20;
  const bool low = count == 2 && value >= 0xdc && value < 0xe0;  // digits that cannot become a character end here
  if (n.lo == 5 ? (count == 1 && value != 0xd) || (count == 2 && !low) : low) return kEmpty;
  if (count < 4) return json(n.a, n.lo, high << 20 | count << 16 | value);
  if (n.lo == 5) return value >= 0xdc00 && value < 0xe000 ? decoded(0x10000 + (high << 10) + (value - 0xdc00)) : kEmpty;
  if (value >= 0xd800 && value < 0xdc00) return json(n.a, 3, (value - 0xd800) << 20);
  return value >= 0xdc00 && value < 0xe000 ? kEmpty : decoded(value);
}

Re Store::json(Re r, std::uint32_t phase, std::uint32_t read) {
  if (r == kEmpty || (r == kEpsilon && phase == 0)) return r;
  // Decided on the decoded side: to find that a body is empty through all its escapes would take a million steps.
  if (phase == 0 && nodes_[r].flags & kCheck) {
    if (!live(r)) return kEmpty;
    const Re body = intern({.kind = Kind::Json, .a = r});
    nodes_[body].flags |= kLive;
    return body;
  }
  return intern({.kind = Kind::Json, .a = r, .lo = phase, .hi = read});
}

}  // namespace espalier::re
