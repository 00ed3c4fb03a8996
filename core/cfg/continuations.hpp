// What can come next at a point of a grammar, worked out when that point is first reached.
//
// A point is (goal, state): somewhere inside the rule `goal`, its first part being read by the rule of `state`. Rules
// that begin with a call of another rule are entered at the rules that begin by reading something, and completed from
// there upwards (left-corner parsing: Rosenkrantz and Lewis 1970). So left recursion, direct, indirect or hidden behind
// rules that may be empty, never grows a stack, and a chain of ten operator levels is one point and not ten.
#pragma once
#include <unordered_map>
#include <utility>
#include <vector>

#include "cfg/rules.hpp"

namespace espalier::cfg {

using Point = std::uint32_t;  // 0 is no point

struct Path {  // the points put on the stack when something has been read: `outer` below `inner`; 0 = left out
  Point outer = 0, inner = 0;
  auto operator<=>(const Path&) const = default;
};

struct Program {
  Re re = re::kEmpty;                                  // all that may be read here; the tag says which target follows
  std::vector<Path> targets;                           // by tag
  std::vector<std::pair<std::uint32_t, Path>> embeds;  // machines that may run here
  bool ends = false;                                   // the goal may be complete here
};

class Programs {
 public:
  explicit Programs(Network network);
  Point start() const { return start_; }
  const Program& at(Point);
  const std::string& rule_name(Point p) const { return net_.bodies[net_.owner[points_[p].state]].name; }
  const Network& network() const { return net_; }
  std::uint32_t least(Point p) {
    return least_of(points_[p].state);
  }  // bytes that the rule at hand still needs, at least

 private:
  struct Entry {
    Reads kind;
    std::uint32_t label;
    Path path;
  };
  struct Corner {              // of a goal
    std::vector<Edge> begins;  // edges that read something first
    std::unordered_map<Rule, std::vector<State>>
        completions;  // where to go on when a rule that began first is complete
  };
  struct At {
    Rule goal;
    State state;
  };

  const Corner& corner(Rule goal);
  Point point(Rule goal, State state);
  Point needed(Rule goal, State state);  // 0 if nothing but the end of the goal can follow there
  std::vector<State> level(const At&, bool& ends);
  void calls(const At&, State, std::vector<Entry>&);
  Program assemble(const std::vector<Entry>&) const;

  std::uint32_t least_of(State);

  Network net_;
  std::vector<std::uint32_t> least_;  // by state; empty = not asked yet
  std::vector<At> points_{{}};
  std::vector<Program> programs_{{}};
  std::vector<bool> built_{true};
  std::vector<std::uint8_t> only_end_{0};  // 0 = unknown, 1 = no, 2 = yes
  std::unordered_map<std::uint64_t, Point> ids_;
  std::unordered_map<Rule, Corner> corners_;
  Point start_ = 0;
};

}  // namespace espalier::cfg
