// Sets of items that were there, as numbers. A set is a tree over the bits of its elements, of one shape whatever their
// order: with one element more it makes as many nodes as the tree is deep, and what is known about it is made of what
// is known about the set before.
//
// Protected by the lock of the machine's generation.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/hash_table.hpp"
#include "json/expand/names.hpp"
#include "regex/re.hpp"

namespace espalier::json {

class SeenItems {
 public:
  explicit SeenItems(const Names& names) : names_(names) { nodes_.push_back({}); }
  SeenItems(const SeenItems&) = delete;
  SeenItems& operator=(const SeenItems&) = delete;
  std::uint32_t with(std::uint32_t set, std::uint32_t item);  // 0 is the empty set
  bool contains(std::uint32_t set, std::uint32_t item) const;

  // How the scalars of a set may be written: texts that strings stand for; all other scalars.
  struct Written {
    Re strings = re::kEmpty, others = re::kEmpty;
  };
  Written written(std::uint32_t set);
  // Whether some object or array of the set may begin like this text of a value; "" is the beginning of all.
  bool may_be(std::string_view beginning, std::uint32_t set) const;

 private:
  struct Node {
    std::uint32_t prefix, bit;  // bit: where the branches part; 0: one element
    std::uint32_t zero, one;
    std::uint32_t objects, arrays;  // how many of them it holds
    bool operator==(const Node&) const = default;
  };
  struct Made {
    std::uint32_t from, item;
  };
  std::uint32_t join(std::uint32_t a, std::uint32_t b);
  std::uint32_t branch(std::uint32_t prefix, std::uint32_t bit, std::uint32_t zero, std::uint32_t one);
  std::uint32_t intern(const Node&);
  void add(Written&, std::string_view canonical);

  const Names& names_;
  Run<Node> nodes_;
  Index ids_;
  std::unordered_map<std::uint32_t, Made> made_;  // sets, from which ones
  std::unordered_map<std::uint32_t, Written> written_;
  std::unordered_set<std::uint32_t> noted_;
  std::unordered_map<std::string, std::vector<std::uint32_t>> holding_;  // objects and arrays by what they hold, sorted
};

}  // namespace espalier::json
