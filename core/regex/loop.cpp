// Languages that are part of themselves: X = b | aX. A repeat whose rounds look around is one, because what a round
// asks of the text behind it is asked of all that follows: (a(?!b)|c)*d is X = d | a(~(b…) & X) | cX.
//
// The derivatives of such an X are Boolean combinations of finitely many expressions. They are finitely many only if
// equal combinations look alike, so those with a loop in them are kept as choices of intersections.
#include <algorithm>

#include "base/budget.hpp"
#include "regex/store.hpp"

namespace espalier::re {

Re Store::loop(bool nullable, bool is_text) {
  Budget::keep(0, sizeof(Re));
  const Re r = intern(Node(Named{static_cast<std::uint32_t>(loops_.size()), nullable}));
  loops_.push_back(kEmpty);
  if (is_text) nodes_[r].flags |= kText;
  return r;
}

void Store::close(Re loop, Re body) { loops_[nodes_[loop].loop().number] = body; }

// (x|y) & z = x&z | y&z where a loop is in the choice.
std::optional<Re> Store::distribute(const std::vector<Re>& v) {
  const auto choice = [&](Re r) { return nodes_[r].kind == Kind::Alt && nodes_[r].flags & kLooped; };
  const auto at = std::find_if(v.begin(), v.end(), choice);
  if (at == v.end()) return std::nullopt;
  Budget::tick();
  std::vector<Re> parts(operands(nodes_[*at]).begin(), operands(nodes_[*at]).end()), rest(v.begin(), at);
  rest.insert(rest.end(), at + 1, v.end());
  for (Re& x : parts) {
    std::vector<Re> one = rest;
    one.push_back(x);
    x = both(std::move(one));
  }
  return alt(std::move(parts));
}

// x | x&y = x.
void Store::absorb(std::vector<Re>& v) const {
  constexpr std::size_t kMost = 256;
  const auto looped = [&](Re r) { return nodes_[r].kind == Kind::And && nodes_[r].flags & kLooped; };
  if (v.size() < 2 || v.size() > kMost || std::none_of(v.begin(), v.end(), looped)) return;
  const auto parts = [&](const Re& r) {
    return nodes_[r].kind == Kind::And ? operands(nodes_[r]) : std::span<const Re>(&r, 1);
  };
  const std::vector<Re> all = v;
  std::erase_if(v, [&](Re r) {
    return looped(r) && std::any_of(all.begin(), all.end(), [&](const Re& x) {
             return x != r && std::includes(parts(r).begin(), parts(r).end(), parts(x).begin(), parts(x).end());
           });
  });
}

}  // namespace espalier::re
