// Machines made of machines: either, then, repeat, both.
#include "automaton/compose.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "automaton/matcher.hpp"
#include "base/budget.hpp"
#include "regex/store.hpp"

namespace espalier {

namespace {

// A continuation here is a part's continuation and the place where that part stands.
class Composed : public Machine {
 public:
  explicit Composed(std::vector<std::shared_ptr<Machine>> parts) : parts_(std::move(parts)), conts_(1) {}

  const Expansion& start() override {
    if (!started_) {
      started_ = true;
      begin(start_);
    }
    return start_;
  }
  const Expansion& after(Cont cont, Tag tag, Text text) override {
    const Key key{cont, tag, text};
    if (const auto at = after_.find(key); at != after_.end()) return at->second;
    const auto [place, inner] = conts_[cont];
    const Expansion part = machine(place).after(inner, tag, text);  // a copy: the part may be asked again below
    Expansion out;
    follow(part, place, out);
    Budget::charge(1, sizeof(Item) * out.items.size() + 64);
    return after_.emplace(key, std::move(out)).first->second;
  }
  Cont join(Cont a, Cont b) override {
    if (conts_[a].first != conts_[b].first) return 0;
    const Cont c = machine(conts_[a].first).join(conts_[a].second, conts_[b].second);
    return c ? wrap(conts_[a].first, c) : 0;
  }
  bool joins() const override {
    return std::any_of(parts_.begin(), parts_.end(), [](const auto& m) { return m->joins(); });
  }
  std::string where(Cont cont) override { return machine(conts_[cont].first).where(conts_[cont].second); }
  bool refuses(Cont cont, bool tagged) override {
    return machine(conts_[cont].first).refuses(conts_[cont].second, tagged);
  }
  std::vector<Item> sorts(const Item& item) override {
    const auto [place, inner] = conts_[item.cont];
    std::vector<Item> all = machine(place).sorts({item.re, inner, item.text});
    for (Item& sort : all) sort.cont = wrap(place, sort.cont);
    return all;
  }
  std::uint32_t owed(Cont cont, Tag tag) override {
    const auto [place, inner] = conts_[cont];
    return machine(place).owed(inner, tag) + behind(place);
  }
  bool worth(Cont cont, Tag tag) override { return machine(conts_[cont].first).worth(conts_[cont].second, tag); }
  bool exact() const override {
    return std::all_of(parts_.begin(), parts_.end(), [](const auto& m) { return m->exact(); });
  }

  void workers(std::vector<Interruptible*>& all) override {
    all.push_back(this);
    for (const auto& part : parts_) {
      std::vector<Interruptible*> more;
      part->workers(more);
      for (Interruptible* w : more) {
        if (std::find(all.begin(), all.end(), w) == all.end()) all.push_back(w);
      }
    }
  }

 protected:
  static std::vector<Source> sources(const std::vector<std::shared_ptr<Machine>>& parts) {
    std::vector<Source> out;
    for (const auto& part : parts) out.push_back(part->source());
    return out;
  }
  static std::vector<std::shared_ptr<Machine>> made(const std::vector<Source>& sources) {
    std::vector<std::shared_ptr<Machine>> out;
    for (const Source& source : sources) out.push_back(source());
    return out;
  }
  virtual void begin(Expansion& out) = 0;
  virtual Machine& machine(std::uint32_t place) = 0;
  virtual void ended(std::uint32_t place, Expansion& out) = 0;         // the part at `place` may end here
  virtual std::uint32_t behind(std::uint32_t /*place*/) { return 0; }  // bytes that must follow it, at least

  void follow(const Expansion& part, std::uint32_t place, Expansion& out) {
    for (const Item& i : part.items) out.items.push_back({i.re, wrap(place, i.cont), i.text});
    out.unsure |= part.unsure;
    if (part.accepts) ended(place, out);
  }
  // How many bytes a text of this part has at least, as far as is known.
  std::uint32_t least(std::uint32_t part) {
    if (fewest_.empty()) fewest_.resize(parts_.size(), kUnknown);
    if (fewest_[part] != kUnknown) return fewest_[part];
    Machine& m = *parts_[part];
    const Expansion begin = m.start();
    std::uint32_t best = begin.accepts || begin.items.empty() ? 0 : kUnknown;
    for (const Item& item : begin.items) {
      for (const re::Ending& end : std::vector<re::Ending>(re::endings(item.re)))
        best = std::min(best, static_cast<std::uint32_t>(end.bytes.size()) + m.owed(item.cont, end.tag));
    }
    return fewest_[part] = best == kUnknown ? 0 : best;
  }
  std::vector<std::shared_ptr<Machine>> parts_;

 private:
  using Key = std::array<std::uint32_t, 3>;
  Cont wrap(std::uint32_t place, Cont inner) {
    const auto [at, fresh] =
        ids_.try_emplace(static_cast<std::uint64_t>(place) << 32 | inner, static_cast<Cont>(conts_.size()));
    if (fresh) conts_.push_back({place, inner});
    return at->second;
  }
  std::vector<std::pair<std::uint32_t, Cont>> conts_;
  std::unordered_map<std::uint64_t, Cont> ids_;
  std::map<Key, Expansion> after_;
  Expansion start_;
  bool started_ = false;
  static constexpr std::uint32_t kUnknown = ~0u;
  std::vector<std::uint32_t> fewest_;  // of each part
};

class Either final : public Composed {
 public:
  using Composed::Composed;
  Source source() override {
    return [parts = sources(parts_)] { return std::make_shared<Either>(made(parts)); };
  }

