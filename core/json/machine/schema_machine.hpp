// JSON Schema as a machine: the documents that satisfy a schema, written from left to right.
//
// Where a value begins, the schemas it must satisfy become one formula per JSON type. Scalars are decided by
// expressions. Objects and arrays are frames: a formula of what is still open, and the frame around. A member or an
// item turns the formula into its derivative, which may hold verdicts about the child; `split` turns it into
// alternatives (what the child must satisfy, what then remains), and the alternatives are the items of the machine. All
// verdicts are known before a bracket closes.
#pragma once
#include <deque>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "automaton/machine.hpp"
#include "base/hash_table.hpp"
#include "json/formula.hpp"
#include "json/number.hpp"
#include "json/schema.hpp"

namespace espalier::json {

enum class Blanks : std::uint8_t { Flexible, Compact, Pretty };

struct Options {
  bool assert_formats = true;
  bool in_order = false;  // listed members only in the schema's order
  Blanks blanks = Blanks::Flexible;
  bool plain_numbers = false;  // integers are digits, numbers ordinary decimals
};

constexpr Schema kHolder = 0x80000000;  // an evaluator that is the schema which holds the unevaluated keyword itself

struct Split {
  Formula child, rest;
};

class SchemaMachine final : public Machine {
 public:
  SchemaMachine(std::string schema, std::vector<std::pair<std::string, std::string>> registry, Options);
  const Expansion& start() override;
  const Expansion& after(Cont, Tag, Text) override;
  std::vector<Item> sorts(const Item&) override;
  std::string where(Cont) override;
  bool refuses(Cont, bool tagged) override;
  std::uint32_t owed(Cont, Tag) override;
  bool worth(Cont, Tag) override;
  bool exact() const override { return inexact_.empty(); }
  Source source() override;
  void interrupted() override;
  const std::set<std::string>& inexact() const { return inexact_; }
  void set_inexact(std::set<std::string> keywords) { inexact_ = std::move(keywords); }
  SchemaMachine(const SchemaMachine&) = delete;
  SchemaMachine& operator=(const SchemaMachine&) = delete;

 private:
  enum class At : std::uint8_t {
    End,
    ObjectBegin,
    ObjectNext,
    ObjectComma,
    Member,
    Colon,
    ArrayBegin,
    ArrayNext,
    ArrayComma,
    NumberEnd,
    Gap
  };
  struct Frame {
    At at;
    bool capture = false;  // something around keeps the text of this value
    Formula formula = kTrue;
    Cont around = 0;           // what follows the closing bracket
    std::uint32_t shape = 0;   // names that schemas mention, in their order
    std::uint32_t seen = 0;    // set of names, or of texts of items (uniqueItems)
    std::uint32_t index = 0;   // of the next item, as far as it matters
    std::uint32_t offset = 0;  // where in the captured text the lexeme begins
    std::uint32_t depth = 0;
    bool operator==(const Frame&) const = default;
  };
  struct FrameHash {
    std::size_t operator()(const Frame&) const;
  };
  struct Values {  // how a value may begin
    Re scalars = re::kEmpty, checked_number = re::kEmpty;
    Formula number = kTrue, object = kFalse, array = kFalse;
    bool few = false;  // values that are listed, so that unique items may come to an end
  };
  struct Use {  // of an atom in a list of formulas
    std::uint32_t times = 0, last = 0;
    bool positive = false, negative = false;
  };
  struct Shape {
    std::vector<std::uint32_t> names;
  };
  struct Plan {                       // which names may come, as far as the constant part of a formula says
    std::vector<std::uint32_t> live;  // positions in the shape
    struct Spelled {
      WordId word;
      std::uint32_t at;
    };
    std::vector<Spelled> spelled;       // the live names in the order of their letters; at: in `live`
    std::vector<std::uint32_t> listed;  // all names of the shape, sorted
    Re others = re::kEmpty;             // decoded names beyond the shape's
    bool plain = true;                  // all names beyond the shape's
  };

