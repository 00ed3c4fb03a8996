// A context-free grammar as a recursive transition network: one small automaton per rule, whose edges read a regular
// expression, call a rule, or run another machine.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "automaton/machine.hpp"

namespace espalier::cfg {

using State = std::uint32_t;
using Rule = std::uint32_t;

enum class Reads : std::uint8_t { regular, call, embed };

struct Edge {
  Reads kind;
  std::uint32_t label;  // an Re, a Rule, or an index of an embedded machine
  State to;
  bool operator==(const Edge&) const = default;
  bool epsilon() const { return kind == Reads::regular && label == re::kEpsilon; }
};

// The automaton of one rule while it is being simplified: states are numbered from 0 in this rule alone.
struct Automaton {
  std::vector<std::vector<Edge>> out;
  State start = 0, final = 0;

  State add_state();
  void connect(State from, Edge edge) { out[from].push_back(edge); }
  void epsilon(State from, State to) { connect(from, {Reads::regular, re::kEpsilon, to}); }

  bool calls(Rule rule) const;
  bool regular() const;  // no calls, no embedded machines

  // Makes direct recursion at either end of the rule a loop. With A -> A b A | a A | A c | d, a string of A is a path
  // in which a leading A means "an A has just ended" and a trailing A means "an A begins": the same language, without a
  // stack and without the ambiguity of how operators associate.
  void flatten(Rule self);

  // Removes states that only read regular expressions, while that does not make the automaton larger; removes the dead.
  void simplify();

  // The whole automaton as one expression, or nothing if that would need more than `budget` joins. Only if regular().
  std::optional<Re> expression(std::size_t budget) const;

 private:
  State detached_copy(State from, bool with_final);
  std::vector<State> epsilon_reach(State from) const;  // does not look beyond the final state
  void prune();
  bool eliminate(State s, std::size_t limit);
  void join_parallel(State s);
};

}  // namespace espalier::cfg
