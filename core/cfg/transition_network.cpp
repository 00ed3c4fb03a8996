// Automata of rules: their edges, what can be joined, and what is reached without reading.
#include "cfg/transition_network.hpp"

#include <algorithm>

#include "base/budget.hpp"

namespace espalier::cfg {

State Automaton::add_state() {
  out.emplace_back();
  return static_cast<State>(out.size() - 1);
}

bool Automaton::calls(Rule rule) const {
  for (const auto& edges : out)
    for (const Edge& e : edges)
      if (e.kind == Reads::call && e.label == rule) return true;
  return false;
}

bool Automaton::regular() const {
  for (const auto& edges : out)
    for (const Edge& e : edges)
      if (e.kind != Reads::regular) return false;
  return true;
}

std::vector<State> Automaton::epsilon_reach(State from) const {
  std::vector<State> reached{from};
  std::vector<bool> seen(out.size());
  seen[from] = true;
  for (std::size_t i = 0; i < reached.size(); ++i) {
    if (reached[i] == final) continue;
    for (const Edge& e : out[reached[i]])
      if (e.epsilon() && !seen[e.to]) {
        seen[e.to] = true;
        reached.push_back(e.to);
      }
  }
  return reached;
}

// A new state that goes on as `from` does but that nothing else leads to; `with_final` = it may also be the end.
State Automaton::detached_copy(State from, bool with_final) {
  const std::vector<State> reached = epsilon_reach(from);
  const State copy = add_state();
  for (State s : reached) {
    if (s == final) {
      if (with_final) epsilon(copy, final);
      continue;
    }
    for (std::size_t i = 0; i < out[s].size(); ++i)
      if (const Edge e = out[s][i]; !e.epsilon()) connect(copy, e);
  }
  return copy;
}

void Automaton::flatten(Rule self) {
  const State last = add_state();  // the only final state, with no edges of its own yet
  epsilon(final, last);
  final = last;
  start = detached_copy(start, true);

  const auto is_self = [&](const Edge& e) { return e.kind == Reads::call && e.label == self; };
  std::vector<State> after_leading;
  for (const Edge& e : out[start])
    if (is_self(e)) after_leading.push_back(e.to);
  std::erase_if(out[start], is_self);

  const State original = static_cast<State>(out.size());
  for (State s = 0; s < original; ++s) {
    for (std::size_t i = 0; i < out[s].size(); ++i) {
      const Edge e = out[s][i];
      if (!is_self(e)) continue;
      const std::vector<State> reached = epsilon_reach(e.to);
      if (std::find(reached.begin(), reached.end(), final) == reached.end()) continue;
      const State rest = detached_copy(e.to, false);
      if (out[rest].empty()) {
        out[s][i] = {Reads::regular, re::kEpsilon, start};
      } else {
        out[s][i].to = rest;
        epsilon(s, start);
      }
    }
  }
  for (State s : after_leading) epsilon(final, s);
}

void Automaton::prune() {
  std::vector<std::vector<State>> in(out.size());
  for (State s = 0; s < out.size(); ++s) {
    std::erase_if(out[s], [&](const Edge& e) {
      return e.kind == Reads::regular && (e.label == re::kEmpty || (e.label == re::kEpsilon && e.to == s));
    });
    for (const Edge& e : out[s]) in[e.to].push_back(s);
  }
  std::vector<bool> forward(out.size()), backward(out.size());
  std::vector<State> todo{start};
  forward[start] = true;
  while (!todo.empty()) {
    const State s = todo.back();
    todo.pop_back();
    for (const Edge& e : out[s])
      if (!forward[e.to]) forward[e.to] = true, todo.push_back(e.to);
  }
  todo.push_back(final);
  backward[final] = true;
  while (!todo.empty()) {
    const State s = todo.back();
    todo.pop_back();
    for (State p : in[s])
      if (!backward[p]) backward[p] = true, todo.push_back(p);
  }
  std::vector<State> renamed(out.size(), ~0u);
  std::vector<std::vector<Edge>> kept;
  for (State s = 0; s < out.size(); ++s)
    if ((forward[s] && backward[s]) || s == start || s == final) {
      renamed[s] = static_cast<State>(kept.size());
      kept.push_back(std::move(out[s]));
    }
  for (auto& edges : kept) {
    std::erase_if(edges, [&](const Edge& e) { return renamed[e.to] == ~0u; });
    for (Edge& e : edges) e.to = renamed[e.to];
  }
  out = std::move(kept);
  start = renamed[start];
  final = renamed[final];
}

// Edges with the same two ends: equal calls are one, regular expressions become alternatives of one.
void Automaton::join_parallel(State s) {
  auto& edges = out[s];
  std::stable_sort(edges.begin(), edges.end(), [](const Edge& a, const Edge& b) { return a.to < b.to; });
  std::vector<Edge> joined;
  for (std::size_t i = 0; i < edges.size();) {
    std::size_t j = i;
    std::vector<Re> parts;
    for (; j < edges.size() && edges[j].to == edges[i].to; ++j) {
      if (edges[j].kind == Reads::regular) parts.push_back(edges[j].label);
      else if (std::find(joined.begin(), joined.end(), edges[j]) == joined.end()) joined.push_back(edges[j]);
    }
    if (!parts.empty()) joined.push_back({Reads::regular, parts.size() == 1 ? parts[0] : re::alt(parts), edges[i].to});
    i = j;
  }
  edges = std::move(joined);
}

// Removes `s` if all its edges are regular and no more than `limit` edges take its place.
bool Automaton::eliminate(State s, std::size_t limit) {
  std::vector<std::pair<State, Re>> in;
  Re loop = re::kEpsilon;
  std::size_t onward = 0;
  for (const Edge& e : out[s]) {
    if (e.kind != Reads::regular) return false;
    if (e.to == s) loop = re::repeat(e.label, 0);
    else ++onward;
  }
  for (State p = 0; p < out.size(); ++p) {
    if (p == s) continue;
    Budget::tick();
    for (const Edge& e : out[p]) {
      if (e.to != s) continue;
      if (e.kind != Reads::regular) return false;
      in.emplace_back(p, e.label);
    }
  }
  if (in.size() * onward > limit) return false;
  const std::vector<Edge> edges = std::move(out[s]);
  out[s].clear();
  for (const auto& [p, before] : in) {
    std::erase_if(out[p], [&](const Edge& e) { return e.to == s; });
    for (const Edge& e : edges)
      if (e.to != s) connect(p, {Reads::regular, re::cat(before, re::cat(loop, e.label)), e.to});
    join_parallel(p);
  }
  return true;
}

void Automaton::simplify() {
  prune();
  for (State s = 0; s < out.size(); ++s) join_parallel(s);
  // A state that only goes on elsewhere is that other state.
  std::vector<State> same(out.size());
  for (State s = 0; s < out.size(); ++s) {
    State t = s;
    for (std::size_t hops = 0; hops < out.size(); ++hops) {
      if (t == final || t == start || out[t].size() != 1 || !out[t][0].epsilon()) break;
      t = out[t][0].to;
    }
    same[s] = t;
  }
  for (auto& edges : out)
    for (Edge& e : edges) e.to = same[e.to];
  prune();
  if (out.size() > 2000) return;  // elimination looks at all states for each: leave very large rules as they are
  bool changed = true;
  while (changed) {
    changed = false;
    for (State s = 0; s < out.size(); ++s)
      if (s != start && s != final && !out[s].empty() && eliminate(s, 2)) changed = true;
  }
  prune();
}

std::optional<Re> Automaton::expression(std::size_t budget) const {
  Automaton whole = *this;
  const State first = whole.add_state(), last = whole.add_state();
  whole.epsilon(first, whole.start);
  whole.epsilon(whole.final, last);
  whole.start = first;
  whole.final = last;
  whole.prune();
  std::size_t spent = 0;
  for (State s = 0; s < whole.out.size(); ++s) whole.join_parallel(s);
  for (std::size_t limit = 1; limit < budget; limit *= 2) {
    for (State s = 0; s < whole.out.size(); ++s) {
      if (s == whole.start || s == whole.final || whole.out[s].empty()) continue;
      if (whole.eliminate(s, limit)) spent += limit;
      if (spent > budget) return std::nullopt;
    }
  }
  Re result = re::kEmpty;
  for (const Edge& e : whole.out[whole.start]) {
    if (e.to != whole.final) return std::nullopt;
    result = re::alt(result, e.label);
  }
  return result;
}

}  // namespace espalier::cfg
