// Frames are looked up by all their fields.
#include "json/machine/frames.hpp"

#include "base/budget.hpp"

namespace espalier::json {

Cont Frames::id(const Frame& f) {
  std::uint64_t h = static_cast<std::uint64_t>(f.at) * 2 + f.capture;
  for (const std::uint32_t x : {f.formula, f.around, f.shape, f.seen, f.index, f.offset, f.depth}) {
    h = (h ^ x) * 0x9e3779b97f4a7c15ull;
    h ^= h >> 31;
  }
  if (const Cont known = frame_ids_.find(h, [&](std::uint32_t i) { return frames_[i] == f; }); known != Index::kNone)
    return known;
  Budget::charge(1, sizeof(Frame) + 32);
  frames_.push_back(f);
  frame_ids_.add(h, static_cast<Cont>(frames_.size() - 1));
  return static_cast<Cont>(frames_.size() - 1);
}

Cont Frames::gap(const std::vector<Item>& items, bool capture) {
  const auto [at, fresh] = gap_ids_.emplace(items, static_cast<std::uint32_t>(gaps_.size()));
  if (fresh) gaps_.push_back(items);
  return id({At::Gap, capture, at->second});
}

}  // namespace espalier::json
