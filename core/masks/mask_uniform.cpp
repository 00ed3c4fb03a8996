// Where an expression goes on alike for most characters, so that subtrees of the vocabulary need no walk.
#include <algorithm>
#include <array>

#include "masks/lexeme_mask.hpp"

namespace espalier {

// Whether every code point beyond ASCII leads from `from` to `to`.
bool LexemeMasks::all_others_lead(Re from, Re to) {
  re::Store& store = re::Store::get();
  std::vector<std::pair<Re, Re>> seen, todo{{store.codepoint(), from}};
  while (!todo.empty()) {
    const auto [code, r] = todo.back();
    todo.pop_back();
    for (unsigned b = 0x80; b < 0x100; ++b) {
      const Re rest = store.step(code, static_cast<std::uint8_t>(b));
      if (rest == re::kEmpty) continue;
      const Re next = store.step(r, static_cast<std::uint8_t>(b));
      if (next == re::kEmpty || store.ended(next)) return false;
      if (rest == re::kEpsilon) {
        if (next != to) return false;
        continue;
      }
      const std::pair<Re, Re> pair{rest, next};
      if (std::find(seen.begin(), seen.end(), pair) != seen.end()) continue;
      seen.push_back(pair);
      todo.push_back(pair);
    }
  }
  return true;
}

// What most ASCII bytes lead to from r, and which they are. Only the target is asked whether it is empty.
LexemeMasks::Uniform LexemeMasks::most(Re r) {
  re::Store& store = re::Store::get();
  const re::Row& row = store.row(r);
  std::array<std::uint16_t, 257> count{};
  for (unsigned b = 0; b < 128; ++b) ++count[row.cls[b]];
  for (;;) {
    const auto top = static_cast<unsigned>(std::max_element(count.begin(), count.end()) - count.begin());
    if (count[top] < 2) return {};
    count[top] = 0;
    const Re to = row.to[top];
    if (to == re::kEmpty || store.ended(to) || !store.live(to)) continue;
    Uniform one;
    for (unsigned b = 0; b < 128; ++b) one.ascii[b >> 6] |= static_cast<std::uint64_t>(row.cls[b] == top) << (b & 63);
    one.steps = 1;
    one.next = to;
    return one;
  }
}

const LexemeMasks::Uniform& LexemeMasks::uniform(Re r) {
  if (const auto at = uniform_.find(r); at != uniform_.end()) return at->second;
  constexpr std::uint32_t kForever = 1u << 30;
  std::vector<std::pair<Re, Uniform>> chain{
      {r, most(r)}};  // r, what most bytes lead to, what the same bytes lead to from there …
  while (chain.size() <= trie_.longest()) {
    Uniform& last = chain.back().second;
    if (!last.steps || last.next == chain.back().first) {
      if (last.steps) last.steps = kForever;
      break;
    }
    const auto at = uniform_.find(last.next);
    const Uniform next = at != uniform_.end() ? at->second : most(last.next);
    if (!next.steps || next.ascii[0] != last.ascii[0] || next.ascii[1] != last.ascii[1]) break;
    if (at != uniform_.end()) {
      last.steps = std::min(kForever, next.steps + 1);
      break;
    }
    chain.emplace_back(last.next, next);
  }
  for (std::size_t k = chain.size() - 1; k-- > 0;)
    chain[k].second.steps = std::min(kForever, chain[k + 1].second.steps + 1);
  for (const auto& [from, one] : chain) uniform_.emplace(from, one);
  return uniform_[r];
}

// Whether all code points beyond ASCII lead the same way, for so many steps.
bool LexemeMasks::others_too(Re r, std::uint32_t steps) {
  for (std::uint32_t k = 0; k < steps; ++k) {
    Uniform& a = uniform_[r];
    if (a.others == Uniform::Others::Unknown)
      a.others = all_others_lead(r, a.next) ? Uniform::Others::Yes : Uniform::Others::No;
    if (a.others == Uniform::Others::No) return false;
    if (a.next == r) return true;
    r = a.next;
    uniform(r);
  }
  return true;
}

}  // namespace espalier
