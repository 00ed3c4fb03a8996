// Points are worked out when they are first reached, and remembered.
#include "cfg/continuations.hpp"

#include <map>
#include <unordered_set>

#include "base/budget.hpp"

namespace espalier::cfg {
namespace {

bool may_read_nothing(const Network& net, const Edge& e) {
  switch (e.kind) {
    case Reads::regular: return re::nullable(e.label);
    case Reads::call: return net.bodies[e.label].nullable;
    default: return net.machines[e.label]->start().accepts;
  }
}

}  // namespace

Programs::Programs(Network network) : net_(std::move(network)) {
  start_ = point(net_.root, net_.bodies[net_.root].start);
}

Point Programs::point(Rule goal, State state) {
  const auto [it, fresh] = ids_.try_emplace(std::uint64_t{goal} << 32 | state, static_cast<Point>(points_.size()));
  if (fresh) {
    points_.push_back({goal, state});
    programs_.emplace_back();
    built_.push_back(false);
    only_end_.push_back(0);
  }
  return it->second;
}

const Programs::Corner& Programs::corner(Rule goal) {
  if (const auto it = corners_.find(goal); it != corners_.end()) return it->second;
  Corner c;
  std::vector<Rule> rules{goal};
  std::unordered_set<Rule> known{goal};
  std::unordered_set<State> seen;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    std::vector<State> todo{net_.bodies[rules[i]].start};
    seen.insert(todo[0]);
    while (!todo.empty()) {
      const State s = todo.back();
      todo.pop_back();
      Budget::tick();
      for (const Edge& e : net_.out[s]) {
        if (e.kind == Reads::call) {
          c.completions[e.label].push_back(e.to);
          if (known.insert(e.label).second) rules.push_back(e.label);
        } else if (!e.epsilon()) {
          c.begins.push_back(e);
        }
        if (may_read_nothing(net_, e) && seen.insert(e.to).second) todo.push_back(e.to);
      }
    }
  }
  return corners_.emplace(goal, std::move(c)).first->second;
}

// The states in which the goal may be without reading anything more, and whether its end is among them.
std::vector<State> Programs::level(const At& at, bool& ends) {
  const Corner& c = corner(at.goal);
  std::vector<State> reached{at.state};
  std::unordered_set<State> seen{at.state};
  const auto visit = [&](State s) {
    if (seen.insert(s).second) reached.push_back(s);
  };
  ends = false;
  for (std::size_t i = 0; i < reached.size(); ++i) {
    const State s = reached[i];
    Budget::tick();
    for (const Edge& e : net_.out[s])
      if (may_read_nothing(net_, e)) visit(e.to);
    const Rule owner = net_.owner[s];
    if (net_.bodies[owner].final != s) continue;
    if (owner == at.goal) ends = true;
    if (const auto it = c.completions.find(owner); it != c.completions.end())
      for (State next : it->second) visit(next);
  }
  return reached;
}

Point Programs::needed(Rule goal, State state) {
  const Point p = point(goal, state);
  if (only_end_[p] == 0) {
    bool ends = false, reads = false;
    for (State s : level(points_[p], ends))
      for (const Edge& e : net_.out[s]) reads |= !e.epsilon();
    only_end_[p] = reads || !ends ? 1 : 2;
  }
  return only_end_[p] == 2 ? 0 : p;
}

void Programs::calls(const At& at, State s, std::vector<Entry>& entries) {
  for (const Edge& e : net_.out[s]) {
    if (e.epsilon()) continue;
    const Point after = needed(at.goal, e.to);
    if (e.kind != Reads::call) {
      entries.push_back({e.kind, e.label, {0, after}});
      continue;
    }
    for (const Edge& first : corner(e.label).begins) {
      Budget::tick();
      const Point inner = needed(e.label, first.to);
      entries.push_back({first.kind, first.label, inner == 0 ? Path{0, after} : Path{after, inner}});
    }
  }
}

Program Programs::assemble(const std::vector<Entry>& entries) const {
  Program program;
  std::vector<std::vector<Re>> choices;
  std::map<Path, std::size_t> tags;
  for (const Entry& e : entries) {
    if (e.kind == Reads::embed) {
      program.embeds.emplace_back(e.label, e.path);
      continue;
    }
    const auto [tag, fresh] = tags.try_emplace(e.path, choices.size());
    if (fresh) {
      program.targets.push_back(e.path);
      choices.emplace_back();
    }
    choices[tag->second].push_back(e.label);
  }
  std::vector<Re> marked;
  for (std::size_t tag = 0; tag < choices.size(); ++tag) {
    const Re re = choices[tag].size() == 1 ? choices[tag][0] : re::alt(choices[tag]);
    marked.push_back(tag == 0 ? re : re::mark(re, static_cast<Tag>(tag)));
  }
  if (!marked.empty()) program.re = marked.size() == 1 ? marked[0] : re::alt(marked);
  return program;
}

const Program& Programs::at(Point p) {
  if (!built_[p]) {
    const At at = points_[p];
    bool ends = false;
    std::vector<Entry> entries;
    for (State s : level(at, ends)) calls(at, s, entries);
    Program program = assemble(entries);
    program.ends = ends;
    programs_[p] = std::move(program);  // `calls` may have made more points
    built_[p] = true;
  }
  return programs_[p];
}

// Shortest paths to the end of each rule, where a call costs what the called rule needs: repeated until nothing
// changes.
std::uint32_t Programs::least_of(State state) {
  constexpr std::uint32_t kFar = 1u << 30;
  if (least_.empty()) {
    least_.assign(net_.out.size(), kFar);
    for (const Network::Body& b : net_.bodies) {
      if (b.final < least_.size()) least_[b.final] = 0;
    }
    for (bool changed = true; changed;) {
      changed = false;
      for (State s = static_cast<State>(net_.out.size()); s-- > 0;) {
        std::uint32_t best = least_[s];
        for (const Edge& e : net_.out[s]) {
          std::uint32_t cost = 0;
          if (e.kind == Reads::regular) {
            const auto& ends = re::endings(e.label);
            if (ends.empty()) continue;
            cost = static_cast<std::uint32_t>(ends[0].bytes.size());  // the shortest comes first
          } else if (e.kind == Reads::call) {
            cost = net_.bodies[e.label].nullable ? 0 : least_[net_.bodies[e.label].start];
          }
          best = std::min(best, cost + least_[e.to]);
        }
        if (best < least_[s]) least_[s] = best, changed = true;
      }
    }
  }
  return least_[state] >= kFar ? 0 : least_[state];
}

}  // namespace espalier::cfg
