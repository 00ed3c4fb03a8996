// The machine of a context-free grammar: what may follow a text, with a stack that is a set of stacks.
//
// A continuation maps points to continuations: "go on at this point, and when its goal is complete, as that one says".
// Sets of stacks with the same top share one entry and their rests are merged, so an ambiguous grammar has one
// continuation per residual expression however many parses the text has (a graph-structured stack, Tomita 1987, but as
// hash-consed values: two texts with the same future have equal states, and forgetting a state is all that undoing
// needs).
#pragma once
#include <deque>
#include <map>
#include <tuple>
#include <unordered_map>

#include "cfg/continuations.hpp"

namespace espalier::cfg {

class CfgMachine final : public Machine {
 public:
  explicit CfgMachine(Network network, Grammar written = {});
  Source source() override;
  void workers(std::vector<Interruptible*>& all) override;
  const Expansion& start() override;
  const Expansion& after(Cont, Tag, Text) override;
  Cont join(Cont, Cont) override;
  bool joins() const override { return true; }
  std::string where(Cont) override;
  std::vector<Item> sorts(const Item&) override;
  bool refuses(Cont, bool tagged) override;
  std::uint32_t owed(Cont, Tag) override;
  bool worth(Cont, Tag) override;
  bool exact() const override;
  const std::vector<std::string>& unproductive() const { return programs_.network().unproductive; }

 private:
  using Key = std::uint32_t;  // a point, or kEmbedded + the position of a machine in its own continuation
  static constexpr Key kTextEnds = 0, kEmbedded = 1u << 31;
  struct Frame {
    Key key;
    Cont below;
    auto operator<=>(const Frame&) const = default;
  };

  Cont intern(std::vector<Frame> frames);
  std::uint32_t owed_below(Cont);
  std::unordered_map<Cont, std::uint32_t> owed_;  // bytes that a stack still needs, at least
  Cont push(Key key, Cont below) { return intern({{key, below}}); }
  Cont push(const Path& path, Cont below);
  Key embedded(std::uint32_t machine, Cont inner);
  void embed(Expansion& into, const Expansion& inner, std::uint32_t machine, Cont below);
  const Expansion& expand(Cont);
  Expansion assemble(Cont);
  void settle(Expansion&);

  Grammar written_;  // as a reader handed it over
  Programs programs_;
  std::deque<std::vector<Frame>> conts_;  // [0] unused, [1] the end of the text
  std::unordered_multimap<std::uint64_t, Cont> by_content_;
  std::unordered_map<std::uint64_t, Cont> joined_;
  std::vector<std::pair<std::uint32_t, Cont>> embedded_;
  std::map<std::pair<std::uint32_t, Cont>, Key> embedded_ids_;
  std::unordered_map<Cont, Expansion> expansions_;
  std::unordered_map<std::uint64_t, const Expansion*> next_;        // (cont, tag), no captured text
  std::map<std::tuple<Cont, Tag, Text>, Expansion> next_embedded_;  // where an embedded machine goes on
};

}  // namespace espalier::cfg
