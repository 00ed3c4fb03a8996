// Counts larger than any token can reach are all alike to a token: clamp() gives them one value, so that the states of
// a counted string share their masks.
#include <algorithm>

#include "grammar/re_store.hpp"

namespace espalier::re {

Re Store::clamp(Re r, std::uint32_t length) {
  const Node n = nodes_[r];
  switch (n.kind) {
    case Kind::Repeat:
      if (!(n.flags & kCounted)) return r;
      break;
    case Kind::Cat: case Kind::Alt: case Kind::Json:
      if (!(n.flags & kCounted) || n.lo) return r;
      break;
    default: return r;   // under & and ~ a count far away may decide whether anything can follow
  }
  const std::uint64_t key = static_cast<std::uint64_t>(length) << 32 | r;
  if (const auto at = clamp_ids_.find(key); at != clamp_ids_.end()) return at->second;
  Re out = r;
  if (n.kind == Kind::Repeat) {
    const Re a = clamp(n.a, length);
    const bool counts = !nullable(a);   // each round takes at least one byte
    out = repeat(a, counts ? std::min(n.lo, length + 1) : n.lo, counts && n.hi > length ? kInf : n.hi);
  } else if (n.kind == Kind::Cat) {
    out = cat(clamp(n.a, length), clamp(n.b, length));
  } else if (n.kind == Kind::Json) {
    out = json(clamp(n.a, length));
  } else {
    std::vector<Re> parts(operands(n).begin(), operands(n).end());
    for (Re& x : parts) x = clamp(x, length);
    out = alt(std::move(parts));
  }
  return clamp_ids_[key] = out;
}

}  // namespace espalier::re
