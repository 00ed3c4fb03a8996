// Fragments of automata: one edge, and what is built of two.
#include <algorithm>
#include <unordered_map>

#include "cfg/compiler.hpp"

namespace espalier::cfg {
namespace {

Fragment expression(Re e, std::uint64_t size) { return {true, e, size, 0, 0}; }

}  // namespace

Fragment Compiler::edge(Edge e) {
  Fragment f;
  f.regular = false;
  f.in = now_.add_state();
  f.out = now_.add_state();
  e.to = f.out;
  now_.connect(f.in, e);
  return f;
}

void Compiler::to_states(Fragment& f) {
  if (f.regular) f = edge({Reads::regular, f.expression, 0});
}

std::vector<Fragment> Compiler::take(std::size_t n) {
  std::vector<Fragment> parts(stack_.end() - static_cast<std::ptrdiff_t>(n), stack_.end());
  stack_.resize(stack_.size() - n);
  return parts;
}

Fragment Compiler::joined(Fragment a, Fragment b) {
  if (a.regular && b.regular && a.size + b.size <= kExpressionSize)
    return expression(re::cat(a.expression, b.expression), a.size + b.size);
  to_states(a);
  to_states(b);
  now_.epsilon(a.out, b.in);
  a.out = b.out;
  return a;
}

Fragment Compiler::reference(Rule callee) {
  const Done& d = done_[callee];
  if (d.regular) return expression(d.expression, d.size);
  return edge({Reads::call, callee, 0});
}

// A terminal in a rule that is not itself a terminal: what is ignored may follow.
Fragment Compiler::terminal(Fragment f) { return g_.ignore == kNone ? f : joined(f, reference(g_.ignore)); }

void Compiler::leaf(Rule r, const Instruction& i) {
  Fragment f;
  if (i.op == Op::regular) f = expression(re::empty(i.a) ? re::kEmpty : i.a, i.b);
  if (i.op == Op::ref) f = reference(i.a);
  if (i.op == Op::embed) f = edge({Reads::embed, i.a, 0});
  const bool token = i.op != Op::ref || g_.rules[i.a].lexical;
  const bool empty = f.regular && (f.expression == re::kEpsilon || f.expression == re::kEmpty);
  stack_.push_back(token && !empty && !g_.rules[r].lexical ? terminal(f) : f);
}

void Compiler::cat(std::size_t n) {
  std::vector<Fragment> parts = take(n);
  if (parts.empty()) parts.push_back({});
  Fragment whole = parts.back();  // from the right: expressions are right-leaning lists
  for (std::size_t i = parts.size() - 1; i-- > 0;) {
    if (whole.regular || !parts[i].regular) {
      whole = joined(parts[i], whole);
      continue;
    }
    Fragment run = parts[i];
    while (i > 0 && parts[i - 1].regular && parts[i - 1].size + run.size <= kExpressionSize)
      run = joined(parts[--i], run);
    whole = joined(run, whole);
  }
  stack_.push_back(whole);
}

void Compiler::alt(std::size_t n) {
  std::vector<Fragment> parts = take(n);
  std::vector<Re> choices;
  std::vector<Fragment> others;
  std::uint64_t size = 0;
  for (Fragment& f : parts) {
    if (f.regular && size + f.size <= kExpressionSize) {
      choices.push_back(f.expression);
      size += f.size;
    } else {
      others.push_back(f);
    }
  }
  const Fragment regular = expression(choices.empty() ? re::kEmpty : re::alt(choices), size);
  if (others.empty()) {
    stack_.push_back(regular);
    return;
  }
  if (!choices.empty()) others.push_back(regular);
  Fragment whole;
  whole.regular = false;
  whole.in = now_.add_state();
  whole.out = now_.add_state();
  for (Fragment& f : others) {
    to_states(f);
    now_.epsilon(whole.in, f.in);
    now_.epsilon(f.out, whole.out);
  }
  stack_.push_back(whole);
}

void Compiler::repeat(Rule r, std::uint32_t lo, std::uint32_t hi) {
  Fragment f = take(1)[0];
  if (hi == 0) {
    stack_.push_back(expression(re::kEpsilon, 0));
    return;
  }
  if (f.regular) {
    stack_.push_back(expression(re::repeat(f.expression, lo, hi), f.size + 1));
    return;
  }
  const std::uint32_t times = hi == re::kInf ? std::max(lo, 1u) : hi;
  if (times > 1) {
    if (times > kMaxUnrolled)
      g_.fail(r, "a part that is recursive is repeated more than 20,000 times; regular parts may be");
    f = edge({Reads::call, split_off(r, f), 0});
  }
  Fragment whole;
  whole.regular = false;
  whole.in = now_.add_state();
  whole.out = now_.add_state();
  now_.epsilon(whole.in, f.in);
  for (std::uint32_t i = 0; i < times; ++i) {
    if (i >= lo) now_.epsilon(f.in, whole.out);
    if (i + 1 == times) break;
    const Fragment next = edge(now_.out[f.in][0]);
    now_.epsilon(f.out, next.in);
    f = next;
  }
  now_.epsilon(f.out, whole.out);
  if (hi == re::kInf) now_.epsilon(f.out, f.in);
  stack_.push_back(whole);
}

// Makes a fragment a rule of its own.
Rule Compiler::split_off(Rule r, const Fragment& f) {
  const Rule part = g_.declare(g_.rules[r].name, g_.rules[r].lexical);
  done_.emplace_back();
  net_.bodies.push_back({g_.rules[r].name, 0, 0, false});
  Automaton body;
  std::unordered_map<State, State> renamed{{f.in, body.add_state()}};
  std::vector<State> todo{f.in};
  while (!todo.empty()) {
    const State s = todo.back();
    todo.pop_back();
    for (Edge e : now_.out[s]) {
      const auto [to, fresh] = renamed.try_emplace(e.to, static_cast<State>(body.out.size()));
      if (fresh) body.add_state(), todo.push_back(e.to);
      e.to = to->second;
      body.connect(renamed[s], e);
    }
    now_.out[s].clear();
  }
  body.start = renamed[f.in];
  body.final = renamed[f.out];
  body.simplify();
  place(part, body);
  return part;
}

void Compiler::set_operation(Rule r, Op op) {
  const std::vector<Fragment> parts = take(2);
  std::uint64_t size = 0;
  for (const Fragment& f : parts) {
    if (!f.regular)
      g_.fail(r, "`&` and `-` need operands without recursion (regular ones); one of them calls a recursive rule");
    size += f.size;
  }
  const Re other = parts[1].expression;
  const Re all = re::both(parts[0].expression, op == Op::both ? other : re::negate(other));
  stack_.push_back(expression(re::empty(all) ? re::kEmpty : all, size));
}

Fragment Compiler::evaluate(Rule r) {
  stack_.clear();
  now_ = {};
  for (const Instruction& i : g_.rules[r].body) {
    switch (i.op) {
      case Op::cat: cat(i.a); break;
      case Op::alt: alt(i.a); break;
      case Op::repeat: repeat(r, i.a, i.b); break;
      case Op::both:
      case Op::minus: set_operation(r, i.op); break;
      default: leaf(r, i);
    }
    if (now_.out.size() > kMaxStates) g_.fail(r, "it is too large; split it or use smaller counts");
  }
  return stack_.at(0);
}

}  // namespace espalier::cfg
