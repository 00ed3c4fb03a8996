// Rules are declared, and compiled one by one.
#include "cfg/rules.hpp"

#include "cfg/analysis.hpp"
#include "cfg/compiler.hpp"

namespace espalier::cfg {

Rule Grammar::declare(const std::string& name, bool lexical) {
  rules.push_back({name, lexical, false, {}});
  return static_cast<Rule>(rules.size() - 1);
}

void Grammar::fail(Rule rule, const std::string& why) const {
  throw GrammarError("grammar rule `" + rules[rule].name + "`: " + why);
}

void Compiler::rule(Rule r, bool recursive) {
  Fragment f = evaluate(r);
  if (f.regular) {
    done_[r] = {true, f.expression, f.size};
    if (f.size <= kCopySize || uses_[r] <= 1) return;
    done_[r].regular = false;  // too large to be copied into other rules: it is called
    to_states(f);
  }
  now_.start = f.in;
  now_.final = f.out;
  if (recursive && now_.calls(r)) now_.flatten(r);
  now_.simplify();
  if (now_.regular() && f.size <= kCopySize && now_.out.size() <= 200) {
    if (const auto whole = now_.expression(4096)) {
      done_[r] = {true, *whole, kCopySize};
      return;
    }
  }
  place(r, now_);
}

void Compiler::place(Rule r, Automaton& automaton) {
  const State base = static_cast<State>(net_.out.size());
  for (auto& edges : automaton.out) {
    for (Edge& e : edges) e.to += base;
    net_.out.push_back(std::move(edges));
    net_.owner.push_back(r);
  }
  net_.bodies[r].start = base + automaton.start;
  net_.bodies[r].final = base + automaton.final;
}

Network Compiler::run() {
  const Rule root = g_.declare(g_.rules[g_.start].name, false);
  RuleText& text = g_.rules[root];
  text.defined = true;
  if (g_.ignore != kNone) text.body.push_back({Op::ref, g_.ignore, 0});
  text.body.push_back({Op::ref, g_.start, 0});
  text.body.push_back({Op::cat, g_.ignore == kNone ? 1u : 2u, 0});
  text.lexical = g_.rules[g_.start].lexical && g_.ignore == kNone;
  net_.root = root;
  net_.machines = g_.machines;
  net_.unproductive = drop_unproductive(g_);
  net_.bodies.resize(g_.rules.size());
  for (Rule r = 0; r < g_.rules.size(); ++r) net_.bodies[r].name = g_.rules[r].name;
  done_.resize(g_.rules.size());
  uses_.resize(g_.rules.size());
  for (const RuleText& t : g_.rules)
    for (const Instruction& i : t.body)
      if (i.op == Op::ref) ++uses_[i.a];
  if (g_.ignore != kNone) uses_[g_.ignore] = kNone;
  for (const Component& c : components(g_, root))
    for (Rule r : c.rules)
      if (r != root) rule(r, c.recursive);
  Fragment f = evaluate(root);
  to_states(f);
  now_.start = f.in;
  now_.final = f.out;
  now_.simplify();
  place(root, now_);
  if (!drop_dead(net_)) g_.fail(g_.start, kNoText);
  mark_nullable(net_);
  return std::move(net_);
}

Network compile(Grammar grammar) { return Compiler(std::move(grammar)).run(); }

}  // namespace espalier::cfg
