// How strings are spelled in a document.
#include "json/expand/spelling.hpp"

#include <algorithm>
#include <cstdint>

#include "json/value.hpp"

namespace espalier::json {

namespace {

std::string ascii(std::string_view quoted) {  // as json.dumps writes it by default: \uXXXX beyond ASCII
  static constexpr char hex[] = "0123456789abcdef";
  std::string out;
  auto unit = [&](std::uint32_t u) {
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out += hex[u >> shift & 15];
  };
  for (std::size_t i = 0; i < quoted.size();) {
    const auto c = static_cast<unsigned char>(quoted[i]);
    if (c < 0x80) {
      out += quoted[i++];
      continue;
    }
    const std::size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    std::uint32_t point = c & (0xffu >> (n + 1));
    for (std::size_t k = 1; k < n && i + k < quoted.size(); ++k)
      point = point << 6 | (static_cast<unsigned char>(quoted[i + k]) & 63u);
    i += n;
    if (point >= 0x10000) {
      unit(0xd800 + ((point - 0x10000) >> 10));
      unit(0xdc00 + ((point - 0x10000) & 0x3ff));
    } else {
      unit(point);
    }
  }
  return out;
}

}  // namespace

bool matches(Re r, std::string_view s) {
  for (const char c : s) {
    r = re::step(r, static_cast<std::uint8_t>(c));
    if (r == re::kEmpty) return false;
  }
  return re::nullable(r);
}

bool writable(std::string_view decoded) {
  const bool ascii_only =
      std::all_of(decoded.begin(), decoded.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return ascii_only || matches(re::text(), decoded);
}

std::vector<std::string> spellings(std::string_view decoded) {
  if (!writable(decoded)) return {};
  std::vector<std::string> out{quote(decoded)};
  std::string escaped = ascii(out[0]);
  if (escaped != out[0]) out.push_back(std::move(escaped));
  return out;
}

}  // namespace espalier::json
