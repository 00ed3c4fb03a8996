// Expansion: from a schema to the formula of one JSON type, that is what each keyword says about a value of that type.
//
// Remembered per schema and type. Protected by the lock of the machine's generation.
#pragma once
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "json/expand/names.hpp"
#include "json/formula.hpp"
#include "json/number.hpp"
#include "json/options.hpp"
#include "json/schema.hpp"

namespace espalier::json {

constexpr Schema kHolder = 0x80000000;  // an evaluator that is the schema which holds the unevaluated keyword itself

class Expander {
 public:
  Expander(Schemas& schemas, Formulas& formulas, Names& names, const Options& options)
      : schemas_(schemas), f_(formulas), names_(names), options_(options) {}
  Expander(const Expander&) = delete;
  Expander& operator=(const Expander&) = delete;
  Formula expand(Schema, Kind);
  Formula child(Schema);
  Re key_pattern(Schema, std::string_view);  // of patternProperties
  const NumberAtom& number_atom(std::uint32_t a) const { return number_atoms_[a]; }
  const std::vector<std::string>* words(Re) const;  // those of an enumeration of strings; nullptr: it is none
  const std::vector<Schema>& evaluators(std::uint32_t b) const { return evaluators_[b]; }
  void interrupted() { expanding_.clear(); }

 private:
  [[noreturn]] void fail(Schema, std::string_view keyword, const std::string& why) const;
  Formula keywords(Schema, Kind);
  Formula keyword(Schema, std::string_view name, const Value&, Kind);
  Formula in_place(Schema, std::string_view name, const Value&, Kind, bool& known);
  Formula each(Schema, const Value& list, Kind, Formula (Formulas::*join)(std::vector<Formula>));
  Formula conditional(Schema, Kind);
  Formula reference(Schema, std::string_view name, const Value&, Kind);
  Formula typed(Schema, const Value&, Kind);
  Formula enumerated(Schema, const std::vector<const Value*>&, Kind);
  Schema constant(Schema near, const Value&);
  bool signature(const Value&, std::string&, int depth) const;
  // keywords.cpp
  Formula numeric(Schema, std::string_view name, const Value&);
  Formula textual(Schema, std::string_view name, const Value&);
  Formula objectual(Schema, std::string_view name, const Value&);
  Formula listed(Schema, std::string_view name, const Value&);
  Formula number(Op, Decimal = {});
  Formula has(std::string_view name) { return f_.atom(Is::Has, names_.id(name)); }
  std::uint32_t count(Schema, std::string_view name, const Value&);
  Re pattern(Schema, const Value&);
  // unevaluated.cpp
  Formula unevaluated(Schema, const Value&, Kind);
  void evaluators(Schema, Formula condition, Kind, std::vector<Schema>&, std::vector<Formula>&, int depth);

  Schemas& schemas_;
  Formulas& f_;
  Names& names_;
  const Options& options_;
  std::unordered_map<std::uint64_t, Formula> expanded_;  // schema and kind
  std::set<std::uint64_t> expanding_;                    // under way
  std::vector<NumberAtom> number_atoms_;
  std::unordered_map<std::string, std::uint32_t> number_ids_;
  std::unordered_map<Re, std::vector<std::string>> words_;
  std::unordered_map<const Value*, Re> patterns_;
  std::unordered_map<std::string_view, Re> key_patterns_;
  std::unordered_map<const Value*, Schema> constants_;
  std::deque<std::vector<Schema>> evaluators_;
  std::map<std::vector<Schema>, std::uint32_t> evaluator_ids_;
  std::unordered_map<Schema, Formula> children_;
  std::unordered_map<std::string, Schema> signatures_;
};

}  // namespace espalier::json