 private:
  void begin(Expansion& out) override {
    for (std::uint32_t k = 0; k < parts_.size(); ++k) follow(Expansion(parts_[k]->start()), k, out);
  }
  Machine& machine(std::uint32_t place) override { return *parts_[place]; }
  void ended(std::uint32_t, Expansion& out) override { out.accepts = true; }
};

class Then final : public Composed {
 public:
  using Composed::Composed;
  Source source() override {
    return [parts = sources(parts_)] { return std::make_shared<Then>(made(parts)); };
  }

 private:
  void begin(Expansion& out) override { follow(Expansion(parts_[0]->start()), 0, out); }
  Machine& machine(std::uint32_t place) override { return *parts_[place]; }
  void ended(std::uint32_t place, Expansion& out) override {
    if (place + 1 == parts_.size()) out.accepts = true;
    else follow(Expansion(parts_[place + 1]->start()), place + 1, out);
  }
  std::uint32_t behind(std::uint32_t place) override {
    std::uint32_t bytes = 0;
    for (std::uint32_t next = place + 1; next < parts_.size(); ++next) bytes += least(next);
    return bytes;
  }
};

// place = rounds begun, not counted beyond what matters.
class Repeat final : public Composed {
 public:
  Repeat(std::shared_ptr<Machine> part, std::uint32_t lo, std::uint32_t hi)
      : Composed({std::move(part)}), least_(lo), lo_(parts_[0]->start().accepts ? 0 : lo), hi_(hi) {}
  Source source() override {
    return [part = parts_[0]->source(), lo = least_, hi = hi_] { return std::make_shared<Repeat>(part(), lo, hi); };
  }

 private:
  void begin(Expansion& out) override { ended(0, out); }
  Machine& machine(std::uint32_t) override { return *parts_[0]; }
  void ended(std::uint32_t rounds, Expansion& out) override {
    out.accepts |= rounds >= lo_;
    if (rounds == hi_) return;
    const std::uint32_t next = hi_ == re::kInf ? std::min(rounds + 1, std::max(lo_, 1u)) : rounds + 1;
    for (const Item& i : Expansion(parts_[0]->start()).items) follow({{i}, false}, next, out);
  }
  std::uint32_t behind(std::uint32_t rounds) override { return rounds < lo_ ? (lo_ - rounds) * least(0) : 0; }
  std::uint32_t least_, lo_, hi_;
};

// Two matchers in step. Each byte is a lexeme of its own, captured to be handed to both: their lexemes end at different
// places.
class Both final : public Machine {
 public:
  Both(std::shared_ptr<Machine> a, std::shared_ptr<Machine> b)
      : a_(std::move(a), "both"), b_(std::move(b), "both"), pairs_(1) {}

  const Expansion& start() override {
    if (!start_) start_ = &at(a_.start(), b_.start());
    return *start_;
  }
  const Expansion& after(Cont cont, Tag, Text text) override {
    const std::string byte = text_from(text, 0);
    const auto [x, y] = pairs_[cont];
    const State next = a_.advance(x, byte);
    return next ? at(next, b_.advance(y, byte)) : none_;
  }
  bool refuses(Cont, bool) override { return true; }
  std::string where(Cont cont) override {
    const std::span<const Item> items = a_.items(pairs_[cont].first);
    return items.empty() ? "" : a_.machine().where(items[0].cont);
  }
  bool exact() const override { return false; }
  Source source() override {
    return [a = a_.machine().source(), b = b_.machine().source()] { return std::make_shared<Both>(a(), b()); };
  }
  void workers(std::vector<Interruptible*>& all) override {
    all = a_.workers();
    for (Interruptible* w : b_.workers()) {
      if (std::find(all.begin(), all.end(), w) == all.end()) all.push_back(w);
    }
    all.push_back(this);
  }

 private:
  const Expansion& at(State x, State y) {
    if (!x || !y) return none_;
    const auto [found, fresh] = known_.try_emplace(static_cast<std::uint64_t>(x) << 32 | y);
    if (!fresh) return found->second;
    Budget::charge(1, 2 * sizeof(Item) + 96);
    Expansion& out = found->second;
    out.accepts = a_.accepts(x) && b_.accepts(y);
    ByteSet bytes = first(a_.items(x));
    const ByteSet other = first(b_.items(y));
    for (int w = 0; w < 4; ++w) bytes.w[w] &= other.w[w];
    if (const Re one = re::bytes(bytes); one != re::kEmpty) {
      out.items.push_back({one, static_cast<Cont>(pairs_.size()), 1});
      pairs_.push_back({x, y});
    }
    return out;
  }
  static ByteSet first(std::span<const Item> items) {
    ByteSet bytes;
    for (const Item& item : items) {
      const re::Row& row = re::Store::get().row(item.re);
      for (unsigned b = 0; b < 256; ++b) {
        if (row.to[row.cls[b]] != re::kEmpty) bytes.add(b);
      }
    }
    return bytes;
  }
  Matcher a_, b_;
  std::vector<std::pair<State, State>> pairs_;
  std::unordered_map<std::uint64_t, Expansion> known_;
  const Expansion none_{};
  const Expansion* start_ = nullptr;
};

}  // namespace

std::shared_ptr<Machine> both_machine(std::shared_ptr<Machine> a, std::shared_ptr<Machine> b) {
  return std::make_shared<Both>(std::move(a), std::move(b));
}
std::shared_ptr<Machine> either_machine(std::vector<std::shared_ptr<Machine>> parts) {
  return std::make_shared<Either>(std::move(parts));
}
std::shared_ptr<Machine> then_machine(std::vector<std::shared_ptr<Machine>> parts) {
  return std::make_shared<Then>(std::move(parts));
}
std::shared_ptr<Machine> repeat_machine(std::shared_ptr<Machine> part, std::uint32_t lo, std::uint32_t hi) {
  return std::make_shared<Repeat>(std::move(part), lo, hi);
}

}  // namespace espalier
