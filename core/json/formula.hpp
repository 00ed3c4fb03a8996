// Boolean formulas over what is still open at one place of a document, as hash-consed values.
//
// A formula is the verdict of a value that is being written. Every event (a member, an item) turns it into the formula
// of what remains to be seen: its derivative. Two states of a document with the same formula are the same state.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/hash_table.hpp"

namespace espalier::json {

using Formula = std::uint32_t;
constexpr Formula kFalse = 0, kTrue = 1;

enum class Is : std::uint8_t {
  False,
  True,
  Not,
  All,
  Any,
  One,          // One: exactly one of the operands holds
  Child,        // a: schema. The value that begins now satisfies it
  Text,         // a: expression. The decoded string is of it
  Number,       // a: index of the atom
  Members,      // a: schema. Each member yet to come satisfies properties / patternProperties / additionalProperties
  Names,        // a: schema. Each name yet to come satisfies it
  Has,          // a: name. A member of this name is yet to come
  More,         // a: count. At least so many members or items are yet to come
  Items,        // a: schema. Each item yet to come satisfies prefixItems / items
  Contains,     // a: schema, b: count. At least so many items yet to come satisfy it
  Unique,       // No two items are equal
  Unevaluated,  // a: schema, b: evaluators; operand i holds if what evaluator i evaluated counts
};

struct FormulaNode {
  Is is;
  bool child;  // holds a Child
  std::uint32_t a, b;
  std::uint32_t first, count;  // operands, in the pool
};

class Formulas {
 public:
  Formulas();
  Formula atom(Is, std::uint32_t a = 0, std::uint32_t b = 0);
  Formula unevaluated(std::uint32_t schema, std::uint32_t evaluators, std::vector<Formula> counts);
  Formula negate(Formula);
  Formula all(std::vector<Formula>);
  Formula any(std::vector<Formula>);
  Formula one(std::vector<Formula>);
  Formula both(Formula a, Formula b) { return all({a, b}); }
  Formula either(Formula a, Formula b) { return any({a, b}); }
  const FormulaNode& operator[](Formula f) const { return nodes_[f]; }
  std::vector<Formula> operands(Formula f) const {  // a copy: the pool grows
    const auto& n = nodes_[f];
    return {pool_.begin() + n.first, pool_.begin() + n.first + n.count};
  }
  std::vector<Formula> conjuncts(Formula f) const {  // of All its operands; any other is its own
    return nodes_[f].is == Is::All ? operands(f) : std::vector{f};
  }
  std::size_t size() const { return nodes_.size(); }

  // The formula with every atom (and Unevaluated, whose operands are mapped first) replaced by what `to` says.
  using To = std::function<Formula(Formula atom)>;
  Formula map(Formula, const To& to);
  void interrupted() { mapping_ = 0; }  // what was under way is not

 private:
  Formula intern(FormulaNode, std::span<const Formula>);
  struct Memo {  // of one map: answers by formula, good where the stamp is the round's
    std::vector<std::pair<std::uint32_t, Formula>> done;
    std::uint32_t round = 0;
  };
  Formula map(Formula, const To&, Memo&);
  std::deque<Memo> memos_;  // one per map under way: `to` may map too
  std::size_t mapping_ = 0;
  std::vector<FormulaNode> nodes_;
  std::vector<Formula> pool_;
  Index ids_;
};

}  // namespace espalier::json
