// Sets of code points as expressions over the bytes of UTF-8.
#include <algorithm>

#include "regex/store.hpp"

namespace espalier::re {

namespace {

struct Sequence {
  int length;
  std::uint8_t lo[4], hi[4];
};  // one byte range per position

void encode(std::uint32_t c, int length, std::uint8_t* out) {
  static constexpr std::uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (int i = length - 1; i > 0; --i, c >>= 6) out[i] = static_cast<std::uint8_t>(0x80 | (c & 63));
  out[0] = static_cast<std::uint8_t>(lead[length] | c);
}

// Cuts [lo, hi], all of one length, into products of byte ranges.
void slice_up(std::uint32_t lo, std::uint32_t hi, int length, std::vector<Sequence>& out) {
  for (int i = 1; i < length; ++i) {
    const std::uint32_t low = (1u << (6 * i)) - 1;  // the last i bytes
    if ((lo & ~low) == (hi & ~low)) continue;
    if (lo & low) {
      slice_up(lo, lo | low, length, out);
      return slice_up((lo | low) + 1, hi, length, out);
    }
    if ((hi & low) != low) {
      slice_up(lo, (hi & ~low) - 1, length, out);
      return slice_up(hi & ~low, hi, length, out);
    }
  }
  Sequence s{};
  s.length = length;
  encode(lo, length, s.lo);
  encode(hi, length, s.hi);
  out.push_back(s);
}

Re build(Store& store, std::span<const Sequence> sequences, int at) {
  std::vector<Re> parts;
  for (std::size_t i = 0, j; i < sequences.size(); i = j) {
    const Sequence& s = sequences[i];
    for (j = i + 1; j < sequences.size() && sequences[j].length == s.length && sequences[j].lo[at] == s.lo[at] &&
                    sequences[j].hi[at] == s.hi[at];)
      ++j;
    ByteSet set;
    set.add(s.lo[at], s.hi[at]);
    const Re tail = at + 1 == s.length ? kEpsilon : build(store, sequences.subspan(i, j - i), at + 1);
    parts.push_back(store.cat(store.bytes(set), tail));
  }
  return store.alt(std::move(parts));
}

}  // namespace

Re Store::codepoints(std::span<const std::pair<std::uint32_t, std::uint32_t>> ranges) {
  using Range = std::pair<std::uint32_t, std::uint32_t>;
  std::vector<Range> sorted(ranges.begin(), ranges.end()), joined;
  std::sort(sorted.begin(), sorted.end());
  for (const auto& [lo, hi] : sorted) {
    if (lo > hi) continue;
    if (!joined.empty() && lo <= joined.back().second + 1) joined.back().second = std::max(joined.back().second, hi);
    else joined.push_back({lo, hi});
  }
  if (const auto at = codepoint_ids_.find(joined); at != codepoint_ids_.end()) return at->second;
  static constexpr Range spans[] = {{0, 0x7f}, {0x80, 0x7ff}, {0x800, 0xd7ff}, {0xe000, 0xffff}, {0x10000, 0x10ffff}};
  static constexpr int lengths[] = {1, 2, 3, 3, 4};
  std::vector<Sequence> sequences;
  for (int k = 0; k < 5; ++k) {  // surrogates have no encoding
    for (const auto& [lo, hi] : joined) {
      const std::uint32_t l = std::max(lo, spans[k].first), h = std::min(hi, spans[k].second);
      if (l <= h) slice_up(l, h, lengths[k], sequences);
    }
  }
  const Re r = build(*this, sequences, 0);
  nodes_[r].flags |= kText | kClass;
  return codepoint_ids_[joined] = r;
}

}  // namespace espalier::re
