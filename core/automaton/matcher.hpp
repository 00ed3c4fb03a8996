// Runs a machine over bytes. States are hash-consed sets of items, so equal situations share everything that is
// remembered.
#pragma once
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "automaton/machine.hpp"
#include "base/budget.hpp"
#include "base/hash_table.hpp"

namespace espalier {

using State = std::uint32_t;  // of one matcher; 0 = no text of the language begins like this

class Matcher {
 public:
  Matcher(std::shared_ptr<Machine> machine, std::string name, Limits limits = {});

  State start();
  State advance(State, std::string_view bytes);
  bool accepts(State s) const { return states_[s].accepts; }
  State own(State s) const {  // for callers who may have mixed up guides
    if (s >= states_.size())
      throw GrammarError("a state that is none of " + name_ +
                         "'s: go on from what its own start() or advance() returned");
    return s;
  }
  std::string forced(State,
                     std::size_t limit);  // the bytes that every continuation begins with, while the text may not end
  bool matches(std::string_view bytes);

  std::span<const Item> items(State s) const { return states_[s].items; }
  Machine& machine() { return *machine_; }
  std::shared_ptr<Machine> shared_machine() const { return machine_; }
  const Limits& limits() const { return limits_; }
  const std::string& name() const { return name_; }
  std::size_t size() const { return states_.size(); }

  // The same error, with where in the schema or grammar it happened.
  [[noreturn]] void over_limit(const OverLimit&, std::span<const Item> at);

  // The items after one more byte are appended to `out`; true if the text may end there.
  bool step(std::span<const Item> from, std::uint8_t byte, std::vector<Item>& out);

 private:
  struct Data {
    std::vector<Item> items;
    bool accepts;
  };
  std::size_t advance_run(std::span<const Item> from, std::string_view bytes, std::vector<Item>& out);
  State intern(std::vector<Item>&, bool accepts);
  void settle(std::vector<Item>&);  // sorted, each once, joined where the machine can
  std::shared_ptr<Machine> machine_;
  std::string name_;
  Limits limits_;
  std::deque<Data> states_;
  Index ids_;
  State start_ = 0;
};

// A machine for one expression.
std::shared_ptr<Machine> regular_machine(Re);

}  // namespace espalier
