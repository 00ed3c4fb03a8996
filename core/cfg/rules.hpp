// The rules of a grammar as a reader hands them over, and their translation into a network.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cfg/transition_network.hpp"

namespace espalier::cfg {

constexpr std::uint32_t kNone = 0xffffffff;

// A rule's right-hand side in postfix order, so that deep nesting in a grammar's text is no recursion here.
enum class Op : std::uint8_t { regular, ref, embed, cat, alt, repeat, both, minus };
struct Instruction {
  Op op;
  std::uint32_t a = 0;  // Re, rule, machine, number of operands, or least count
  std::uint32_t b = 0;  // size of the expression as written, or greatest count
};

struct RuleText {
  std::string name;
  bool lexical = false;  // nothing ignored is allowed inside, only after it
  bool defined = false;
  std::vector<Instruction> body;
};

struct Grammar {
  std::vector<RuleText> rules;
  std::vector<std::shared_ptr<Machine>> machines;
  std::uint32_t start = kNone;
  std::uint32_t ignore = kNone;  // a lexical rule that may be used between terminals any number of times

  Rule declare(const std::string& name, bool lexical);
  [[noreturn]] void fail(Rule rule, const std::string& why) const;
};

struct Network {
  struct Body {
    std::string name;
    State start = 0, final = 0;
    bool nullable = false;
  };
  std::vector<std::vector<Edge>> out;  // of all rules
  std::vector<Rule> owner;             // of a state
  std::vector<Body> bodies;            // by rule; a rule that is one expression has no states and is never called
  std::vector<std::shared_ptr<Machine>> machines;
  Rule root = 0;                          // an extra rule: what is ignored, then the start rule
  std::vector<std::string> unproductive;  // rules that were dropped because they can never finish
};

// Throws GrammarError, naming the rule, if something is undefined, or the start rule can never finish, or what must be
// regular is not.
Network compile(Grammar grammar);

}  // namespace espalier::cfg
