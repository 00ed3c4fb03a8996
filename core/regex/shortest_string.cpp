// The shortest strings of an expression: a walk over its derivatives, breadth first.
#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

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

}  // namespace

namespace {

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

}  // namespace

const std::vector<Ending>& endings(Re lexeme) {
  std::unordered_map<Re, std::vector<Ending>>& known = Generation::here().part<Endings>().known;
  if (const auto at = known.find(lexeme); at != known.end()) return at->second;
  Store& store = Store::get();
  std::vector<Ending> found;
  struct Step {
    Re re;
    std::int32_t from;
    std::uint8_t byte;
  };
  std::vector<Step> steps{{lexeme, -1, 0}};
  std::unordered_set<Re> seen{lexeme};
  const bool several = marked(lexeme);
  if (std::string text; !several && shown(store, lexeme, text))
    return known.emplace(lexeme, std::vector<Ending>{{0, std::move(text)}}).first->second;
  std::size_t last = 0;  // when a tag was found
  for (std::size_t i = 0; i < steps.size() && steps.size() < kStrings; ++i) {
    Budget::tick();
    if (!found.empty() && i - last > kQuiet) break;
    const Re now = steps[i].re;
    if (store.ended(now)) {
      const auto tags = store.ends(now);
      for (const Tag tag : std::vector<Tag>(tags.begin(), tags.end())) {
        if (std::any_of(found.begin(), found.end(), [&](const Ending& w) { return w.tag == tag; })) continue;
        std::string bytes;
        for (std::int32_t at = static_cast<std::int32_t>(i); steps[at].from >= 0; at = steps[at].from)
          bytes += static_cast<char>(steps[at].byte);
        std::reverse(bytes.begin(), bytes.end());
        found.push_back({tag, std::move(bytes)});
        last = i;
      }
      if (!several) break;
    }
    const Row& row = store.row(now);
    std::array<bool, 256> had{};
    for (const std::uint8_t byte : bytes_in_order()) {
      if (std::exchange(had[row.cls[byte]], true)) continue;
      const Re to = store.step(now, byte);
      if (to != kEmpty && seen.insert(to).second) steps.push_back({to, static_cast<std::int32_t>(i), byte});
    }
  }
  return known.emplace(lexeme, std::move(found)).first->second;
}

}  // namespace espalier::re
