// Names that no schema lists: which patterns they match is all that tells them apart, so masks look at the names of one
// sort together.
#include <algorithm>

#include "json/machine/schema_machine.hpp"

namespace espalier::json {

namespace {
constexpr std::size_t kMostPatterns = 3;
static_assert(1u << kMostPatterns <= kSorts);
}  // namespace

const SchemaMachine::Names& SchemaMachine::names(Formula f) {
  if (const auto at = unlisted_.find(f); at != unlisted_.end()) return at->second;
  Names all;
  all.apart = apart(f, all.patterns);
  std::sort(all.patterns.begin(), all.patterns.end());
  all.patterns.erase(std::unique(all.patterns.begin(), all.patterns.end()), all.patterns.end());
  all.apart |= all.patterns.size() > kMostPatterns;
  return unlisted_[f] = std::move(all);
}

// Whether names beyond the shape's (that other_names lets through) may lead to different formulas though they match the
// same patterns.
bool SchemaMachine::apart(Formula f, std::vector<Re>& patterns, bool top) {
  const FormulaNode n = f_[f];
  const auto add = [&](Schema s) {
    const Value* p = schemas_[s].value->get("patternProperties");
    if (!p || !p->is(Kind::Object)) return;
    for (const auto& m : p->members) patterns.push_back(key_pattern(s, m.first));
  };
  switch (n.is) {
    case Is::Members: add(n.a); return false;
    case Is::Names: return !top;
    case Is::Unevaluated:
      for (const Schema e : evaluators_[n.b]) add(e & ~kHolder);
      return false;
    default: break;
  }
  bool some = false;
  for (const Formula p : f_.operands(f)) some |= apart(p, patterns, top && n.is == Is::All);
  return some;
}

// What stands for all names that match these patterns (bits) and no others: no text, and then the patterns.
std::uint32_t SchemaMachine::any_name(const Names& all, std::uint32_t matched) {
  std::string name = names_[kAnyName];
  for (std::size_t i = 0; i < all.patterns.size(); ++i) {
    if (matched >> i & 1) name.append(reinterpret_cast<const char*>(&all.patterns[i]), sizeof(Re));
  }
  return name_id(name);
}

bool SchemaMachine::fits(Re pattern, std::string_view name) {
  if (stands_for_many(name)) {
    for (std::size_t i = 1; i < name.size(); i += sizeof(Re)) {
      if (name.substr(i, sizeof(Re)) == std::string_view(reinterpret_cast<const char*>(&pattern), sizeof(Re)))
        return true;
    }
    return false;
  }
  for (const char c : name) {
    if ((pattern = re::step(pattern, static_cast<std::uint8_t>(c))) == re::kEmpty) return false;
  }
  return re::nullable(pattern);
}

// A name that has begun: one item for each set of patterns that it may come to match.
std::vector<Item> SchemaMachine::sorts_of_names(const Item& item) {
  const Frame f = frames_[item.cont];
  std::vector<Re> rest = names(f.formula).patterns;
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

}  // namespace espalier::json
