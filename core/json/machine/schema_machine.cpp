// The machine as a whole: its start, what follows a lexeme, and where an end may be refused.
#include "json/machine/schema_machine.hpp"

#include <algorithm>

#include "base/budget.hpp"

namespace espalier::json {

namespace {
Schema read(Schemas& schemas, const std::string& text,
            const std::vector<std::pair<std::string, std::string>>& registry) {
  for (const auto& [uri, other] : registry) schemas.offer(uri, other);
  return schemas.root(text);
}
}  // namespace

std::size_t SchemaMachine::AfterHash::operator()(const After& a) const {
  const std::uint64_t h =
      ((static_cast<std::uint64_t>(a.cont) << 32 | a.text) ^ (static_cast<std::uint64_t>(a.tag) << 17)) *
      0x9e3779b97f4a7c15ull;
  return h ^ (h >> 32);
}

SchemaMachine::SchemaMachine(std::string schema, std::vector<std::pair<std::string, std::string>> registry,
                             Options options)
    : text_(std::move(schema)),
      registry_(std::move(registry)),
      options_(options),
      root_(read(schemas_, text_, registry_)),
      obvious_(schemas_),
      expander_(schemas_, f_, names_, options_),
      scalars_(f_, expander_, options_),
      members_(schemas_, f_, names_, expander_, scalars_),
      array_items_(schemas_, f_, expander_),
      wide_(schemas_, f_, names_, members_),
      apart_(f_, expander_, scalars_),
      splitter_(schemas_, root_, f_, expander_, scalars_, apart_, questions_, live_),
      plans_(schemas_, f_, names_, expander_, scalars_, members_, wide_, obvious_, splitter_, questions_, live_),
      live_(f_, names_, expander_, scalars_, members_, array_items_, plans_, splitter_, obvious_, questions_, options_),
      unique_(f_, names_),
      owed_(frames_, f_, names_, members_) {
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
  questions_.interrupted();
  expander_.interrupted();
  f_.interrupted();
}

const Expansion& SchemaMachine::start() {
  if (started_) return start_;
  Frame outside{At::End};
  const Cont end = frames_.id(outside);
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
      out.items = frames_.after_gap(f);
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
      if (scalars_.number_holds(f.formula, decimal(s), s)) out = after(f.around, 0, f.capture ? text : 0);
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
    case At::ArrayNext: some = !plain_items(f.formula) || unique_.unknown(f.seen); break;
    case At::NumberEnd: some = true; break;
    default: break;  // commas, colons and gaps are only offered where something follows
  }
  refuses_[cont] = some;
  return some;
}

std::string SchemaMachine::where(Cont cont) {
  for (; cont != 0; cont = frames_[cont].around) {
    if (frames_[cont].at == At::Gap) cont = frames_.after_gap(frames_[cont])[0].cont;
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

}  // namespace espalier::json
