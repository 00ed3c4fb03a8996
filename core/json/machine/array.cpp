// Arrays: what an item must satisfy, and what it leaves to be seen.
#include <algorithm>

#include "json/machine/schema_machine.hpp"

namespace espalier::json {

Formula SchemaMachine::listed(Schema s, std::string_view name, const Value& v) {
  if (name == "minItems") return f_.atom(Is::More, count(s, name, v));
  if (name == "maxItems") return f_.negate(f_.atom(Is::More, count(s, name, v) + 1));
  if (name == "uniqueItems") return v.is(Kind::True) ? f_.atom(Is::Unique) : kTrue;
  if (name != "contains") return kTrue;
  const Value& schema = *schemas_[s].value;
  const bool counted = knows(schemas_.resource(s).draft, "minContains") && schemas_.resource(s).asserts;
  const Value *least = counted ? schema.get("minContains") : nullptr,
              *most = counted ? schema.get("maxContains") : nullptr;
  const Schema wanted = schemas_.inside(s, &v);
  const Formula enough = f_.atom(Is::Contains, wanted, least ? count(s, "minContains", *least) : 1);
  if (!most) return enough;
  return f_.both(enough, f_.negate(f_.atom(Is::Contains, wanted, count(s, "maxContains", *most) + 1)));
}

const Value* SchemaMachine::prefix_items(Schema s) const {
  return knows(schemas_.resource(s).draft, "prefixItems") ? schemas_[s].value->get("prefixItems") : nullptr;
}

// What the item at `index` must satisfy by prefixItems and items, or by the older array form of items.
Formula SchemaMachine::item_schema(Schema s, std::uint32_t index) {
  const Value& v = *schemas_[s].value;
  const Value *prefix = prefix_items(s), *rest = v.get("items");
  if (rest && rest->is(Kind::Array) && !prefix) {
    prefix = rest;
    rest = v.get("additionalItems");
  }
  if (prefix && prefix->is(Kind::Array) && index < prefix->items.size())
    return child(schemas_.inside(s, prefix->items[index]));
  return rest ? child(schemas_.inside(s, rest)) : kTrue;
}

bool SchemaMachine::evaluates_item(Schema evaluator, std::uint32_t index) {
  const Schema s = evaluator & ~kHolder;
  const Value& v = *schemas_[s].value;
  const Value *prefix = prefix_items(s), *rest = v.get("items");
  if (s == evaluator && v.get("unevaluatedItems")) return true;
  if (rest && rest->is(Kind::Array)) {
    prefix = rest;
    rest = v.get("additionalItems");
  }
  return rest || (prefix && index < prefix->items.size());
}

Formula SchemaMachine::item_formula(Formula f, std::uint32_t index) {
  return f_.map(f, [&](Formula atom) {
    const FormulaNode n = f_[atom];
    switch (n.is) {
      case Is::Items: return f_.both(atom, item_schema(n.a, index));
      case Is::More: return f_.atom(Is::More, n.a - 1);
      case Is::Contains:  // at least n of the rest: this one and n - 1, or n
        return f_.either(f_.both(child(n.a), f_.atom(Is::Contains, n.a, n.b - 1)), atom);
      case Is::Unevaluated: {
        std::vector<Formula> any{child(n.a)};
        const std::vector<Formula> counts = f_.operands(atom);
        for (std::size_t i = 0; i < counts.size(); ++i) {
          const Schema by = evaluators_[n.b][i], e = by & ~kHolder;
          const Value* wanted = schemas_[e].value->get("contains");
          if (evaluates_item(by, index)) any.push_back(counts[i]);
          else if (wanted && schemas_.resource(e).draft != Draft::V2019)
            any.push_back(f_.both(counts[i], child(schemas_.inside(e, wanted))));
        }
        return f_.both(atom, f_.any(std::move(any)));
      }
      default: return atom;
    }
  });
}

// From this index on all items are treated alike.
std::uint32_t SchemaMachine::prefix_length(Formula f) {
  if (const auto at = prefix_lengths_.find(f); at != prefix_lengths_.end()) return at->second;
  std::uint32_t most = 0;
  auto look = [&](Schema s) {
    s &= ~kHolder;
    for (const char* name : {"prefixItems", "items"}) {
      const Value* list = schemas_[s].value->get(name);
      if (list && list->is(Kind::Array)) most = std::max(most, static_cast<std::uint32_t>(list->items.size()));
    }
  };
  f_.map(f, [&](Formula atom) {
    if (f_[atom].is == Is::Items) look(f_[atom].a);
    if (f_[atom].is == Is::Unevaluated)
      std::for_each(evaluators_[f_[atom].b].begin(), evaluators_[f_[atom].b].end(), look);
    return atom;
  });
  return prefix_lengths_[f] = most;
}

void SchemaMachine::items(const Frame& f, Text given, Expansion& out) {
  const Text text = f.capture ? given : 0;
  if (f.at != At::ArrayComma) close(f, ']', f.at == At::ArrayBegin, text, out);
  if (f.at == At::ArrayNext) return comma(f, At::ArrayComma, text, out);
  const Formula after = item_formula(f.formula, f.index);
  if (after == kFalse) return;
  const std::uint32_t uniform = prefix_length(f.formula);
  const bool unique = this->unique(f.formula);
  Frame n = f;
  n.at = At::ArrayNext;
  n.index = std::min(f.index + 1, uniform);
  n.offset = unique && f.capture ? static_cast<std::uint32_t>(text_size(text)) : 0;
  const Re before = line(f.depth), said = unique ? spelled(f.seen) : re::kEmpty;
  for (const Split& s : split(after)) {
    n.formula = s.rest;
    if (!possible_array(n)) continue;
    const bool once = unique && not_unique(s.rest) == kFalse;  // an item that was said would leave nothing to hold
    begin_value(s.child, frame(n), before, f, f.capture || unique, unique && !f.capture ? Text{1} : text, out,
                once ? said : re::kEmpty);
    // of an item that is not known, the scalars that it takes away are not known either; of any string it is only the
    // end
    if (once && unknown(f.seen) && values(s.child).scalars != any_string()) {
      out.unsure = true;
      out.doubtful |= values(s.child).few;
    }
  }
}

// How the scalars of a set of canonical texts may be written.
Re SchemaMachine::spelled(std::uint32_t set) {
  std::vector<Re> all;
  for (const std::uint32_t id : sets_[set]) {
    const std::string_view text = names_[id];
    if (id == kAnyName || text[0] == '{' || text[0] == '[') continue;  // their end is not offered again: close()
    const auto [at, fresh] = scalar_texts_.try_emplace(id, re::kEmpty);
    if (fresh) at->second = scalar_text(text);
    all.push_back(at->second);
  }
  if (!all.empty())
    all.push_back(number_beyond());  // their ends cannot be told apart from those of numbers that were said
  return re::alt(std::span<const Re>(all));
}

Re SchemaMachine::scalar_text(std::string_view canonical) const {
  std::string decoded;
  bool exact = true;
  if (canonical[0] == '-' || (canonical[0] >= '0' && canonical[0] <= '9'))
    return number_texts({Op::Eq, decimal(canonical)}, exact);
  if (canonical[0] != '"') return re::literal(canonical);
  return unquote(canonical, decoded)
             ? re::cat(re::literal("\""), re::cat(re::json_string(re::literal(decoded)), re::literal("\"")))
             : re::kEmpty;
}

// An item has ended. If it was there before, the array is one with repeated items.
void SchemaMachine::array_next(Frame f, Text text, Expansion& out) {
  if (unique(f.formula)) {
    out.unsure = unknown(f.seen);
    std::uint32_t id = kAnyName;
    if (text != kAnyText) {
      const std::string written = text_from(text, f.offset);
      std::string_view item = written;
      item.remove_prefix(std::min(item.find_first_not_of(" \t\r\n,"), item.size()));
      id = name_id(canonical(item));
    }
    const std::uint32_t seen = set_with(f.seen, id);
    if (seen == f.seen) f.formula = not_unique(f.formula);
    f.seen = seen;
    if (f.formula == kFalse) return;
  }
  items(f, text, out);
}

}  // namespace espalier::json