  // expand.cpp: schema -> formula, per type
  Formula expand(Schema, Kind);
  Formula keywords(Schema, Kind);
  Formula keyword(Schema, std::string_view name, const Value&, Kind);
  Formula in_place(Schema, std::string_view name, const Value&, Kind, bool& known);
  Formula typed(Schema, const Value&, Kind);
  Formula enumerated(Schema, const std::vector<const Value*>&, Kind);
  Formula numeric(Schema, std::string_view name, const Value&);
  Formula textual(Schema, std::string_view name, const Value&);
  Formula objectual(Schema, std::string_view name, const Value&);
  Formula listed(Schema, std::string_view name, const Value&);
  Formula conditional(Schema, Kind);
  Formula reference(Schema, std::string_view name, const Value&, Kind);
  Formula number(Op, Decimal = {});
  Formula has(std::string_view name) { return f_.atom(Is::Has, name_id(name)); }
  Formula each(Schema, const Value& list, Kind, Formula (Formulas::*join)(std::vector<Formula>));
  std::uint32_t count(Schema, std::string_view name, const Value&);
  Schema constant(Schema near, const Value&);
  Formula unevaluated(Schema, const Value&, Kind);
  void evaluators(Schema, Formula condition, Kind, std::vector<Schema>&, std::vector<Formula>&, int depth);
  [[noreturn]] void fail(Schema, std::string_view keyword, const std::string& why) const;

  // scalar.cpp: formulas of scalars -> expressions
  const Values& values(Formula);
  Re text_of(Formula);
  Re strings(Formula);
  Re numbers(Formula, bool& exact);
  Re spelled_numbers(Formula, bool& exact);
  Re ordinary_numbers(Formula);
  bool number_holds(Formula, const Decimal&, std::string_view text);
  bool text_holds(Formula, std::string_view);
  const std::vector<std::string>* finite(Formula) const;
  bool finite(Formula, std::vector<Decimal>& numbers) const;
  Re pattern(Schema, const Value&);
  Re key_pattern(Schema, std::string_view);

  // union_branches.cpp
  std::vector<Split> split(Formula);
  void split(Formula, Formula child, Formula rest, std::vector<Split>&, int& budget);
  int relation(Schema, Schema);
  Formula decided(Formula, Formula child);
  void uses(Formula, bool negative, std::uint32_t number, std::map<Formula, Use>&) const;
  // branches_apart.cpp: demands on the child of which at most one holds
  struct Worlds {
    Formula none = kFalse;                            // the formula where none of them holds
    std::vector<std::pair<Formula, Formula>> only{};  // and where only this one does
  };
  bool worlds(const std::vector<Formula>& open, Formula child, Formula rest, std::vector<Split>& out);
  Worlds worlds_of(Formula);
  bool logic(Formula) const;
  bool apart(const std::vector<Schema>&);
  bool texts_apart(const std::vector<Formula>&);
  bool numbers_apart(const std::vector<Formula>&) const;
  Formula child(Schema);
  bool signature(const Value&, std::string&, int depth) const;

