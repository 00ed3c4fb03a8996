#include "json/machine/schema_machine.hpp"

#include <algorithm>

#include "base/budget.hpp"

namespace espalier::json {

SchemaMachine::SchemaMachine(std::string schema, std::vector<std::pair<std::string, std::string>> registry,
                             Options options)
    : text_(std::move(schema)), registry_(std::move(registry)), options_(options) {
  for (const auto& [uri, text] : registry_) schemas_.offer(uri, text);
  frames_.push_back({At::End});  // 0 is no continuation
  shapes_.push_back({});
  root_ = schemas_.root(text_);
  schemas_.check(root_);
}

Source SchemaMachine::source() {
  return [text = text_, registry = registry_, options = options_, inexact = inexact_]() -> std::shared_ptr<Machine> {
    auto made = std::make_shared<SchemaMachine>(text, registry, options);
    made->set_inexact(inexact);
    return made;
  };
}

// Questions that were open above: nobody is left to close them.
void SchemaMachine::interrupted() {
  asking_.clear();
  expanding_.clear();
  lowest_ = static_cast<std::size_t>(-1);
  f_.interrupted();
}

std::size_t SchemaMachine::FrameHash::operator()(const Frame& f) const {
  std::uint64_t h = static_cast<std::uint64_t>(f.at) * 2 + f.capture;
  for (const std::uint32_t x : {f.formula, f.around, f.shape, f.seen, f.index, f.offset, f.depth}) {
    h = (h ^ x) * 0x9e3779b97f4a7c15ull;
    h ^= h >> 31;
  }
  return h;
}

Cont SchemaMachine::frame(Frame f) {
  const std::uint64_t h = FrameHash{}(f);
  if (const Cont known = frame_ids_.find(h, [&](std::uint32_t i) { return frames_[i] == f; }); known != Index::kNone)
    return known;
  Budget::charge(1, sizeof(Frame) + 32);
  frames_.push_back(f);
  frame_ids_.add(h, static_cast<Cont>(frames_.size() - 1));
  return static_cast<Cont>(frames_.size() - 1);
}

const Expansion& SchemaMachine::start() {
  if (started_) return start_;
  Frame outside{At::End};
  const Cont end = frame(outside);
  begin_value(f_.atom(Is::Child, root_), end, re::kEpsilon, outside, false, 0, start_);
  with_blanks(outside, 0, start_);
  started_ = true;
  return start_;
}

const Expansion& SchemaMachine::after(Cont cont, Tag tag, Text text) {
  const After key{cont, tag, text};
  if (const Expansion* known = after_.find(key)) return *known;
  Expansion out;
  const Frame f = frames_[cont];
  switch (f.at) {
    case At::End: out.accepts = true; break;
    case At::ObjectBegin:
    case At::ObjectNext:
    case At::ObjectComma: object_next(f, text, out); break;
    case At::Member: name(f, tag, text, out); break;
    case At::Colon: member(f, text, out); break;
    case At::ArrayBegin:
    case At::ArrayComma: items(f, text, out); break;
    case At::Gap:
      out.items = gaps_[f.formula];
      for (Item& i : out.items) {
        if (f.capture) i.text = text;
      }
      break;
    case At::ArrayNext: array_next(f, text, out); break;
    case At::NumberEnd: {
      if (text == kAnyText) {
        out.unsure = true;
        break;
      }
      const std::string written = text_from(text, f.offset);
      std::string_view s = written;
      s.remove_prefix(std::min(s.find_first_of("-0123456789"), s.size()));
      if (number_holds(f.formula, decimal(s), s)) out = after(f.around, 0, f.capture ? text : 0);
    }
  }
  if (f.at != At::NumberEnd && f.at != At::Gap && f.at != At::Member) with_blanks(f, text, out);
  Budget::charge(1, 64 + sizeof(Item) * out.items.size());
  return after_.add(key, std::move(out));
}

// Where what follows an end is not certain: possible_object and possible_array leave some questions open, and numbers
// and names are checked when they are complete.
bool SchemaMachine::refuses(Cont cont, bool tagged) {
  if (tagged && frames_[cont].at == At::Member)
    return false;  // names that are listed were looked at before they were offered
  if (refuses_.size() <= cont) refuses_.resize(frames_.size(), -1);
  if (refuses_[cont] >= 0) return refuses_[cont];
  const Frame f = frames_[cont];
  bool some = false;
  switch (f.at) {
    case At::ObjectBegin:
    case At::ObjectNext: some = options_.in_order || !plain_demands(f.formula); break;
    case At::Member: some = options_.in_order || !plain_demands(f.formula) || !names_decide(f.formula); break;
    case At::ArrayBegin:
    case At::ArrayNext: some = !plain_items(f.formula) || unknown(f.seen); break;
    case At::NumberEnd: some = true; break;
    default: break;  // commas, colons and gaps are only offered where something follows
  }
  return refuses_[cont] = some;
}

std::string SchemaMachine::where(Cont cont) {
  for (; cont != 0; cont = frames_[cont].around) {
    if (frames_[cont].at == At::Gap) cont = gaps_[frames_[cont].formula][0].cont;
    std::string found;
    f_.map(frames_[cont].formula, [&](Formula atom) {
      const FormulaNode n = f_[atom];
      const bool speaks = n.is == Is::Members || n.is == Is::Items || n.is == Is::Child || n.is == Is::Names;
      if (found.empty() && speaks) found = schemas_.where(n.a);
      return atom;
    });
    if (!found.empty()) return found;
  }
  return schemas_.where(root_);
}

// Only demands that one item decides, and counts.
bool SchemaMachine::plain_items(Formula f) const {
  bool unique = false, more = false;
  for (const Formula p : f_[f].is == Is::All ? f_.operands(f) : std::vector{f}) {
    const bool negative = f_[p].is == Is::Not;
    const Is is = f_[negative ? f_.operands(p)[0] : p].is;
    unique |= is == Is::Unique;
    more |= is == Is::More && !negative;
    if (negative ? is != Is::More : is != Is::True && is != Is::Items && is != Is::More && is != Is::Unique)
      return false;
  }
  return !unique || !more;
}

// No two schemas speak about the member of an unlisted name.
bool SchemaMachine::names_decide(Formula f) const {
  std::size_t speak = 0;
  for (const Formula p : f_[f].is == Is::All ? f_.operands(f) : std::vector{f}) {
    if (f_[p].is != Is::Members) continue;
    const Value& v = *schemas_[f_[p].a].value;
    const Value *patterns = v.get("patternProperties"), *rest = v.get("additionalProperties");
    speak += patterns && patterns->is(Kind::Object) ? patterns->members.size() : rest && !rest->is(Kind::True);
  }
  return speak < 2;
}

std::uint32_t SchemaMachine::name_id(std::string_view name) {
  if (const auto at = name_ids_.find(name); at != name_ids_.end()) return at->second;
  names_.emplace_back(name);
  const auto id = static_cast<std::uint32_t>(names_.size() - 1);
  name_ids_.emplace(names_.back(), id);
  return id;
}

std::uint32_t SchemaMachine::set_with(std::uint32_t set, std::uint32_t element) {
  std::vector<std::uint32_t> s = sets_[set];
  const auto at = std::lower_bound(s.begin(), s.end(), element);
  if (at != s.end() && *at == element) return set;
  s.insert(at, element);
  const auto [id, fresh] = set_ids_.emplace(s, static_cast<std::uint32_t>(sets_.size()));
  if (fresh) {
    Budget::charge(1, 8 * s.size() + 64);
    sets_.push_back(std::move(s));
  }
  return id->second;
}

// Blanks between two tokens, at least one: a few, or up to two line ends with an indentation whose cap grows with the
// depth, so that every usual layout is accepted and none goes on for ever.
Re SchemaMachine::blanks(std::uint32_t depth) {
  std::uint32_t widest = 64;
  while (widest < 16 * depth) widest *= 2;
  if (const auto at = blanks_.find(widest); at != blanks_.end()) return at->second;
  ByteSet set;
  set.add(' ');
  set.add('\t');
  const Re blank = re::bytes(set);
  const Re newline =
      re::cat(re::cat(re::repeat(re::literal("\r"), 0, 1), re::literal("\n")), re::repeat(blank, 0, widest));
  return blanks_[widest] =
             re::alt(re::cat(re::repeat(blank, 1, 8), re::repeat(newline, 0, 2)), re::repeat(newline, 1, 2));
}

// Pretty: what stands before a member, an item or a closing bracket at this depth.
Re SchemaMachine::line(std::uint32_t depth) const {
  return options_.blanks == Blanks::Pretty ? re::literal("\n" + std::string(2 * static_cast<std::size_t>(depth), ' '))
                                           : re::kEpsilon;
}

// Flexible: blanks may stand before all of these. They are a lexeme of their own, which every place of every schema
// shares.
void SchemaMachine::with_blanks(const Frame& f, Text text, Expansion& out) {
  if (options_.blanks != Blanks::Flexible || out.items.empty()) return;
  const auto [at, fresh] = gap_ids_.emplace(out.items, static_cast<std::uint32_t>(gaps_.size()));
  if (fresh) gaps_.push_back(out.items);
  Frame gap{At::Gap, f.capture, at->second};
  out.items.push_back({blanks(f.depth), frame(gap), f.capture ? text : 0});
}

// A comma, if something can follow it.
void SchemaMachine::comma(Frame f, At next, Text text, Expansion& out, bool sure) {
  f.at = next;
  f.offset = 0;
  const Cont cont = frame(f);
  const Text longer = text ? text_append(text, ',') : 0;
  if (!sure) {
    const Expansion& next = after(cont, 0, longer);
    if (next.items.empty()) return;
    out.unsure |= next.doubtful;
  }
  out.items.push_back({re::literal(","), cont, text});
}

void SchemaMachine::begin_value(Formula child, Cont after, Re before, const Frame& of, bool capture, Text text,
                                Expansion& out, Re but) {
  Values v = values(child);
  if (but != re::kEmpty) v.scalars = re::both(v.scalars, re::negate(but));
  if (re::empty(v.scalars)) v.scalars = re::kEmpty;
  auto begins = [&](char bracket, At at, Formula formula) {
    Frame inner{at, capture, formula, after};
    inner.depth = of.depth + 1;
    if (at == At::ObjectBegin) inner.shape = shape_of(formula);
    const bool only =
        v.scalars == re::kEmpty && v.checked_number == re::kEmpty && (v.object == kFalse || v.array == kFalse);
    if (!(only && evident(child)) && !(at == At::ObjectBegin ? possible_object(inner) : possible_array(inner))) return;
    out.items.push_back({re::cat(before, re::literal({&bracket, 1})), frame(inner), text});
  };
  if (v.scalars != re::kEmpty) {
    const Re r = re::cat(before, v.scalars);
    out.items.push_back({r, after, text});
  }
  if (v.checked_number != re::kEmpty) {
    Frame check{At::NumberEnd, capture, v.number, after};
    check.offset = capture ? static_cast<std::uint32_t>(text_size(text)) : 0;
    out.items.push_back({re::cat(before, v.checked_number), frame(check), capture ? text : Text{1}});
  }
  if (v.object != kFalse) begins('{', At::ObjectBegin, v.object);
  if (v.array != kFalse) begins('[', At::ArrayBegin, v.array);
}

// The formula when no more members or items come: a verdict.
Formula SchemaMachine::at_end(Formula f) {
  if (const auto at = ended_.find(f); at != ended_.end()) return at->second;
  const Formula verdict = f_.map(f, [&](Formula atom) {
    switch (f_[atom].is) {
      case Is::Has:
      case Is::More:
      case Is::Contains: return kFalse;
      default: return kTrue;
    }
  });
  return ended_[f] = verdict;
}

}  // namespace espalier::json
