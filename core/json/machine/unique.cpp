// Scalars that were there are taken away from the next item; objects and arrays are compared as they are written.
#include "json/machine/unique.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "json/number.hpp"

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

// How the scalars of a set of canonical texts may be written. Strings are one list of words: a step looks at few of
// them.
Re Unique::spelled(std::uint32_t set) {
  std::vector<Re> all;
  std::vector<WordId> words;
  for (const std::uint32_t id : names_.set(set)) {
    const std::string_view text = names_[id];
    if (id == kAnyName || text[0] == '{' || text[0] == '[') continue;  // their end is not offered again: close()
    const auto [at, fresh] = scalars_.try_emplace(id);
    if (fresh) at->second = scalar(text);
    if (at->second.string) words.push_back(at->second.word);
    else all.push_back(at->second.re);
  }
  if (!words.empty()) {
    const Re quote = re::literal("\"");
    all.push_back(re::cat(quote, re::cat(re::json_string(re::words(std::move(words))), quote)));
  }
  if (!all.empty())
    all.push_back(number_beyond());  // their ends cannot be told apart from those of numbers that were said
  return re::alt(std::span<const Re>(all));
}

Unique::Scalar Unique::scalar(std::string_view canonical) {
  std::string decoded;
  bool exact = true;
  if (canonical[0] == '-' || (canonical[0] >= '0' && canonical[0] <= '9'))
    return {false, 0, number_texts({Op::Eq, decimal(canonical)}, exact)};
  if (canonical[0] != '"') return {false, 0, re::literal(canonical)};
  if (!unquote(canonical, decoded)) return {false, 0, re::kEmpty};
  return {true, re::word(decoded), re::kEmpty};
}

bool Unique::unique(Formula f) {
  bool found = false;
  f_.map(f, [&](Formula atom) { return found |= f_[atom].is == Is::Unique, atom; });
  return found;
}

// What remains when two items are equal.
Formula Unique::not_unique(Formula f) {
  return f_.map(f, [&](Formula atom) { return f_[atom].is == Is::Unique ? kFalse : atom; });
}

bool Unique::unknown(std::uint32_t set) const { return !names_.set(set).empty() && names_.set(set)[0] == kAnyName; }

// Whether an item that begins like this will be none of those that were there, whatever its rest. Scalars that were
// there are no part of what may come (items()).
bool Unique::new_item(std::string_view text, std::uint32_t seen) const {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n,"), text.size()));
  return std::none_of(names_.set(seen).begin(), names_.set(seen).end(), [&](std::uint32_t id) {
    const std::string& other = names_[id];
    if (other[0] != '{' && other[0] != '[') return false;
    return text.empty() || may_equal(text, other);
  });
}

Re Unique::any_string() {
  const Re quote = re::literal("\"");
  return re::cat(quote, re::cat(re::json_string(re::text()), quote));
}

}  // namespace espalier::json