  // object.cpp, array.cpp
  void object_begin(const Frame&, Text, Expansion&);
  void object_next(const Frame&, Text, Expansion&);
  void name(const Frame&, Tag, Text, Expansion&);
  void member(const Frame&, Text, Expansion&);
  bool has_value(const Frame& member, Cont colon, Text);
  Re colon();
  Re colon_ = re::kEmpty;
  Formula member_formula(Formula, std::uint32_t name);
  Formula children_of(Schema, std::string_view name);
  bool evaluates(Schema, std::string_view name);
  // names.cpp
  struct Names {               // what the names that no schema lists lead to
    bool apart = false;        // it depends on more than …
    std::vector<Re> patterns;  // … which of these they match
  };
  const Names& names(Formula);
  bool apart(Formula, std::vector<Re>& patterns, bool top = true);
  std::uint32_t any_name(const Names&, std::uint32_t matched);
  static bool stands_for_many(std::string_view name) { return name.starts_with('\xff'); }
  static bool fits(Re pattern, std::string_view name);
  std::vector<Item> sorts_of_names(const Item&);
  bool capture_free(Cont, Text);
  std::shared_ptr<const Plan> plan(Formula, std::uint32_t shape);
  bool name_lives(Formula key, std::uint32_t id);
  Formula constant_part(Formula);
  Re other_names(Formula);
  Re member_names(Schema);
  Re evaluated_names(Schema);
  bool obvious_member(Formula, std::string_view name);
  bool plain_demands(Formula) const;
  bool plain_items(Formula) const;
  bool names_decide(Formula) const;
  bool leads_on(Frame, std::uint32_t id, std::uint32_t next);
  bool full(const Frame&) const;
  bool any_other(const Frame&);
  void close(const Frame&, char bracket, bool first, Text, Expansion&);
  std::uint32_t shape_of(Formula);
  static constexpr std::uint32_t kAnyName = 0;  // a name or an item of which the text is not known: kAnyText's
  void array_begin(const Frame&, Text, Expansion&);
  void array_next(Frame, Text, Expansion&);
  void items(const Frame&, Text, Expansion&);
  Formula item_formula(Formula, std::uint32_t index);
  Formula item_schema(Schema, std::uint32_t index);
  const Value* prefix_items(Schema) const;
  bool evaluates_item(Schema, std::uint32_t index);
  std::uint32_t prefix_length(Formula);
  Formula at_end(Formula);
  void begin_value(Formula child, Cont after, Re before, const Frame& of, bool capture, Text, Expansion&,
                   Re but = re::kEmpty);
  Re spelled(std::uint32_t set);
  Re scalar_text(std::string_view canonical) const;

  // unique.cpp
  bool unique(Formula);
  Formula not_unique(Formula);
  bool new_item(std::string_view text, std::uint32_t seen) const;
  bool unknown(std::uint32_t set) const;
  Re any_string();

  struct Assuming {  // what is found while a question is open above may not be remembered if it used the open question
    explicit Assuming(std::size_t& l) : lowest(l), before(std::exchange(l, static_cast<std::size_t>(-1))) {}
    ~Assuming() { lowest = std::min(lowest, before); }
    bool used() const { return lowest != static_cast<std::size_t>(-1); }
    std::size_t& lowest;
    std::size_t before;
  };
  // live.cpp: can it still be completed? `true` where that is not decided
  bool possible(Formula child);
  bool satisfiable(Formula child);
  bool possible_object(const Frame&);
  bool possible_array(const Frame&);
  bool solve(std::vector<Formula> todo, std::vector<Formula> literals, int& budget,
             const std::function<bool(const std::vector<Formula>&)>& holds);
  bool object_holds(const Frame&, const std::vector<Formula>& literals);
  bool array_holds(const Frame&, const std::vector<Formula>& literals);
  bool satisfiable_quick(Schema, int depth = 0);
  bool obvious_keywords(Schema, const Value&, int depth);
  bool evident(Formula child);

  // schema_machine.cpp
  Cont frame(Frame);
  std::uint32_t name_id(std::string_view);
  std::uint32_t set_with(std::uint32_t set, std::uint32_t element);
  Re blanks(std::uint32_t depth);
  std::map<std::uint32_t, Re> blanks_;
  Re line(std::uint32_t depth) const;
  void with_blanks(const Frame&, Text, Expansion&);
  void comma(Frame, At, Text, Expansion&, bool sure = false);

