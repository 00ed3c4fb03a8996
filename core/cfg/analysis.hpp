// What can be said about a grammar before its network is built: which rules can finish, and which call each other.
#pragma once
#include <string>
#include <vector>

#include "cfg/rules.hpp"

namespace espalier::cfg {

struct Component {
  std::vector<Rule> rules;  // rules that call each other
  bool recursive = false;
};

// Removes alternatives that can never finish; returns the names of the rules that so vanish. Fails if the start rule
// does, or if a rule that can be reached is not defined.
std::vector<std::string> drop_unproductive(Grammar& grammar);

// The rules that `root` needs, callees before callers.
std::vector<Component> components(const Grammar& grammar, Rule root);

// Removes edges from which the end of their rule cannot be reached: what `&` and `-` leave empty is only known when it
// has been compiled. False if that takes the start rule.
bool drop_dead(Network& network);

inline constexpr const char* kNoText =
    "no text can ever complete it: each of its alternatives needs itself again, or something without any text";

// Which rules derive the empty text.
void mark_nullable(Network& network);

}  // namespace espalier::cfg
