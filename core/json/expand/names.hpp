// Names of members, and texts of items, as numbers; and sets of them as numbers.
//
// Protected by the lock of the machine's generation, as all classes of a schema machine are: no member has a lock of
// its own.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace espalier::json {

constexpr std::uint32_t kAnyName = 0;  // a name or an item of which the text is not known: kAnyText's

class Names {
 public:
  std::uint32_t id(std::string_view name);
  const std::string& operator[](std::uint32_t id) const { return names_[id]; }
  static bool stands_for_many(std::string_view name) { return name.starts_with('\xff'); }

  const std::vector<std::uint32_t>& set(std::uint32_t set) const { return sets_[set]; }  // sorted; 0 is the empty one
  std::uint32_t set_with(std::uint32_t set, std::uint32_t element);

 private:
  std::deque<std::string> names_{"\xff"};  // what no text can be stands for kAnyName
  std::unordered_map<std::string_view, std::uint32_t> name_ids_;
  std::deque<std::vector<std::uint32_t>> sets_{{}};  // deques: references stay good while they grow
  std::map<std::vector<std::uint32_t>, std::uint32_t> set_ids_{{{}, 0}};
};

}  // namespace espalier::json
