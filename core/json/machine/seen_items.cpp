// Scalars that were there become one growing set of words; objects and arrays are found by their parts.
#include "json/machine/seen_items.hpp"

#include <algorithm>
#include <bit>

#include "base/budget.hpp"
#include "json/number.hpp"

namespace espalier::json {

namespace {

// The members or items of an object or array of which perhaps only the beginning is there: those that are complete.
std::vector<std::string_view> parts(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t begin = 1;
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
      continue;
    }
    quoted = c == '"';
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if ((c == ',' && depth == 1) || depth == 0) {
      const std::string_view part = text.substr(begin, i - begin);
      if (part.find_first_not_of(" \t\r\n") != part.npos) out.push_back(part);
      begin = i + 1;
    }
  }
  return out;
}

// What an object or array is found by: its canonical parts that are complete; of arrays with where they stand.
std::vector<std::string> keys(std::string_view text) {
  const std::string open(1, text[0]), close(1, text[0] == '{' ? '}' : ']');
  std::vector<std::string> out;
  for (const std::string_view part : parts(text)) {
    std::string key = canonical(open + std::string(part) + close);
    if (open == "[") key += std::to_string(out.size());
    out.push_back(std::move(key));
  }
  return out;
}

bool has(std::uint32_t bits, std::uint32_t bit) { return bits & bit; }

}  // namespace

std::uint32_t SeenItems::intern(const Node& n) {
  std::uint64_t h = 0;
  for (const std::uint32_t x : {n.prefix, n.bit, n.zero, n.one}) h = (h ^ x) * 0x9e3779b97f4a7c15ull, h ^= h >> 31;
  const std::uint32_t known = ids_.find(h, [&](std::uint32_t i) { return nodes_[i] == n; });
  if (known != Index::kNone) return known;
  Budget::charge(1, sizeof(Node) + 24);
  nodes_.push_back(n);
  ids_.add(h, static_cast<std::uint32_t>(nodes_.size() - 1));
  return static_cast<std::uint32_t>(nodes_.size() - 1);
}

std::uint32_t SeenItems::branch(std::uint32_t prefix, std::uint32_t bit, std::uint32_t zero, std::uint32_t one) {
  const Node a = nodes_[zero], b = nodes_[one];
  return intern({prefix & ~(2 * bit - 1), bit, zero, one, a.objects + b.objects, a.arrays + b.arrays});
}

// The union of two sets of which no element of one lies between those of the other.
std::uint32_t SeenItems::join(std::uint32_t a, std::uint32_t b) {
  const std::uint32_t x = nodes_[a].prefix, y = nodes_[b].prefix, bit = std::bit_floor(x ^ y);
  return has(x, bit) ? branch(x, bit, b, a) : branch(x, bit, a, b);
}

std::uint32_t SeenItems::with(std::uint32_t set, std::uint32_t item) {
  if (contains(set, item)) return set;
  const char first = names_[item][0];
  if ((first == '{' || first == '[') && noted_.insert(item).second) {
    for (const std::string& key : keys(names_[item])) {
      std::vector<std::uint32_t>& all = holding_[key];
      Budget::charge(1, key.size() + 64);
      all.insert(std::ranges::lower_bound(all, item), item);
    }
  }
  const std::uint32_t leaf = intern({item, 0, 0, 0, first == '{', first == '['});
  std::vector<std::uint32_t> way;  // the nodes that hold it
  std::uint32_t at = set, whole = leaf;
  while (at) {
    const Node& n = nodes_[at];
    const bool within = n.bit && ((n.prefix ^ item) & ~(2 * n.bit - 1)) == 0;
    if (!within) {
      whole = join(at, leaf);
      break;
    }
    way.push_back(at);
    at = has(item, n.bit) ? n.one : n.zero;
  }
  for (; !way.empty(); way.pop_back()) {
    const Node n = nodes_[way.back()];
    whole = has(item, n.bit) ? branch(n.prefix, n.bit, n.zero, whole) : branch(n.prefix, n.bit, whole, n.one);
  }
  made_.try_emplace(whole, Made{set, item});
  return whole;
}

bool SeenItems::contains(std::uint32_t set, std::uint32_t item) const {
  while (set) {
    const Node& n = nodes_[set];
    if (!n.bit) return n.prefix == item;
    if ((n.prefix ^ item) & ~(2 * n.bit - 1)) return false;
    set = has(item, n.bit) ? n.one : n.zero;
  }
  return false;
}

SeenItems::Written SeenItems::written(std::uint32_t set) {
  std::vector<std::uint32_t> way;  // from the sets before, the last one whose scalars are known
  for (std::uint32_t at = set; at && !written_.contains(at); at = made_.at(at).from) way.push_back(at);
  for (; !way.empty(); way.pop_back()) {
    const Made made = made_.at(way.back());
    Written w = made.from ? written_.at(made.from) : Written{};
    if (made.item != kAnyName) add(w, names_[made.item]);
    written_[way.back()] = w;
  }
  return set ? written_.at(set) : Written{};
}

void SeenItems::add(Written& w, std::string_view canonical) {
  const char first = canonical[0];
  if (first == '{' || first == '[') return;  // their end is not offered again (SchemaMachine::close)
  if (first == '"') {
    std::string decoded;
    if (unquote(canonical, decoded)) w.strings = re::grow(w.strings, decoded);
    return;
  }
  if (w.others == re::kEmpty) w.others = number_beyond();  // their ends cannot be told apart from those of others
  if (first != '-' && (first < '0' || first > '9')) {
    w.others = re::grow(w.others, canonical);
    return;
  }
  for (const Spelled& s : spelled(decimal(canonical))) w.others = re::grow(w.others, s.word, s.rest);
}

bool SeenItems::may_be(std::string_view beginning, std::uint32_t set) const {
  const Node n = nodes_[set];
  if (beginning.empty()) return n.objects + n.arrays;
  if (beginning[0] != '{' && beginning[0] != '[') return false;
  if ((beginning[0] == '{' ? n.objects : n.arrays) == 0) return false;
  std::vector<const std::vector<std::uint32_t>*> all;
  for (const std::string& key : keys(beginning)) {
    const auto at = holding_.find(key);
    if (at == holding_.end()) return false;
    all.push_back(&at->second);
  }
  if (all.empty()) return true;
  std::ranges::sort(all, {}, [](const auto* ids) { return ids->size(); });
  return std::ranges::any_of(*all[0], [&](std::uint32_t item) {
    return contains(set, item) &&
           std::ranges::all_of(all, [&](const auto* ids) { return std::ranges::binary_search(*ids, item); });
  });
}

}  // namespace espalier::json
