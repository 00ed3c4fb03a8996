// One byte after the other: the closed set of items after a text.
#include "automaton/matcher.hpp"

#include <algorithm>

#include "regex/serialize.hpp"
#include "regex/store.hpp"

namespace espalier {

namespace {

std::size_t hash(std::span<const Item> items, bool accepts) {
  std::uint64_t h = accepts;
  for (const Item& i : items) {
    h = (h ^ (static_cast<std::uint64_t>(i.re) << 32 | i.cont)) * 0x9e3779b97f4a7c15ull;
    h = (h ^ (h >> 29) ^ i.text) * 0xff51afd7ed558ccdull;
  }
  return h ^ (h >> 32);
}

bool inert(const re::Store& store, Re r) {
  return store.node(r).kind <= re::Kind::Epsilon || store.node(r).kind == re::Kind::Tag;
}

}  // namespace

Matcher::Matcher(std::shared_ptr<Machine> machine, std::string name, Limits limits, const void* guide)
    : machine_(std::move(machine)), name_(std::move(name)), limits_(limits), guide_(guide) {
  add({{}, false});
  machine_->workers(workers_);
}

State Matcher::add(Data data) {
  states_.make(size_) = std::move(data);
  return size_++;
}

State Matcher::intern(std::vector<Item>& items, bool accepts) {
  const re::Store& store = re::Store::get();
  std::erase_if(items, [&](const Item& i) { return inert(store, i.re); });
  if (items.empty() && !accepts) return 0;
  settle(items);
  const std::size_t h = hash(items, accepts);
  const auto same = [&](std::uint32_t i) { return states_[i].accepts == accepts && states_[i].items == items; };
  if (const State known = ids_.find(h, same); known != Index::kNone) return known;
  Budget::charge(1, sizeof(Data) + sizeof(Item) * items.size() + 48);
  const State s = add({items, accepts});
  ids_.add(h, s);
  return s;
}

void Matcher::settle(std::vector<Item>& items) {
  if (items.size() < 2) return;
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  if (!machine_->joins()) return;
  bool joined = false;
  for (std::size_t i = 0; i + 1 < items.size(); ++i) {
    Item& x = items[i];
    if (x.cont == 0) continue;
    for (std::size_t j = i + 1; j < items.size() && items[j].re == x.re; ++j) {
      if (items[j].cont == 0 || items[j].text != x.text) continue;
      if (const Cont c = machine_->join(x.cont, items[j].cont)) {
        x.cont = c;
        items[j].cont = 0;
        joined = true;
      }
    }
  }
  if (!joined) return;
  std::erase_if(items, [](const Item& i) { return i.cont == 0; });
  std::sort(items.begin(), items.end());
}

State Matcher::start() {
  if (start_) return start_;
  const Expansion& e = machine_->start();
  std::vector<Item> items = e.items;
  return start_ = intern(items, e.accepts);
}

bool Matcher::step(std::span<const Item> from, std::uint8_t byte, std::vector<Item>& out) {
  re::Store& store = re::Store::get();
  bool accepts = false;
  for (const Item& item : from) {
    const Re r = store.follow(item.re, byte);
    if (r == re::kEmpty) continue;
    const Text text = item.text ? text_append(item.text, byte) : 0;
    if (!inert(store, r)) out.push_back({r, item.cont, text});
    if (!store.ended(r)) continue;
    const auto tags = store.ends(r);  // stable: end sets are never moved
    for (const Tag tag : tags) {
      const Expansion& e = machine_->after(item.cont, tag, text);
      out.insert(out.end(), e.items.begin(), e.items.end());
      accepts |= e.accepts;
    }
  }
  settle(out);
  return accepts;
}

// The items after as many bytes as lead on within names and strings, where nothing ends: the states between are not
// made. How many they are; 0 if that is no gain.
std::size_t Matcher::advance_run(std::span<const Item> from, std::string_view bytes, std::vector<Item>& out) {
  re::Store& store = re::Store::get();
  for (const Item& item : from) {
    bytes = bytes.substr(0, store.plain(item.re, bytes));
    if (bytes.size() < 2) return 0;
  }
  for (const Item& item : from) {
    const Re r = store.skip(item.re, bytes);
    if (r == re::kEmpty) continue;
    Text text = item.text;
    for (const char c : bytes) text = text ? text_append(text, static_cast<std::uint8_t>(c)) : 0;
    out.push_back({r, item.cont, text});
  }
  settle(out);
  return bytes.size();
}

State Matcher::advance(State s, std::string_view bytes) {
  if (s == 0 || bytes.empty()) return s;
  std::vector<Item> now = states_[s].items, next;
  bool accepts = false;
  try {
    for (std::size_t i = 0; i < bytes.size();) {
      Budget::tick();
      next.clear();
      const std::size_t plain = advance_run(now, bytes.substr(i), next);
      accepts = plain == 0 && step(now, static_cast<std::uint8_t>(bytes[i]), next);
      i += std::max<std::size_t>(plain, 1);
      now.swap(next);
      if (now.empty() && !accepts) return 0;
    }
    return intern(now, accepts);
  } catch (const OverLimit& error) { over_limit(error, now); }
}

State Matcher::sorted(State s) {
  if (const auto at = sorted_.find(s); at != sorted_.end()) return at->second;
  const std::vector<Item> items = states_[s].items;
  std::vector<Item> all;
  bool changed = false;
  for (const Item& item : items) {
    const std::vector<Item> sorts = item.text && !any_text(item.text) ? machine_->sorts(item) : std::vector<Item>{};
    changed |= !sorts.empty();
    sorts.empty() ? all.push_back(item) : void(all.insert(all.end(), sorts.begin(), sorts.end()));
  }
  const State to = changed ? intern(all, states_[s].accepts) : s;
  return sorted_[s] = sorted_[to] = to;
}

void Matcher::over_limit(const OverLimit& error, std::span<const Item> at) {
  for (const Item& item : at) {
    if (const std::string place = machine_->where(item.cont); !place.empty())
      throw OverLimit(std::string(error.what()) + " (at " + place + ")");
  }
  throw OverLimit(error);
}

bool Matcher::matches(std::string_view bytes) {
  const State s = advance(start(), bytes);
  return s && accepts(s);
}

std::string Matcher::forced(State s, std::size_t limit) {
  std::string out;
  re::Store& store = re::Store::get();
  std::vector<Item> now = states_[s].items, next;
  bool accepts = states_[s].accepts;
  while (!accepts && out.size() < limit) {
    int only = -1;
    for (const Item& item : now) {
      const re::Row& row = store.row(item.re);
      for (int b = 0; b < 256; ++b) {
        if (b == only || row.to[row.cls[b]] == re::kEmpty) continue;
        if (store.step(item.re, static_cast<std::uint8_t>(b)) == re::kEmpty) continue;
        if (only >= 0) return out;
        only = b;
      }
    }
    if (only < 0) return out;
    Budget::tick();
    next.clear();
    accepts = step(now, static_cast<std::uint8_t>(only), next);
    if (next.empty() && !accepts) return out;  // a dead end
    now.swap(next);
    out.push_back(static_cast<char>(only));
  }
  return out;
}

namespace {

class RegularMachine final : public Machine {
 public:
  explicit RegularMachine(Re r) : re_(r), end_{{}, true} {
    re::Store& store = re::Store::get();
    if (store.live(r)) start_ = {{{r, 1, 0}}, store.nullable(r)};
  }
  const Expansion& start() override { return start_; }
  const Expansion& after(Cont, Tag tag, Text) override { return tag == 0 ? end_ : none_; }
  bool exact() const override { return true; }
  Source source() override {
    return [text = re::Portable(re_)] { return std::make_shared<RegularMachine>(text.here()); };
  }

