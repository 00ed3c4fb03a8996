// The shortest strings of an expression: a walk over its derivatives, those first that can end soonest.
#include <algorithm>
#include <array>
#include <queue>
#include <unordered_map>

#include "base/budget.hpp"
#include "base/generation.hpp"
#include "regex/store.hpp"

namespace espalier::re {

namespace {

constexpr std::size_t kStrings = 20'000;  // derivatives of one lexeme
constexpr std::size_t kQuiet = 1'500;     // of them without another tag

// Bytes in the order in which they are tried: what people write first.
const std::array<std::uint8_t, 256>& bytes_in_order() {
  static const std::array<std::uint8_t, 256> order = [] {
    std::array<std::uint8_t, 256> all{};
    std::size_t n = 0;
    std::array<bool, 256> had{};
    const auto add = [&](unsigned lo, unsigned hi) {
      for (unsigned b = lo; b <= hi; ++b) {
        if (!had[b]) had[b] = true, all[n++] = static_cast<std::uint8_t>(b);
      }
    };
    add('a', 'z'), add('0', '9'), add('A', 'Z'), add(0x20, 0x7e), add(0, 255);
    return all;
  }();
  return order;
}

struct Endings {  // of a generation, as the expressions are
  std::unordered_map<Re, std::vector<Ending>> known;
};

// The shortest string, where the expression shows it: no intersection, no complement, no escape that would be needed.
bool shown(Store& store, Re r, std::string& out, int depth = 0) {
  const Node n = store.node(r);
  if (depth > 200 || out.size() > 1'000'000) return false;
  if (store.nullable(r)) return true;
  switch (n.kind) {
    case Kind::Bytes: {
      const ByteSet set = store.set(r);
      for (const std::uint8_t b : bytes_in_order()) {
        if (set.has(b)) {
          out += static_cast<char>(b);
          return true;
        }
      }
      return false;
    }
    case Kind::Cat: return shown(store, n.cat().head, out, depth + 1) && shown(store, n.cat().tail, out, depth + 1);
    case Kind::Alt: {
      std::string best;
      bool any = false;
      const auto parts = store.operands(n);
      for (const Re p : std::vector<Re>(parts.begin(), parts.end())) {
        std::string one;
        if (!shown(store, p, one, depth + 1)) return false;
        if (!any || one.size() < best.size()) best = std::move(one), any = true;
      }
      out += best;
      return any;
    }
    case Kind::Repeat: {
      std::string one;
      if (!shown(store, n.repeat().of, one, depth + 1) || one.size() * n.repeat().lo > 1'000'000) return false;
      for (std::uint32_t i = 0; i < n.repeat().lo; ++i) out += one;
      return true;
    }
    case Kind::Json: {  // escapes only make a string longer
      std::string body;
      if (!n.whole_string() || !shown(store, n.json().text, body, depth + 1)) return false;
      for (const char c : body) {
        if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\') return false;
      }
      out += body;
      return true;
    }
    default: return false;
  }
}

// How many bytes an end is away at least: of an escape that has begun, all of its digits.
std::uint32_t away(const Store& store, Re r, int depth = 0) {
  const Node n = store.node(r);
  if (depth > 20) return 0;
  switch (n.kind) {
    case Kind::Bytes: return 1;
    case Kind::Cat: return away(store, n.cat().head, depth + 1) + away(store, n.cat().tail, depth + 1);
    case Kind::Alt:
    case Kind::And: {
      const auto parts = store.operands(n);
      std::uint32_t least = ~0u, most = 0;
      if (parts.size() > 32) return 0;
      for (const Re p : parts) {
        const std::uint32_t one = away(store, p, depth + 1);
        least = std::min(least, one), most = std::max(most, one);
      }
      return n.kind == Kind::And ? most : least;
    }
    case Kind::Json: {
      const StringBody body = n.json();
      const std::uint32_t digits = body.read >> 16 & 15, value = body.read & 0xffff;
      const std::uint32_t lead = digits >= 2 ? value >> 4 * (digits - 2) : 0;
      const bool half = lead >= 0xd8 && lead < 0xdc;                // a low surrogate has to follow
      static constexpr std::uint32_t kLeft[] = {0, 1, 4, 6, 5, 4};  // in each phase
      return kLeft[body.phase] - (body.phase == 2 || body.phase == 5 ? digits : 0) + (body.phase == 2 && half ? 6 : 0);
    }
    default: return 0;
  }
}

// A derivative that was reached, by a byte from another one.
struct Step {
  Re re;
  std::int32_t from;
  std::uint8_t byte;
  std::uint32_t length;
};

// One whose row has not been looked at.
struct Open {
  std::uint32_t total, length;
  std::int32_t at;
  // of equally long strings those that are nearly written come first
  bool operator<(const Open& o) const {
    return total != o.total ? total > o.total : length != o.length ? length < o.length : at > o.at;
  }
};

// The bytes on the way to a step.
std::string written(const std::vector<Step>& steps, std::int32_t at) {
  std::string bytes;
  for (; steps[static_cast<std::size_t>(at)].from >= 0; at = steps[static_cast<std::size_t>(at)].from)
    bytes += static_cast<char>(steps[static_cast<std::size_t>(at)].byte);
  std::reverse(bytes.begin(), bytes.end());
  return bytes;
}

}  // namespace

const std::vector<Ending>& endings(Re lexeme) {
  std::unordered_map<Re, std::vector<Ending>>& known = Generation::here().part<Endings>().known;
  if (const auto at = known.find(lexeme); at != known.end()) return at->second;
  Store& store = Store::get();
  std::vector<Ending> found;
  const bool several = marked(lexeme);
  if (std::string text; !several && shown(store, lexeme, text))
    return known.emplace(lexeme, std::vector<Ending>{{0, std::move(text)}}).first->second;
  std::vector<Step> steps{{lexeme, -1, 0, 0}};
  std::unordered_map<Re, std::uint32_t> best{{lexeme, 0}};
  std::priority_queue<Open> open;
  open.push({away(store, lexeme), 0, 0});
  std::size_t tried = 0, last = 0;  // last: when a tag was found
  while (!open.empty() && steps.size() < kStrings) {
    const Open next = open.top();
    open.pop();
    const Step step = steps[static_cast<std::size_t>(next.at)];
    if (best[step.re] < step.length) continue;
    Budget::tick();
    if (!found.empty() && ++tried - last > kQuiet) break;
    if (store.ended(step.re)) {
      const auto tags = store.ends(step.re);
      for (const Tag tag : std::vector<Tag>(tags.begin(), tags.end())) {
        if (std::any_of(found.begin(), found.end(), [&](const Ending& w) { return w.tag == tag; })) continue;
        found.push_back({tag, written(steps, next.at)});
        last = tried;
      }
      if (!several) break;
    }
    const Row& row = store.row(step.re);
    std::array<bool, 256> had{};
    for (const std::uint8_t byte : bytes_in_order()) {
      if (std::exchange(had[row.cls[byte]], true)) continue;
      const Re to = store.step(step.re, byte);
      const std::uint32_t length = step.length + 1;
      if (to == kEmpty) continue;
      const auto [known_length, fresh] = best.try_emplace(to, length);
      if (!fresh && known_length->second <= length) continue;
      known_length->second = length;
      open.push({std::max(length + away(store, to), next.total), length, static_cast<std::int32_t>(steps.size())});
      steps.push_back({to, next.at, byte, length});
    }
  }
  return known.emplace(lexeme, std::move(found)).first->second;
}

}  // namespace espalier::re
