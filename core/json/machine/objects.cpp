// Objects as they are written: which member may come next.
#include <algorithm>

#include "json/expand/spelling.hpp"
#include "json/machine/schema_machine.hpp"

namespace espalier::json {

// Only demands that no choice of another name can make impossible.
bool SchemaMachine::plain_demands(Formula f) const {
  const std::vector<Formula> parts = f_.conjuncts(f);
  return std::all_of(parts.begin(), parts.end(), [&](Formula p) {
    const Is is = f_[p].is;
    return is == Is::True || is == Is::Members || is == Is::Has || is == Is::Names;
  });
}

// After this name the object can still be completed.
bool SchemaMachine::leads_on(Frame f, std::uint32_t id, std::uint32_t next) {
  f.at = At::ObjectNext;
  f.seen = names_.set_with(f.seen, id);
  if (options_.in_order) f.index = next;
  const auto some = [&](const std::vector<Split>& splits) {
    return std::ranges::any_of(splits, [&](const Split& s) {
      f.formula = s.rest;
      return live_.possible_object(f.open());
    });
  };
  const Formula before = f.formula;
  if (const auto part = wide_.part(before, id); part && part->decides != WideFormulas::Decides::Child) {
    const std::vector<Split> splits = splitter_.split(members_.member_formula(part->formula, id));
    if (part->decides == WideFormulas::Decides::All ? !splits.empty() : some(splits)) return true;
  }
  return some(splitter_.split(members_.member_formula(before, id)));
}

// Names that are demanded take all places that are left.
bool SchemaMachine::full(const Frame& f) const {
  std::uint64_t wanted = 0, most = ~0ull;
  for (const Formula p : f_.conjuncts(f.formula)) {
    wanted += f_[p].is == Is::Has;
    if (f_[p].is != Is::Not) continue;
    const FormulaNode n = f_[f_.operands(p)[0]];
    if (n.is == Is::More) most = std::min<std::uint64_t>(most, n.a - 1);
  }
  return wanted >= most || (options_.in_order && wanted > 0);
}

// Whether names that no schema lists can come, without end: then a comma needs no look at what follows it.
bool SchemaMachine::any_other(const Frame& f) {
  const auto [at, fresh] = any_other_.try_emplace(f.formula, false);
  if (fresh)
    any_other_[f.formula] = plans_.other_names(f.formula) == re::text() && (plain_demands(f.formula) || !full(f));
  return any_other_[f.formula] && !options_.in_order;
}

void SchemaMachine::object_next(const Frame& f, Text given, Expansion& out) {
  const Text text = f.capture ? given : 0;
  if (f.at != At::ObjectComma) close(f, '}', f.at == At::ObjectBegin, text, out);
  if (f.at == At::ObjectNext) return comma(f, At::ObjectComma, text, out, any_other(f));
  const std::shared_ptr<const Plan> planned = plans_.plan(f.formula, f.shape);
  const Plan& p = *planned;
  const std::vector<std::uint32_t>& seen = names_.set(f.seen);
  const std::vector<std::uint32_t>& names = members_.shape(f.shape);
  const Re before = line(f.depth);
  Frame m = f;
  m.at = At::Member;
  m.offset = f.capture ? static_cast<std::uint32_t>(text_size(text)) : 0;
  const bool checked = !plain_demands(f.formula) || options_.in_order;
  std::vector<bool> open(p.live.size());
  for (std::size_t i = 0; i < p.live.size(); ++i) {
    const std::uint32_t id = names[p.live[i]];
    if ((options_.in_order && p.live[i] < f.index) || std::binary_search(seen.begin(), seen.end(), id)) continue;
    open[i] = !checked || leads_on(f, id, p.live[i] + 1);
  }
  std::vector<WordId> listed;
  for (const Plan::Spelled& s : p.spelled) {
    if (open[s.at]) listed.push_back(s.word);
  }
  if (!listed.empty()) out.items.push_back({re::cat(before, re::words(std::move(listed))), frames_.id(m), text});
  Re others = p.others;
  if (others == re::kEmpty || (checked && full(f))) return;
  std::vector<WordId> had;
  for (const std::uint32_t id : seen) {
    if (id != kAnyName && !std::binary_search(p.listed.begin(), p.listed.end(), id))
      had.push_back(re::word(names_[id]));
  }
  if (!had.empty()) {
    others = re::both(others, re::negate(re::words(std::move(had))));
    if (re::empty(others)) return;
  }
  const Re quote = re::literal("\"");
  out.items.push_back({re::cat(before, re::cat(quote, re::cat(re::json_string(others), quote))), frames_.id(m),
                       f.capture ? text : Text{1}});
}

Re SchemaMachine::colon() {
  if (colon_ != re::kEmpty) return colon_;
  const Re blank = options_.blanks == Blanks::Flexible ? re::repeat(re::literal(" "), 0, 1) : re::kEpsilon;
  return colon_ = re::cat(blank, re::literal(options_.blanks == Blanks::Pretty ? ": " : ":"));
}

// A name has ended: a listed one (its tag says which) or one that was not seen before. Its member must be possible.
void SchemaMachine::name(const Frame& f, Tag tag, Text text, Expansion& out) {
  Frame c = f;
  c.at = At::Colon;
  if (tag) {
    c.offset = members_.shape(f.shape)[tag - 1];
  } else if (any_text(text)) {
    const UnlistedNames& all = members_.unlisted(f.formula);
    c.offset = text == kAnyText ? kAnyName : members_.any_name(all, text - kAnyText - 1);
    const std::vector<std::uint32_t>& seen = names_.set(f.seen);
    out.unsure = (!seen.empty() && seen[0] == kAnyName) ||
                 (text == kAnyText && (all.apart || !all.patterns.empty()));  // twice: they may be the same
  } else {
    const std::string all = text_from(text, f.offset);
    std::string_view written = all;
    written.remove_prefix(std::min(written.find('"'), written.size()));
    std::string decoded;
    if (written.empty() || !unquote(written, decoded)) return;
    c.offset = names_.id(decoded);
  }
  if (options_.in_order) c.index = tag ? tag : static_cast<std::uint32_t>(members_.shape(f.shape).size());
  const Cont cont = frames_.id(c);
  const Text kept = !f.capture ? 0 : any_text(text) ? kAnyText : text;
  if (tag || has_value(f, cont, kept)) out.items.push_back({colon(), cont, kept});
}

// Whether a member can come under a name that no schema lists. Names that leave the same formula have one answer.
bool SchemaMachine::has_value(const Frame& member, Cont colon, Text text) {
  const std::uint64_t key = static_cast<std::uint64_t>(frames_.id(member)) << 32 |
                            members_.member_formula(member.formula, frames_[colon].offset);
  if (const auto at = has_value_.find(key); at != has_value_.end()) return at->second;
  const bool some = !after(colon, 0, text ? text_append(text, ':') : 0).items.empty();
  return has_value_[key] = some;
}

void SchemaMachine::member(const Frame& f, Text text, Expansion& out) {
  const std::uint32_t id = f.offset;
  Frame n = f;
  const Formula after = members_.member_formula(f.formula, id);
  n.at = At::ObjectNext;
  n.offset = 0;
  n.seen = names_.set_with(f.seen, Names::stands_for_many(names_[id]) ? kAnyName : id);
  for (const Split& s : splitter_.split(after)) {
    n.formula = s.rest;
    if (!live_.possible_object(n.open())) continue;
    begin_value(s.child, frames_.id(n), re::kEpsilon, f, f.capture, f.capture ? text : 0, out);
  }
}

// No two schemas speak about the member of an unlisted name.
bool SchemaMachine::names_decide(Formula f) const {
  std::size_t speak = 0;
  for (const Formula p : f_.conjuncts(f)) {
    if (f_[p].is != Is::Members) continue;
    const Value& v = *schemas_[f_[p].a].value;
    const Value *patterns = v.get("patternProperties"), *rest = v.get("additionalProperties");
    speak += patterns && patterns->is(Kind::Object) ? patterns->members.size() : rest && !rest->is(Kind::True);
  }
  return speak < 2;
}

}  // namespace espalier::json
