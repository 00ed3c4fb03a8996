// From rules to automata: right-hand sides are evaluated with a stack of fragments.
#pragma once
#include <vector>

#include "cfg/rules.hpp"

namespace espalier::cfg {

inline constexpr std::uint64_t kCopySize =
    512;  // a regular rule that is used more than once is copied up to this size;
inline constexpr std::uint64_t kExpressionSize = 400'000;  // no expression is made larger than this
inline constexpr std::uint64_t kMaxStates = 2'000'000;
inline constexpr std::uint32_t kMaxUnrolled = 20'000;

// What part of a right-hand side has become: an expression, or states of the rule's automaton.
struct Fragment {
  bool regular = true;
  Re expression = re::kEpsilon;
  std::uint64_t size = 0;
  State in = 0, out = 0;
};

class Compiler {
 public:
  explicit Compiler(Grammar grammar) : g_(std::move(grammar)) {}
  Network run();

 private:
  struct Done {
    bool regular = false;
    Re expression = re::kEmpty;
    std::uint64_t size = 0;
  };

  void rule(Rule r, bool recursive);
  void place(Rule r, Automaton& automaton);
  Fragment evaluate(Rule r);
  void leaf(Rule r, const Instruction& i);
  void cat(std::size_t n);
  void alt(std::size_t n);
  void repeat(Rule r, std::uint32_t lo, std::uint32_t hi);
  Rule split_off(Rule r, const Fragment& f);
  void set_operation(Rule r, Op op);
  Fragment terminal(Fragment f);
  Fragment reference(Rule callee);
  Fragment edge(Edge e);
  Fragment joined(Fragment a, Fragment b);
  void to_states(Fragment& f);
  std::vector<Fragment> take(std::size_t n);

  Grammar g_;
  Network net_;
  std::vector<Done> done_;
  std::vector<std::uint32_t> uses_;
  std::vector<Fragment> stack_;
  Automaton now_;
};

}  // namespace espalier::cfg