 private:
  Re re_;
  Expansion start_, end_, none_;
};

struct Texts {  // of a generation
  struct Node {
    Text shorter;
    std::uint32_t size;
    std::uint8_t last;
  };
  Run<Node> nodes;
  Index ids;
  Texts() {
    for (Text t = 0; t <= kAnyText + kSorts; ++t) nodes.push_back({});
  }
};

Texts& texts() { return Generation::here().part<Texts>(); }

}  // namespace

std::shared_ptr<Machine> regular_machine(Re r) { return std::make_shared<RegularMachine>(r); }

Text text_append(Text t, std::uint8_t byte) {
  if (any_text(t)) return t;
  Texts& all = texts();
  const std::uint64_t key = static_cast<std::uint64_t>(t) << 8 | byte;
  const auto same = [&](std::uint32_t i) { return all.nodes[i].shorter == t && all.nodes[i].last == byte; };
  if (const Text known = all.ids.find(key, same); known != Index::kNone) return known;
  Budget::keep(0, sizeof(Texts::Node) + 24);
  all.nodes.push_back({t, all.nodes[t].size + 1, byte});
  all.ids.add(key, static_cast<Text>(all.nodes.size() - 1));
  return static_cast<Text>(all.nodes.size() - 1);
}

std::size_t text_size(Text t) { return texts().nodes[t].size; }

std::string text_from(Text t, std::size_t offset) {
  const Texts& all = texts();
  std::string out(all.nodes[t].size - offset, '\0');
  for (std::size_t i = out.size(); i-- > 0; t = all.nodes[t].shorter) out[i] = static_cast<char>(all.nodes[t].last);
  return out;
}

}  // namespace espalier
