// Derivatives of the bodies of JSON strings: escapes are read off while the decoded text is followed.
#include "base/utf8.hpp"
#include "regex/store.hpp"

namespace espalier::re {

Re Store::derive_json(const StringBody& n, std::uint8_t byte) {
  if (n.phase == 0) {
    if (byte < 0x20 || byte == '"') return kEmpty;
    if (byte == '\\') return json(n.text, 1);
    if (nodes_[n.text].kind == Kind::And && !rows_[n.text]) return json(derive(n.text, byte));
    return json(raw_step(n.text, byte));
  }
  return json_escape(n, byte);
}

Re Store::json_escape(const StringBody& n, std::uint8_t byte) {
  const auto decoded = [&](std::uint32_t c) {
    Re r = n.text;
    utf8(c, [&](std::uint32_t b) { r = raw_step(r, static_cast<std::uint8_t>(b)); });
    return json(r);
  };
  switch (n.phase) {
    case 1: {
      if (byte == 'u') return json(n.text, 2);
      static constexpr char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
      for (int i = 0; from[i]; ++i) {
        if (byte == static_cast<std::uint8_t>(from[i])) return decoded(static_cast<std::uint8_t>(to[i]));
      }
      return kEmpty;
    }
    case 3: return byte == '\\' ? json(n.text, 4, n.read) : kEmpty;
    case 4: return byte == 'u' ? json(n.text, 5, n.read) : kEmpty;
    default: break;
  }
  const int digit = byte >= '0' && byte <= '9'   ? byte - '0'
                    : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                    : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                 : -1;
  if (digit < 0) return kEmpty;
  const std::uint32_t count = (n.read >> 16 & 15) + 1,
                      value = (n.read & 0xffff) << 4 | static_cast<std::uint32_t>(digit), high = n.read >> 20;
  const bool low = count == 2 && value >= 0xdc && value < 0xe0;  // digits that cannot become a character end here
  if (n.phase == 5 ? (count == 1 && value != 0xd) || (count == 2 && !low) : low) return kEmpty;
  if (count < 4) return json(n.text, n.phase, high << 20 | count << 16 | value);
  if (n.phase == 5)
    return value >= 0xdc00 && value < 0xe000 ? decoded(0x10000 + (high << 10) + (value - 0xdc00)) : kEmpty;
  if (value >= 0xd800 && value < 0xdc00) return json(n.text, 3, (value - 0xd800) << 20);
  return value >= 0xdc00 && value < 0xe000 ? kEmpty : decoded(value);
}

Re Store::json(Re r, std::uint32_t phase, std::uint32_t read) {
  if (r == kEmpty || (r == kEpsilon && phase == 0)) return r;
  // Decided on the decoded side: to find that a body is empty through all its escapes would take a million steps.
  if (phase == 0 && nodes_[r].flags & kCheck) {
    if (!live(r)) return kEmpty;
    const Re body = intern(Node(StringBody{r, 0, 0}));
    nodes_[body].flags |= kLive;
    return body;
  }
  return intern(Node(StringBody{r, phase, read}));
}

}  // namespace espalier::re
