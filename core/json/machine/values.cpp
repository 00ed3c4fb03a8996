// How a value begins and ends, and what stands between two tokens.
#include <algorithm>

#include "json/machine/schema_machine.hpp"

namespace espalier::json {

void SchemaMachine::close(const Frame& f, char bracket, bool first, Text text, Expansion& out) {
  if (live_.at_end(f.formula) != kTrue) return;
  if (text) {  // the value is remembered: if it may not stand here (it was said before), its end is not offered
    const Expansion& next = after(f.around, 0, text_append(text, static_cast<std::uint8_t>(bracket)));
    if (next.items.empty() && !next.accepts && !next.unsure) return;
  }
  const Re before = first ? re::kEpsilon : line(f.depth - 1);
  out.items.push_back({re::cat(before, re::literal({&bracket, 1})), f.around, text});
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
  const Cont gap = frames_.gap(out.items, f.capture);
  out.items.push_back({blanks(f.depth), gap, f.capture ? text : 0});
}

// A comma, if something can follow it.
void SchemaMachine::comma(Frame f, At next, Text text, Expansion& out, bool sure) {
  f.at = next;
  f.offset = 0;
  const Cont cont = frames_.id(f);
  const Text longer = text ? text_append(text, ',') : 0;
  if (!sure) {
    const Expansion& next = after(cont, 0, longer);
    if (next.items.empty()) return;
    out.unsure |= next.doubtful;
  }
  out.items.push_back({re::literal(","), cont, text});
}

// The scalars without those that were said; strings apart from others, so that their beginnings are masked together.
std::vector<Re> SchemaMachine::unsaid(const Values& v, const SeenItems::Written& but) {
  const auto without = [](Re all, Re some) { return some == re::kEmpty ? all : re::both(all, re::negate(some)); };
  std::vector<Re> out{v.scalars};
  if (but.strings != re::kEmpty || but.others != re::kEmpty) {
    const Re listed = without(v.listed, quoted(but.strings)), texts = quoted(without(v.texts, but.strings));
    out = {re::alt(listed, texts), without(v.others, but.others)};
  }
  std::erase_if(out, re::empty);
  return out;
}

void SchemaMachine::begin_value(Formula child, Cont after, Re before, const Frame& of, bool capture, Text text,
                                Expansion& out, const SeenItems::Written& but) {
  const Values& v = scalars_.values(child);
  const std::vector<Re> scalars = unsaid(v, but);
  auto begins = [&](char bracket, At at, Formula formula) {
    Frame inner{at, capture, formula, after};
    inner.depth = of.depth + 1;
    if (at == At::ObjectBegin) inner.shape = members_.shape_of(formula);
    const bool only = scalars.empty() && v.checked_number == re::kEmpty && (v.object == kFalse || v.array == kFalse);
    if (!(only && live_.evident(child)) &&
        !(at == At::ObjectBegin ? live_.possible_object(inner.open()) : live_.possible_array(inner.open())))
      return;
    out.items.push_back({re::cat(before, re::literal({&bracket, 1})), frames_.id(inner), text});
  };
  for (const Re r : scalars) out.items.push_back({re::cat(before, r), after, text});
  if (v.checked_number != re::kEmpty) {
    Frame check{At::NumberEnd, capture, v.number, after};
    check.offset = capture ? static_cast<std::uint32_t>(text_size(text)) : 0;
    out.items.push_back({re::cat(before, v.checked_number), frames_.id(check), capture ? text : Text{1}});
  }
  if (v.object != kFalse) begins('{', At::ObjectBegin, v.object);
  if (v.array != kFalse) begins('[', At::ArrayBegin, v.array);
}

}  // namespace espalier::json
