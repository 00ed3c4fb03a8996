// An expression is written out part by part, and made again from the parts.
#include "regex/serialize.hpp"

#include <algorithm>
#include <unordered_map>

#include "base/budget.hpp"

namespace espalier::re {

// The nodes below, each once, without recursion: a literal is as deep as it is long.
Portable::Portable(Re root) {
  const Store& store = Store::get();
  std::unordered_map<Re, std::uint32_t> numbers;
  std::vector<std::pair<Re, bool>> todo{{root, false}};
  std::vector<Re> loops;
  const auto below = [&](const Node& n) {
    std::vector<Re> out;
    if (n.many()) out.assign(store.operands(n).begin(), store.operands(n).end());
    if (n.kind == Kind::Cat) out = {n.cat().head, n.cat().tail};
    if (n.kind == Kind::Not) out = {n.negated()};
    if (n.kind == Kind::Repeat) out = {n.repeat().of};
    if (n.kind == Kind::Json) out = {n.json().text};
    return out;
  };
  for (std::size_t done = 0; !todo.empty() || done < loops.size();) {
    if (todo.empty()) todo.push_back({store.body(loops[done++]), false});
    const auto [r, ready] = todo.back();
    todo.pop_back();
    if (numbers.contains(r)) continue;
    const Node n = store.node(r);
    const std::vector<Re> operands = below(n);
    if (!ready) {
      todo.push_back({r, true});
      for (const Re x : operands) todo.push_back({x, false});
      continue;
    }
    Part part{n, {}, {}, {}};
    for (const Re x : operands) part.operands.push_back(numbers.at(x));
    if (n.kind == Kind::Bytes) part.set = store.set(r);
    if (n.kind == Kind::Words) part.words = store.listed(r);
    numbers[r] = static_cast<std::uint32_t>(parts_.size());
    parts_.push_back(std::move(part));
    if (n.kind == Kind::Loop) loops.push_back(r);
  }
  root_ = numbers.at(root);
  for (const Re loop : loops) loops_.emplace_back(numbers.at(loop), numbers.at(store.body(loop)));
}

Re Portable::here() const {
  Store& store = Store::get();
  std::vector<Re> made;
  for (const Part& part : parts_) {
    Budget::tick();
    std::vector<Re> operands;
    for (const std::uint32_t at : part.operands) operands.push_back(made[at]);
    made.push_back(store.again(part.node, std::move(operands), part.set, part.words));
  }
  for (const auto& [loop, body] : loops_) store.close(made[loop], made[body]);
  return made[root_];
}

// A node that was in normal form in another store: only the order of operands depends on the store.
Re Store::again(Node n, std::vector<Re> operands, const ByteSet& set,
                const std::vector<std::pair<std::string, Tag>>& words) {
  Re r = kEmpty;
  switch (n.kind) {
    case Kind::Empty: return kEmpty;
    case Kind::Epsilon: return kEpsilon;
    case Kind::All: return kAll;
    case Kind::Tag: return tag(n.tag());
    case Kind::Bytes: r = bytes(set); break;
    case Kind::Words: {
      std::vector<WordId> list;
      for (const auto& [text, tag] : words) list.push_back(word(text, tag));
      r = words_after(in_order(std::move(list)), n.words().depth);
      break;
    }
    case Kind::Alt:
    case Kind::And:
      std::sort(operands.begin(), operands.end());
      r = intern(Node(n.kind), operands);
      break;
    case Kind::Cat: r = intern(Node(Pair{operands[0], operands[1]})); break;
    case Kind::Loop: r = loop(n.loop().nullable, n.flags & kText); break;
    case Kind::Not: r = intern(Node(Complement{operands[0]})); break;
    case Kind::Repeat: r = intern(Node(Repetition{operands[0], n.repeat().lo, n.repeat().hi})); break;
    case Kind::Json: r = intern(Node(StringBody{operands[0], n.json().phase, n.json().read})); break;
    case Kind::Tree: throw GrammarError("a growing set of words belongs to one text");
  }
  nodes_[r].flags |= n.flags;  // what is known about the language is so in every store
  return r;
}

std::vector<std::pair<std::string, Tag>> Store::listed(Re r) const {
  std::vector<std::pair<std::string, Tag>> out;
  for (const WordId w : word_lists_[nodes_[r].words().list]) out.emplace_back(words_[w].text, words_[w].tag);
  return out;
}

}  // namespace espalier::re
