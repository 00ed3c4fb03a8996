// Where the text that was captured makes no difference to what follows, or only the patterns that a name matches: masks
// look at all texts of a sort together.
#include <algorithm>

#include "json/machine/schema_machine.hpp"

namespace espalier::json {

// A name that has begun: one item for each set of patterns that it may come to match.
std::vector<Item> SchemaMachine::sorts_of_names(const Item& item) {
  const Frame f = frames_[item.cont];
  std::vector<Re> rest = members_.unlisted(f.formula).patterns;
  std::string written = text_from(item.text, f.offset), decoded;
  written.erase(0, std::min(written.find('"'), written.size()));
  if (!written.empty()) {
    written += '"';
    std::string_view view = written;
    if (!unquote(view, decoded) || !view.empty()) return {};  // within an escape
  }
  for (Re& r : rest) {
    for (const char c : decoded) r = r == re::kEmpty ? r : re::step(r, static_cast<std::uint8_t>(c));
  }
  std::vector<Item> out;
  for (std::uint32_t matched = 0; matched < 1u << rest.size(); ++matched) {
    Re body = re::kAll, lexeme;
    for (std::size_t i = 0; i < rest.size(); ++i)
      body = re::both(body, matched >> i & 1 ? rest[i] : re::negate(rest[i]));
    if (!re::within(item.re, body, lexeme)) return {};
    if (lexeme != re::kEmpty) out.push_back({lexeme, item.cont, kAnyText + 1 + matched});
  }
  return out;
}

std::vector<Item> SchemaMachine::sorts(const Item& item) {
  if (!capture_free(item.cont, item.text)) return {};
  const Frame& f = frames_[item.cont];
  if (f.at == At::Member && !members_.unlisted(f.formula).patterns.empty() && !re::marked(item.re))
    return sorts_of_names(item);
  return {{item.re, item.cont, kAnyText}};
}

// Whether what follows is the same for every text that begins with this one, or, of names, for all that match the same
// patterns.
bool SchemaMachine::capture_free(Cont cont, Text text) {
  const Frame f = frames_[cont];
  if (f.at == At::Gap)
    return std::ranges::all_of(frames_.after_gap(f), [&](const Item& i) { return capture_free(i.cont, text); });
  if (blind_.size() <= cont) blind_.resize(frames_.size(), -1);
  if (blind_[cont] < 0) blind_[cont] = f.at == At::Member ? !members_.unlisted(f.formula).apart : f.at != At::NumberEnd;
  if (!blind_[cont] || f.at == At::End) return blind_[cont];
  for (Cont c = cont; frames_[c].at != At::End; c = frames_[c].around) {  // the arrays that remember this text
    const Frame around = frames_[c];
    if (around.array() && unique_.unique(around.formula) && unique_.not_unique(around.formula) != kFalse) return false;
    if (around.array() && unique_.unique(around.formula) &&
        !unique_.new_item(around.at == At::ArrayNext ? text_from(text, around.offset) : "", around.seen))
      return false;
    if (!around.capture) break;
  }
  return true;
}

}  // namespace espalier::json
