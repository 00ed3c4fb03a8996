// JSON Schema as a machine: the documents that satisfy a schema, written from left to right.
//
// Where a value begins, the schemas it must satisfy become one formula per JSON type (Expander). Scalars are decided by
// expressions (Scalars). Objects and arrays are frames: a formula of what is still open, and the frame around (Frames).
// A member or an item turns the formula into its derivative (ObjectMembers, ArrayItems), which may hold verdicts about
// the child; a Splitter turns it into alternatives (what the child must satisfy, what then remains), those that can be
// completed (Satisfiability) are the items of the machine. All verdicts are known before a bracket closes.
//
// Protected by the lock of the machine's generation, with all its parts.
#pragma once
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "automaton/machine.hpp"
#include "json/machine/frames.hpp"
#include "json/machine/owed.hpp"
#include "json/machine/unique.hpp"
#include "json/split/satisfiability.hpp"

namespace espalier::json {

class SchemaMachine final : public Machine {
 public:
  SchemaMachine(std::string schema, std::vector<std::pair<std::string, std::string>> registry, Options);
  const Expansion& start() override;
  const Expansion& after(Cont, Tag, Text) override;
  std::vector<Item> sorts(const Item&) override;
  std::string where(Cont) override;
  bool refuses(Cont, bool tagged) override;
  std::uint32_t owed(Cont cont, Tag tag) override { return owed_.owed(cont, tag); }
  bool worth(Cont cont, Tag tag) override { return owed_.worth(cont, tag); }
  bool exact() const override { return inexact_.empty(); }
  Source source() override;
  void interrupted() override;
  const std::set<std::string>& inexact() const { return inexact_; }
  void set_inexact(std::set<std::string> keywords) { inexact_ = std::move(keywords); }
  SchemaMachine(const SchemaMachine&) = delete;
  SchemaMachine& operator=(const SchemaMachine&) = delete;

 private:
  // values.cpp
  void begin_value(Formula child, Cont after, Re before, const Frame& of, bool capture, Text text, Expansion&,
                   const SeenItems::Written& but = {});
  std::vector<Re> unsaid(const Values&, const SeenItems::Written&);
  Re blanks(std::uint32_t depth);
  Re line(std::uint32_t depth) const;
  void with_blanks(const Frame&, Text, Expansion&);
  void comma(Frame, At, Text, Expansion&, bool sure = false);
  void close(const Frame&, char bracket, bool first, Text, Expansion&);
  // objects.cpp
  void object_next(const Frame&, Text, Expansion&);
  void name(const Frame&, Tag, Text, Expansion&);
  void member(const Frame&, Text, Expansion&);
  bool has_value(const Frame& member, Cont colon, Text);
  Re colon();
  bool plain_demands(Formula) const;
  bool names_decide(Formula) const;
  bool leads_on(Frame, std::uint32_t id, std::uint32_t next);
  bool full(const Frame&) const;
  bool any_other(const Frame&);
  // arrays.cpp
  void array_next(Frame, Text, Expansion&);
  void items(const Frame&, Text, Expansion&);
  bool plain_items(Formula) const;
  // sorts.cpp
  bool capture_free(Cont, Text);
  std::vector<Item> sorts_of_names(const Item&);

  struct After {
    Cont cont;
    Tag tag;
    Text text;
    bool operator==(const After&) const = default;
  };
  struct AfterHash {
    std::size_t operator()(const After&) const;
  };

  const std::string text_;
  const std::vector<std::pair<std::string, std::string>> registry_;
  const Options options_;
  Schemas schemas_;
  const Schema root_;
  Formulas f_;
  Names names_;
  OpenQuestions questions_;
  Obvious obvious_;
  Expander expander_;
  Scalars scalars_;
  ObjectMembers members_;
  ArrayItems array_items_;
  WideFormulas wide_;
  BranchesApart apart_;
  Splitter splitter_;
  NamePlans plans_;
  Satisfiability live_;
  Frames frames_;
  Unique unique_;
  Owed owed_;

  std::vector<signed char> refuses_;  // of a continuation: -1 = not asked yet
  std::vector<signed char> blind_;    // the same
  Table<After, Expansion, AfterHash> after_;
  Expansion start_;
  bool started_ = false;
  Re colon_ = re::kEmpty;
  std::map<std::uint32_t, Re> blanks_;
  std::unordered_map<Formula, bool> any_other_;
  std::unordered_map<std::uint64_t, bool> has_value_;  // continuation of the name and formula
  std::set<std::string> inexact_;                      // keywords for which a beginning without an end may be allowed
};

}  // namespace espalier::json
