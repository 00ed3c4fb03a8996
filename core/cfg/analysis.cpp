// Which rules can finish, and which call each other: fixed points over all rules.
#include "cfg/analysis.hpp"

#include <algorithm>

namespace espalier::cfg {
namespace {

using Flags = std::vector<bool>;

// Whether a right-hand side has any string, if exactly the rules of `productive` have.
bool has_string(const Grammar& g, const RuleText& rule, const Flags& productive) {
  std::vector<bool> stack;
  const auto take = [&] {
    const bool top = stack.back();
    stack.pop_back();
    return top;
  };
  for (const Instruction& i : rule.body) {
    bool value = true;
    switch (i.op) {
      case Op::regular: value = !re::empty(i.a); break;
      case Op::ref: value = productive[i.a]; break;
      case Op::embed: value = g.machines[i.a]->start().accepts || !g.machines[i.a]->start().items.empty(); break;
      case Op::cat:
        for (std::uint32_t k = 0; k < i.a; ++k) value = take() && value;
        break;
      case Op::alt:
        value = false;
        for (std::uint32_t k = 0; k < i.a; ++k) value = take() || value;
        break;
      case Op::repeat: value = take() || i.a == 0; break;
      case Op::both: {
        const bool right = take(), left = take();
        value = right && left;
        break;
      }
      case Op::minus:
        take();
        value = take();
        break;
    }
    stack.push_back(value);
  }
  return stack.back();
}

std::vector<Rule> callees(const RuleText& rule) {
  std::vector<Rule> result;
  for (const Instruction& i : rule.body)
    if (i.op == Op::ref) result.push_back(i.a);
  return result;
}

Flags reachable(const Grammar& g, std::vector<Rule> todo) {
  Flags seen(g.rules.size());
  for (Rule r : todo) seen[r] = true;
  while (!todo.empty()) {
    const Rule r = todo.back();
    todo.pop_back();
    for (Rule c : callees(g.rules[r])) {
      if (!g.rules[c].defined) g.fail(r, "it uses `" + g.rules[c].name + "`, which is defined nowhere");
      if (!seen[c]) seen[c] = true, todo.push_back(c);
    }
  }
  return seen;
}

}  // namespace

std::vector<std::string> drop_unproductive(Grammar& g) {
  std::vector<Rule> roots{static_cast<Rule>(g.rules.size() - 1)};
  const Flags used = reachable(g, roots);
  std::vector<std::vector<Rule>> callers(g.rules.size());
  std::vector<Rule> todo;
  for (Rule r = 0; r < g.rules.size(); ++r) {
    if (!used[r]) continue;
    todo.push_back(r);
    for (Rule c : callees(g.rules[r])) callers[c].push_back(r);
  }
  Flags productive(g.rules.size());
  while (!todo.empty()) {
    const Rule r = todo.back();
    todo.pop_back();
    if (productive[r] || !has_string(g, g.rules[r], productive)) continue;
    productive[r] = true;
    for (Rule c : callers[r])
      if (!productive[c]) todo.push_back(c);
  }
  if (!productive[roots[0]]) g.fail(g.start, kNoText);
  std::vector<std::string> dropped;
  for (Rule r = 0; r < g.rules.size(); ++r) {
    if (!used[r] || productive[r]) continue;
    dropped.push_back(g.rules[r].name);
    g.rules[r].body = {{Op::regular, re::kEmpty, 0}};
  }
  return dropped;
}

std::vector<Component> components(const Grammar& g, Rule root) {  // Tarjan 1972, with its own stack
  struct Visit {
    Rule rule;
    std::vector<Rule> callees;
    std::size_t next;
  };
  std::vector<std::uint32_t> index(g.rules.size(), kNone), low(g.rules.size());
  Flags open(g.rules.size());
  std::vector<Rule> path;
  std::vector<Visit> visits;
  std::vector<Component> result;
  std::uint32_t clock = 0;
  const auto enter = [&](Rule r) {
    index[r] = low[r] = clock++;
    open[r] = true;
    path.push_back(r);
    std::vector<Rule> next = callees(g.rules[r]);
    // what is ignored is used by every rule with terminals
    if (g.ignore != kNone && !g.rules[r].lexical && r != g.ignore) next.push_back(g.ignore);
    visits.push_back({r, std::move(next), 0});
  };
  enter(root);
  while (!visits.empty()) {
    Visit& v = visits.back();
    if (v.next < v.callees.size()) {
      const Rule c = v.callees[v.next++];
      if (index[c] == kNone) enter(c);
      else if (open[c]) low[v.rule] = std::min(low[v.rule], index[c]);
      continue;
    }
    const Rule r = v.rule;
    const bool self = std::find(v.callees.begin(), v.callees.end(), r) != v.callees.end();
    visits.pop_back();
    if (!visits.empty()) low[visits.back().rule] = std::min(low[visits.back().rule], low[r]);
    if (low[r] != index[r]) continue;
    Component c;
    Rule member;
    do {
      member = path.back();
      path.pop_back();
      open[member] = false;
      c.rules.push_back(member);
    } while (member != r);
    c.recursive = self || c.rules.size() > 1;
    result.push_back(std::move(c));
  }
  return result;
}

bool drop_dead(Network& net) {
  std::vector<std::vector<State>> into(net.out.size());
  std::vector<std::vector<std::pair<State, State>>> calls(net.bodies.size());
  std::vector<bool> finishes(net.out.size()), productive(net.bodies.size());
  std::vector<State> todo;
  const auto reach = [&](State s) {
    if (!finishes[s]) finishes[s] = true, todo.push_back(s);
  };
  for (State s = 0; s < net.out.size(); ++s) {
    for (const Edge& e : net.out[s]) {
      if (e.kind == Reads::call) calls[e.label].emplace_back(s, e.to);
      else if (e.kind == Reads::embed || e.label != re::kEmpty) into[e.to].push_back(s);
    }
    if (net.bodies[net.owner[s]].final == s) reach(s);
  }
  while (!todo.empty()) {
    const State s = todo.back();
    todo.pop_back();
    const Rule rule = net.owner[s];
    if (net.bodies[rule].start == s) {
      productive[rule] = true;
      for (const auto& [from, to] : calls[rule]) {
        if (finishes[to]) reach(from);
        into[to].push_back(from);
      }
    }
    for (const State p : into[s]) reach(p);
  }
  for (auto& edges : net.out) {
    std::erase_if(edges, [&](const Edge& e) {
      return !finishes[e.to] || (e.kind == Reads::call && !productive[e.label]) ||
             (e.kind == Reads::regular && e.label == re::kEmpty);
    });
  }
  return productive[net.root];
}

void mark_nullable(Network& net) {
  std::vector<std::vector<State>> into(net.out.size());  // states from which an edge that may read nothing leads here
  std::vector<std::vector<std::pair<State, State>>> calls(net.bodies.size());
  for (State s = 0; s < net.out.size(); ++s) {
    for (const Edge& e : net.out[s]) {
      if (e.kind == Reads::call) calls[e.label].emplace_back(s, e.to);
      else if (e.kind == Reads::regular ? re::nullable(e.label) : net.machines[e.label]->start().accepts)
        into[e.to].push_back(s);
    }
  }
  std::vector<bool> to_end(net.out.size());  // the end of its rule is reached without reading anything
  std::vector<State> todo;
  for (State s = 0; s < net.out.size(); ++s)
    if (net.bodies[net.owner[s]].final == s) to_end[s] = true, todo.push_back(s);
  while (!todo.empty()) {
    const State s = todo.back();
    todo.pop_back();
    auto& body = net.bodies[net.owner[s]];
    if (body.start == s && !body.nullable) {
      body.nullable = true;
      for (const auto& [from, to] : calls[net.owner[s]]) {
        into[to].push_back(from);
        if (to_end[to] && !to_end[from]) to_end[from] = true, todo.push_back(from);
      }
    }
    for (State p : into[s])
      if (!to_end[p]) to_end[p] = true, todo.push_back(p);
  }
}

}  // namespace espalier::cfg
