// Arrays as they are written: which item may come next.
#include <algorithm>

#include "json/machine/schema_machine.hpp"

namespace espalier::json {

void SchemaMachine::items(const Frame& f, Text given, Expansion& out) {
  const Text text = f.capture ? given : 0;
  if (f.at != At::ArrayComma) close(f, ']', f.at == At::ArrayBegin, text, out);
  if (f.at == At::ArrayNext) return comma(f, At::ArrayComma, text, out);
  const Formula after = array_items_.item_formula(f.formula, f.index);
  if (after == kFalse) return;
  const std::uint32_t uniform = array_items_.prefix_length(f.formula);
  const bool unique = unique_.unique(f.formula);
  Frame n = f;
  n.at = At::ArrayNext;
  n.index = std::min(f.index + 1, uniform);
  n.offset = unique && f.capture ? static_cast<std::uint32_t>(text_size(text)) : 0;
  const Re before = line(f.depth);
  const SeenItems::Written said = unique ? unique_.written(f.seen) : SeenItems::Written{};
  for (const Split& s : splitter_.split(after)) {
    n.formula = s.rest;
    if (!live_.possible_array(n.open())) continue;
    const bool once =
        unique && unique_.not_unique(s.rest) == kFalse;  // an item that was said would leave nothing to hold
    begin_value(s.child, frames_.id(n), before, f, f.capture || unique, unique && !f.capture ? Text{1} : text, out,
                once ? said : SeenItems::Written{});
    // of an item that is not known, the scalars that it takes away are not known either; of any string it is only the
    // end
    if (once && unique_.unknown(f.seen) && scalars_.values(s.child).scalars != quoted(re::text())) {
      out.unsure = true;
      out.doubtful |= scalars_.values(s.child).few;
    }
  }
}

// An item has ended. If it was there before, the array is one with repeated items.
void SchemaMachine::array_next(Frame f, Text text, Expansion& out) {
  if (unique_.unique(f.formula)) {
    out.unsure = unique_.unknown(f.seen);
    std::uint32_t id = kAnyName;
    if (text != kAnyText) {
      const std::string written = text_from(text, f.offset);
      std::string_view item = written;
      item.remove_prefix(std::min(item.find_first_not_of(" \t\r\n,"), item.size()));
      id = names_.id(canonical(item));
    }
    const std::uint32_t seen = unique_.with(f.seen, id);
    if (seen == f.seen) f.formula = unique_.not_unique(f.formula);
    f.seen = seen;
    if (f.formula == kFalse) return;
  }
  items(f, text, out);
}

// Only demands that one item decides, and counts.
bool SchemaMachine::plain_items(Formula f) const {
  bool unique = false, more = false;
  for (const Formula p : f_.conjuncts(f)) {
    const bool negative = f_[p].is == Is::Not;
    const Is is = f_[negative ? f_.operands(p)[0] : p].is;
    unique |= is == Is::Unique;
    more |= is == Is::More && !negative;
    if (negative ? is != Is::More : is != Is::True && is != Is::Items && is != Is::More && is != Is::Unique)
      return false;
  }
  return !unique || !more;
}

}  // namespace espalier::json
