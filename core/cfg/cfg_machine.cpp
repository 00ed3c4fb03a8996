// Steps of the stack machine, and how stacks are joined.
#include "cfg/cfg_machine.hpp"

#include <algorithm>

#include "base/budget.hpp"
#include "regex/serialize.hpp"

namespace espalier::cfg {
namespace {

constexpr Cont kEnd = 1;  // the continuation whose one frame says that the text ends

std::uint64_t both(std::uint32_t a, std::uint32_t b) { return std::uint64_t{a} << 32 | b; }

}  // namespace

CfgMachine::CfgMachine(Network network, Grammar written) : written_(std::move(written)), programs_(std::move(network)) {
  conts_.push_back({});
  conts_.push_back({{kTextEnds, 0}});
}

// The rules as they were handed over, with the expressions and machines in them made again.
Source CfgMachine::source() {
  struct Leaf {
    std::size_t rule, at;
    re::Portable text;
  };
  std::vector<Leaf> leaves;
  for (std::size_t r = 0; r < written_.rules.size(); ++r) {
    const auto& body = written_.rules[r].body;
    for (std::size_t i = 0; i < body.size(); ++i) {
      if (body[i].op == Op::regular) leaves.push_back({r, i, re::Portable(body[i].a)});
    }
  }
  std::vector<Source> machines;
  for (const auto& m : written_.machines) machines.push_back(m->source());
  return [grammar = written_, leaves = std::move(leaves), machines = std::move(machines)] {
    Grammar again = grammar;
    for (const Leaf& leaf : leaves) again.rules[leaf.rule].body[leaf.at].a = leaf.text.here();
    for (std::size_t i = 0; i < machines.size(); ++i) again.machines[i] = machines[i]();
    Network network = compile(again);
    return std::make_shared<CfgMachine>(std::move(network), std::move(again));
  };
}

void CfgMachine::workers(std::vector<Interruptible*>& all) {
  all.push_back(this);
  for (const auto& m : programs_.network().machines) {
    std::vector<Interruptible*> more;
    m->workers(more);
    for (Interruptible* w : more) {
      if (std::find(all.begin(), all.end(), w) == all.end()) all.push_back(w);
    }
  }
}

bool CfgMachine::exact() const {
  for (const auto& m : programs_.network().machines)
    if (!m->exact()) return false;
  return true;
}

bool CfgMachine::refuses(Cont cont, bool tagged) {
  return std::any_of(conts_[cont].begin(), conts_[cont].end(), [&](const Frame& f) {
    if (f.key < kEmbedded) return false;
    const auto [machine, inner] = embedded_[f.key - kEmbedded];
    return programs_.network().machines[machine]->refuses(inner, tagged);
  });
}

std::vector<Item> CfgMachine::sorts(const Item& item) {
  std::vector<Item> all;
  const std::vector<Frame> frames = conts_[item.cont];
  for (const Frame& f : frames) {
    if (f.key < kEmbedded) return {};
    const auto [machine, inner] = embedded_[f.key - kEmbedded];
    const std::vector<Item> sorts = programs_.network().machines[machine]->sorts({item.re, inner, item.text});
    if (sorts.empty()) return {};
    for (const Item& sort : sorts) all.push_back({sort.re, push(embedded(machine, sort.cont), f.below), sort.text});
  }
  return all;
}

std::string CfgMachine::where(Cont cont) {
  for (const Frame& f : conts_[cont]) {
    if (f.key != kTextEnds && f.key < kEmbedded) return "rule `" + programs_.rule_name(f.key) + "`";
  }
  return "";
}

Cont CfgMachine::intern(std::vector<Frame> frames) {
  std::uint64_t hash = 0x9e3779b97f4a7c15ull;
  for (const Frame& f : frames) hash = (hash ^ both(f.key, f.below)) * 0xff51afd7ed558ccdull, hash ^= hash >> 29;
  const auto [begin, end] = by_content_.equal_range(hash);
  for (auto it = begin; it != end; ++it)
    if (conts_[it->second] == frames) return it->second;
  Budget::charge(1, 64 + sizeof(Frame) * frames.size());
  const Cont id = static_cast<Cont>(conts_.size());
  conts_.push_back(std::move(frames));
  by_content_.emplace(hash, id);
  return id;
}

Cont CfgMachine::push(const Path& path, Cont below) {
  if (path.outer != 0) below = push(path.outer, below);
  return path.inner == 0 ? below : push(path.inner, below);
}

CfgMachine::Key CfgMachine::embedded(std::uint32_t machine, Cont inner) {
  const auto [it, fresh] = embedded_ids_.try_emplace({machine, inner}, kEmbedded + static_cast<Key>(embedded_.size()));
  if (fresh) embedded_.emplace_back(machine, inner);
  return it->second;
}

// Stacks are merged from the top down, frames with equal keys into one; the work list stands in for the recursion,
// since stacks may be as deep as the text is long.
Cont CfgMachine::join(Cont a, Cont b) {
  const auto id = [](Cont x, Cont y) { return both(std::min(x, y), std::max(x, y)); };
  const auto known = [&](Cont x, Cont y) -> Cont {
    if (x == y) return x;
    const auto it = joined_.find(id(x, y));
    return it == joined_.end() ? 0 : it->second;
  };
  if (const Cont done = known(a, b)) return done;
  std::vector<std::pair<Cont, Cont>> todo{{a, b}};
  while (!todo.empty()) {
    const auto [x, y] = todo.back();
    Budget::tick();
    if (known(x, y)) {
      todo.pop_back();
      continue;
    }
    std::vector<Frame> frames;
    bool ready = true;
    auto i = conts_[x].begin(), j = conts_[y].begin();
    const auto x_end = conts_[x].end(), y_end = conts_[y].end();
    while (i != x_end || j != y_end) {
      if (j == y_end || (i != x_end && i->key < j->key)) frames.push_back(*i++);
      else if (i == x_end || j->key < i->key) frames.push_back(*j++);
      else {
        const Cont below = known(i->below, j->below);
        if (below == 0 && i->key != kTextEnds) ready = false, todo.emplace_back(i->below, j->below);
        frames.push_back({i->key, below});
        ++i, ++j;
      }
    }
    if (!ready) continue;
    joined_.emplace(id(x, y), intern(std::move(frames)));
    todo.pop_back();
  }
  return known(a, b);
}

void CfgMachine::settle(Expansion& e) {
  std::sort(e.items.begin(), e.items.end());
  std::size_t kept = 0;
  for (const Item& item : e.items) {
    if (kept > 0 && e.items[kept - 1].re == item.re && e.items[kept - 1].text == item.text)
      e.items[kept - 1].cont = join(e.items[kept - 1].cont, item.cont);
    else e.items[kept++] = item;
  }
  e.items.resize(kept);
}

void CfgMachine::embed(Expansion& into, const Expansion& inner, std::uint32_t machine, Cont below) {
  for (const Item& item : inner.items)
    into.items.push_back({item.re, push(embedded(machine, item.cont), below), item.text});
  into.unsure |= inner.unsure;
}

Expansion CfgMachine::assemble(Cont cont) {
  Expansion result;
  const std::vector<Frame> frames = conts_[cont];
  for (const Frame& f : frames) {
    if (f.key == kTextEnds) {
      result.accepts = true;
      continue;
    }
    const Program& program = programs_.at(f.key);
    if (program.re != re::kEmpty) result.items.push_back({program.re, push(f.key, f.below)});
    for (const auto& [machine, path] : program.embeds)
      embed(result, programs_.network().machines[machine]->start(), machine, push(path, f.below));
    if (!program.ends) continue;
    const Expansion& below = expansions_.at(f.below);
    result.items.insert(result.items.end(), below.items.begin(), below.items.end());
    result.accepts |= below.accepts;
  }
  settle(result);
  return result;
}

const Expansion& CfgMachine::expand(Cont cont) {
  std::vector<Cont> todo{cont};
  while (!todo.empty()) {
    const Cont c = todo.back();
    Budget::tick();
    if (expansions_.contains(c)) {
      todo.pop_back();
      continue;
    }
    const std::size_t before = todo.size();
    for (const Frame& f : conts_[c])
      if (programs_.at(f.key).ends && !expansions_.contains(f.below)) todo.push_back(f.below);
    if (todo.size() == before) {
      Expansion made = assemble(c);
      expansions_.emplace(c, std::move(made));
      todo.pop_back();
    }
  }
  return expansions_.at(cont);
}

const Expansion& CfgMachine::start() { return expand(push(programs_.start(), kEnd)); }

const Expansion& CfgMachine::after(Cont cont, Tag tag, Text text) {
  if (const auto it = next_.find(both(cont, tag)); text == 0 && it != next_.end()) return *it->second;
  if (const auto it = next_embedded_.find({cont, tag, text}); it != next_embedded_.end()) return it->second;
  Cont onward = 0;
  const auto add = [&](Cont c) { onward = onward == 0 ? c : join(onward, c); };
  Expansion inside;
  bool embeds = false;
  const std::vector<Frame> frames = conts_[cont];
  for (const Frame& f : frames) {
    if (f.key < kEmbedded) {
      add(push(programs_.at(f.key).targets.at(tag), f.below));
      continue;
    }
    embeds = true;
    const auto [machine, inner] = embedded_[f.key - kEmbedded];
    const Expansion& next = programs_.network().machines[machine]->after(inner, tag, text);
    embed(inside, next, machine, f.below);
    if (next.accepts) add(f.below);
  }
  if (!embeds) return *next_.emplace(both(cont, tag), &expand(onward)).first->second;
  if (onward != 0) {
    const Expansion& outside = expand(onward);
    inside.items.insert(inside.items.end(), outside.items.begin(), outside.items.end());
    inside.accepts |= outside.accepts;
  }
  settle(inside);
  return next_embedded_.emplace(std::tuple{cont, tag, text}, std::move(inside)).first->second;
}

}  // namespace espalier::cfg
