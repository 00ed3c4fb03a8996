// The trie is walked with one expression; what runs past its end is left to the machine.
#include "masks/lexeme_mask.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "base/budget.hpp"

namespace espalier {

struct LexemeMasks::Walk {
  std::vector<Token> tokens;
  std::vector<End> ends;
  bool keep_tokens = true;
};

const LexemeMask& LexemeMasks::get(Re r, Trie::Place p) {
  const Re same = re::Store::get().clamp(r, static_cast<std::uint32_t>(trie_.longest()));
  const std::uint64_t key = static_cast<std::uint64_t>(same) << 32 | p;
  if (const LexemeMask* s = known_.find(key)) return *s;
  LexemeMask s = compute(same, p);
  const std::size_t bytes = sizeof(LexemeMask) + 64 + 4 * s.sparse.size() + (s.dense ? 4 * s.dense->size() : 0) +
                            sizeof(LexemeMask::Exit) * s.exits.size();
  Budget::keep(0, bytes);
  memory_ += bytes;
  return known_.add(key, std::move(s));
}

namespace {

struct ByTrie {
  std::unordered_map<const Trie*, std::unique_ptr<LexemeMasks>> all;
};

}  // namespace

LexemeMasks& LexemeMasks::of(const std::shared_ptr<const Trie>& trie) {
  std::unique_ptr<LexemeMasks>& masks = Generation::here().part<ByTrie>().all[trie.get()];
  if (masks) return *masks;
  masks = std::make_unique<LexemeMasks>(trie);
  LexemeMasks& made = *masks;
  made.prepare();
  return made;
}

// The bodies of JSON strings are in nearly every schema: their masks are ready before the first of a generation.
void LexemeMasks::prepare() {
  re::Store& store = re::Store::get();
  const Re quote = store.literal("\""), anything = store.codepoint();
  constexpr std::uint32_t kLongest = 96;  // code points: counts up to here
  const auto longest = static_cast<std::uint32_t>(std::min<std::size_t>(kLongest, trie_.longest()));
  const auto warm = [&](std::uint32_t lo, std::uint32_t hi) {
    get(store.cat(store.json(store.repeat(anything, lo, hi)), quote), Trie::kRoot);
  };
  warm(0, re::kInf);
  for (std::uint32_t n = 1; n <= longest + 1; ++n) warm(n, re::kInf);
  for (std::uint32_t n = 1; n <= longest + 1; ++n) warm(0, n);
}

constexpr std::size_t kFewNodes =
    5000;  // below a set of nodes: for more it pays to walk those that are reached alike together
constexpr std::uint32_t kWorthAsking = 24;  // nodes of a subtree: for fewer the walk is cheaper

// The tokens below one node that go on with the bytes with which r begins.
void LexemeMasks::spelled(Walk& walk, const re::Store::Spelling& words, std::uint32_t node) {
  re::Store& store = re::Store::get();
  store.next(words, [&](std::uint8_t byte, const re::Store::Spelling& rest) {
    const std::uint32_t c = trie_.child(node, byte);
    if (c == 0 || (rest.list.empty() && !store.live(rest.re))) return;
    if (walk.keep_tokens)
      walk.tokens.insert(walk.tokens.end(), trie_.tokens() + trie_.node(c).tokens,
                         trie_.tokens() + trie_.node(c + 1).tokens);
    if (trie_.leaf(c)) return;
    store.ends(rest, [&](Tag tag) { walk.ends.push_back({tag, c}); });
    if (store.spelled(rest)) return spelled(walk, rest, c);
    if (rest.re != re::kEpsilon) flat(walk, rest.re, c);
  });
}

// All tokens below one node of the trie.
void LexemeMasks::flat(Walk& walk, Re r, std::uint32_t node) {
  re::Store& store = re::Store::get();
  if (store.spelled(r)) return spelled(walk, store.spelling(r), node);
  const Trie::Node* const nodes = trie_.nodes();
  const Token* const tokens = trie_.tokens();
  const std::uint32_t base = nodes[node].depth, end = nodes[node].skip;
  struct Level {
    const re::Row* row;
    Re re;
  };
  std::array<Level, 64> few;
  std::vector<Level> many;
  if (trie_.longest() + 2 > few.size()) many.resize(trie_.longest() + 2);
  Level* const level = many.empty() ? few.data() : many.data();
  level[0] = {nullptr, r};
  std::uint32_t work = 0;
  for (std::uint32_t i = node + 1; i < end;) {
    if ((++work & 4095) == 0) Budget::tick_time();
    const Trie::Node& n = nodes[i];
    Level& above = level[n.depth - base - 1];
    if (!above.row) above.row = &store.row(above.re);
    const re::Row& row = *above.row;
    Re to = row.to[row.cls[n.byte]];
    if (row.pending && to != re::kEmpty && !store.live(to)) to = row.to[row.cls[n.byte]] = re::kEmpty;
    if (to == re::kEmpty) {
      i = n.skip;
      continue;
    }
    level[n.depth - base] = {nullptr, to};
    if (n.skip > i + kWorthAsking && !store.ended(to)) {
      const Trie::Below& below = trie_.below(i);
      if (below.text) {
        const Uniform a = uniform(to);
        if (a.steps >= below.height && !(below.ascii[0] & ~a.ascii[0]) && !(below.ascii[1] & ~a.ascii[1]) &&
            (!below.beyond_ascii || others_too(to, below.height))) {
          if (walk.keep_tokens) walk.tokens.insert(walk.tokens.end(), tokens + n.tokens, tokens + nodes[n.skip].tokens);
          i = n.skip;
          continue;
        }
      }
    }
    if (walk.keep_tokens) {
      for (std::uint32_t t = n.tokens; t < nodes[i + 1].tokens; ++t) walk.tokens.push_back(tokens[t]);
    }
    if (n.skip > i + 1 && store.ended(to)) {
      for (const Tag tag : store.ends(to)) walk.ends.push_back({tag, i});
    }
    ++i;
  }
}

void LexemeMasks::branching(Walk& walk, Re r, Trie::Place p) {
  if (p & Trie::kSingle) return flat(walk, r, p & ~Trie::kSingle);
  re::Store& store = re::Store::get();
  if (store.spelled(r)) {
    const std::span<const Places::Child> children = places_.children(p);
    store.next(r, [&](std::uint8_t byte, Re rest) {
      const auto at = std::ranges::lower_bound(children, byte, {}, &Places::Child::byte);
      if (at != children.end() && at->byte == byte && store.live(rest)) walk_rest(walk, *at, rest);
    });
    return;
  }
  const std::vector<std::uint32_t> members = places_.members(p);
  std::size_t below = 0;
  for (const std::uint32_t i : members) below += trie_.node(i).skip - i;
  if (below < kFewNodes) {
    for (const std::uint32_t i : members) flat(walk, r, i);
    return;
  }
  for (const Places::Child& child : std::span<const Places::Child>(places_.children(p))) {
    if (const Re to = store.step(r, child.byte); to != re::kEmpty) walk_rest(walk, child, to);
  }
}

void LexemeMasks::walk_rest(Walk& walk, const Places::Child child, Re to) {
  re::Store& store = re::Store::get();
  walk.tokens.insert(walk.tokens.end(), places_.child_tokens() + child.begin, places_.child_tokens() + child.end);
  if (child.place == Trie::kNowhere) return;
  for (const Tag tag : store.ends(to)) {
    if (child.place & Trie::kSingle) walk.ends.push_back({tag, child.place & ~Trie::kSingle});
    else
      for (const std::uint32_t i : places_.members(child.place)) walk.ends.push_back({tag, i});
  }
  branching(walk, to, child.place);
}

const std::vector<LexemeMasks::End>& LexemeMasks::ends(Re r, std::uint32_t node) {
  const std::uint64_t key = static_cast<std::uint64_t>(r) << 32 | node;
  if (const auto* known = ends_.find(key)) return *known;
  Walk walk;
  walk.keep_tokens = false;
  flat(walk, r, node);
  Budget::keep(0, 64 + sizeof(End) * walk.ends.size());
  return ends_.add(key, std::move(walk.ends));
}

// The mask of r over all tokens as that of `base` and where the two differ: where both have come to the same expression
// nothing is walked. False if that is no gain.
bool LexemeMasks::difference(Re r, Re base, LexemeMask& out) {
  re::Store& store = re::Store::get();
  const LexemeMask& known = get(base, Trie::kRoot);
  if (!known.dense || known.exits.size() > 1 || store.node(r).flags & re::kTagged) return false;
  const Trie::Node* const nodes = trie_.nodes();
  struct Pair {
    Re mine, theirs;
  };
  std::vector<Pair> level(trie_.longest() + 2);
  level[0] = {r, base};
  auto bits = std::make_shared<Bits>(*known.dense);
  std::vector<std::uint32_t> gone, come;  // nodes where base ends, and where r does
  std::size_t work = 0;
  for (std::uint32_t i = 1; i < nodes[0].skip;) {
    const Trie::Node& n = nodes[i];
    const Pair above = level[n.depth - 1];
    const Re mine = above.mine ? store.step(above.mine, n.byte) : re::kEmpty,
             theirs = above.theirs ? store.step(above.theirs, n.byte) : re::kEmpty;
    if (mine == theirs) {
      i = n.skip;
      continue;
    }
    if (++work > trie_.size() / 8) return false;
    if ((mine == re::kEmpty) != (theirs == re::kEmpty)) {
      for (std::uint32_t t = n.tokens; t < nodes[i + 1].tokens; ++t) {
        const Token token = trie_.tokens()[t];
        const std::uint32_t bit = 1u << (token & 31);
        if (mine) (*bits)[token >> 5] |= bit;
        else (*bits)[token >> 5] &= ~bit;
      }
    }
    if (n.skip > i + 1) {
      if (theirs && store.ended(theirs)) gone.push_back(i);
      if (mine && store.ended(mine)) come.push_back(i);
    }
    level[n.depth] = {mine, theirs};
    ++i;
  }
  out.dense = std::move(bits);
  std::vector<std::uint32_t> ends;
  if (!known.exits.empty()) {
    const Trie::Place p = known.exits[0].place;
    if (p & Trie::kSingle) ends = {p & ~Trie::kSingle};
    else ends = places_.members(p);
  }
  if (gone.empty() && come.empty()) {
    out.exits = known.exits;
    return true;
  }
  std::erase_if(ends, [&](std::uint32_t i) { return std::binary_search(gone.begin(), gone.end(), i); });
  ends.insert(ends.end(), come.begin(), come.end());
  if (const Trie::Place to = places_.place(ends)) out.exits.push_back({0, to});
  return true;
}

LexemeMask LexemeMasks::compute(Re r, Trie::Place p) {
  re::Store& store = re::Store::get();
  LexemeMask s;
  if (all_but_words(r, p, s) || counted(r, p, s)) return s;
  if (p == Trie::kRoot && !store.spelled(r)) {
    const Re base = uniform(r).next;
    if (base != r && base != re::kEmpty && uniform(base).next == base && difference(r, base, s)) return s;
  }
  Walk walk;
  branching(walk, r, p);
  if (walk.tokens.size() > 64 + trie_.vocab_size() / 128) {
    Bits bits(trie_.words());
    for (const Token t : walk.tokens) bits[t >> 5] |= 1u << (t & 31);
    s.dense = std::make_shared<const Bits>(std::move(bits));
  } else {
    s.sparse = {walk.tokens.begin(), walk.tokens.end()};
  }
  const auto by_tag = [](const End& x, const End& y) { return x.tag < y.tag; };
  if (!std::is_sorted(walk.ends.begin(), walk.ends.end(), by_tag))
    std::stable_sort(walk.ends.begin(), walk.ends.end(), by_tag);
  for (std::size_t i = 0, j; i < walk.ends.size(); i = j) {
    std::vector<std::uint32_t> nodes;
    for (j = i; j < walk.ends.size() && walk.ends[j].tag == walk.ends[i].tag; ++j) nodes.push_back(walk.ends[j].node);
    if (const Trie::Place to = places_.place(nodes)) s.exits.push_back({walk.ends[i].tag, to});
  }
  return s;
}

}  // namespace espalier
