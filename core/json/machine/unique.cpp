// uniqueItems: which items were there, and where the text of the next one makes no difference to what may follow.
#include <algorithm>

#include "json/machine/schema_machine.hpp"

namespace espalier::json {

namespace {

// The members or items of an object or array of which perhaps only the beginning is there: those that are complete.
std::vector<std::string_view> parts(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t begin = 1;
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
      continue;
    }
    quoted = c == '"';
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if ((c == ',' && depth == 1) || depth == 0) {
      const std::string_view part = text.substr(begin, i - begin);
      if (part.find_first_not_of(" \t\r\n") != part.npos) out.push_back(part);
      begin = i + 1;
    }
  }
  return out;
}

// Whether a value that begins like this may become equal to `other`, the canonical text of a complete one.
bool may_equal(std::string_view beginning, std::string_view other) {
  if (beginning[0] != other[0]) return false;
  const std::vector<std::string_view> mine = parts(beginning), theirs = parts(other);
  const std::string open(1, beginning[0]), close(1, beginning[0] == '{' ? '}' : ']');
  for (std::size_t i = 0; i < mine.size(); ++i) {
    const std::string one = canonical(open + std::string(mine[i]) + close);
    const std::string_view part = std::string_view(one).substr(1, one.size() - 2);
    const bool found = open == "{" ? std::find(theirs.begin(), theirs.end(), part) != theirs.end()
                                   : i < theirs.size() && theirs[i] == part;
    if (!found) return false;
  }
  return true;
}

}  // namespace

bool SchemaMachine::unique(Formula f) {
  bool found = false;
  f_.map(f, [&](Formula atom) { return found |= f_[atom].is == Is::Unique, atom; });
  return found;
}

// What remains when two items are equal.
Formula SchemaMachine::not_unique(Formula f) {
  return f_.map(f, [&](Formula atom) { return f_[atom].is == Is::Unique ? kFalse : atom; });
}

bool SchemaMachine::unknown(std::uint32_t set) const { return !sets_[set].empty() && sets_[set][0] == kAnyName; }

// Whether an item that begins like this will be none of those that were there, whatever its rest. Scalars that were
// there are no part of what may come (items()).
bool SchemaMachine::new_item(std::string_view text, std::uint32_t seen) const {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n,"), text.size()));
  return std::none_of(sets_[seen].begin(), sets_[seen].end(), [&](std::uint32_t id) {
    const std::string& other = names_[id];
    if (other[0] != '{' && other[0] != '[') return false;
    return text.empty() || may_equal(text, other);
  });
}

std::vector<Item> SchemaMachine::sorts(const Item& item) {
  if (!capture_free(item.cont, item.text)) return {};
  const Frame& f = frames_[item.cont];
  if (f.at == At::Member && !names(f.formula).patterns.empty() && !re::marked(item.re)) return sorts_of_names(item);
  return {{item.re, item.cont, kAnyText}};
}

// Whether what follows is the same for every text that begins with this one, or, of names, for all that match the same
// patterns.
bool SchemaMachine::capture_free(Cont cont, Text text) {
  const Frame f = frames_[cont];
  if (f.at == At::Gap)
    return std::ranges::all_of(gaps_[f.formula], [&](const Item& i) { return capture_free(i.cont, text); });
  if (blind_.size() <= cont) blind_.resize(frames_.size(), -1);
  if (blind_[cont] < 0) blind_[cont] = f.at == At::Member ? !names(f.formula).apart : f.at != At::NumberEnd;
  if (!blind_[cont] || f.at == At::End) return blind_[cont];
  for (Cont c = cont; frames_[c].at != At::End; c = frames_[c].around) {  // the arrays that remember this text
    const Frame around = frames_[c];
    const bool array = around.at == At::ArrayNext || around.at == At::ArrayComma || around.at == At::ArrayBegin;
    if (array && unique(around.formula) && not_unique(around.formula) != kFalse) return false;
    if (array && unique(around.formula) &&
        !new_item(around.at == At::ArrayNext ? text_from(text, around.offset) : "", around.seen))
      return false;
    if (!around.capture) break;
  }
  return true;
}

Re SchemaMachine::any_string() {
  const Re quote = re::literal("\"");
  return re::cat(quote, re::cat(re::json_string(re::text()), quote));
}

}  // namespace espalier::json