  const std::string text_;
  const std::vector<std::pair<std::string, std::string>> registry_;
  const Options options_;
  Schemas schemas_;
  Schema root_ = 0;
  Formulas f_;
  std::deque<Frame> frames_;
  // owed.cpp: the fewest bytes that must still come
  std::vector<std::uint32_t> demanded(const Frame&) const;
  std::unordered_map<Cont, std::uint32_t> owed_;
  std::vector<signed char> refuses_;  // the same
  std::vector<signed char> blind_;    // of a continuation: -1 = not asked yet
  Index frame_ids_;
  struct After {
    Cont cont;
    Tag tag;
    Text text;
    bool operator==(const After&) const = default;
  };
  struct AfterHash {
    std::size_t operator()(const After& a) const {
      const std::uint64_t h =
          ((static_cast<std::uint64_t>(a.cont) << 32 | a.text) ^ (static_cast<std::uint64_t>(a.tag) << 17)) *
          0x9e3779b97f4a7c15ull;
      return h ^ (h >> 32);
    }
  };
  Table<After, Expansion, AfterHash> after_;
  std::deque<std::vector<Item>> gaps_;
  std::map<std::vector<Item>, std::uint32_t> gap_ids_;
  Expansion start_;
  bool started_ = false;

  std::unordered_map<std::uint64_t, Formula> expanded_;  // schema and kind
  std::set<std::uint64_t> expanding_;
  std::vector<NumberAtom> number_atoms_;
  std::unordered_map<std::string, std::uint32_t> number_ids_;
  std::unordered_map<Re, std::vector<std::string>> finite_;
  std::unordered_map<Formula, Values> values_;
  std::unordered_map<Formula, Re> texts_;
  std::unordered_map<const Value*, Re> patterns_;
  std::unordered_map<std::string_view, Re> key_patterns_;
  std::unordered_map<const Value*, Schema> constants_;
  std::deque<std::string> names_{"\xff"};  // what no text can be stands for kAnyName
  std::unordered_map<std::string_view, std::uint32_t> name_ids_;
  std::deque<std::vector<std::uint32_t>> sets_{{}};  // deques: references stay good while they grow
  std::map<std::vector<std::uint32_t>, std::uint32_t> set_ids_{{{}, 0}};
  std::deque<Shape> shapes_;
  std::map<std::vector<std::uint32_t>, std::uint32_t> shape_ids_;
  std::unordered_map<Formula, std::uint32_t> formula_shapes_;
  std::deque<std::vector<Schema>> evaluators_;
  std::map<std::vector<Schema>, std::uint32_t> evaluator_ids_;
  std::unordered_map<Formula, std::vector<Split>> splits_;
  std::unordered_map<Formula, bool> possible_;
  std::vector<Formula> asking_;
  std::size_t lowest_ = static_cast<std::size_t>(-1);
  std::unordered_map<Formula, Formula> ended_;
  std::unordered_map<Formula, bool> any_other_;
  std::unordered_map<Formula, Names> unlisted_;
  std::unordered_map<std::uint32_t, Re> scalar_texts_;          // of items under uniqueItems, by canonical text
  std::unordered_map<std::uint64_t, bool> has_value_;           // continuation of the name and formula
  std::unordered_map<std::uint64_t, Formula> member_formulas_;  // formula and name
  std::map<std::pair<Formula, std::uint32_t>, std::shared_ptr<const Plan>> plans_;
  std::unordered_map<Schema, bool> obvious_;
  std::unordered_map<Schema, Formula> children_;
  std::unordered_map<std::string, Schema> signatures_;
  std::map<std::pair<Schema, Schema>, int> relations_;
  std::unordered_map<Formula, std::uint32_t> prefix_lengths_;
  std::set<std::string> inexact_;  // keywords for which a beginning without an end may be allowed
};

bool writable(std::string_view decoded);  // lone surrogates: no document has them
std::vector<std::string> spellings(
    std::string_view decoded);                        // of an enumerated string or a listed name, with the quotes
Re format_texts(std::string_view name, bool& exact);  // kEmpty: not a format that is asserted

}  // namespace espalier::json
