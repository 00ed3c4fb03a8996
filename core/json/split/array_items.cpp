// The derivative by an item.
#include "json/split/array_items.hpp"

#include <algorithm>

namespace espalier::json {

const Value* ArrayItems::prefix_items(Schema s) const {
  return knows(schemas_.resource(s).draft, "prefixItems") ? schemas_[s].value->get("prefixItems") : nullptr;
}

// What the item at `index` must satisfy by prefixItems and items, or by the older array form of items.
Formula ArrayItems::item_schema(Schema s, std::uint32_t index) {
  const Value& v = *schemas_[s].value;
  const Value *prefix = prefix_items(s), *rest = v.get("items");
  if (rest && rest->is(Kind::Array) && !prefix) {
    prefix = rest;
    rest = v.get("additionalItems");
  }
  if (prefix && prefix->is(Kind::Array) && index < prefix->items.size())
    return expander_.child(schemas_.inside(s, prefix->items[index]));
  return rest ? expander_.child(schemas_.inside(s, rest)) : kTrue;
}

bool ArrayItems::evaluates_item(Schema evaluator, std::uint32_t index) {
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

Formula ArrayItems::item_formula(Formula f, std::uint32_t index) {
  return f_.map(f, [&](Formula atom) {
    const FormulaNode n = f_[atom];
    switch (n.is) {
      case Is::Items: return f_.both(atom, item_schema(n.a, index));
      case Is::More: return f_.atom(Is::More, n.a - 1);
      case Is::Contains:  // at least n of the rest: this one and n - 1, or n
        return f_.either(f_.both(expander_.child(n.a), f_.atom(Is::Contains, n.a, n.b - 1)), atom);
      case Is::Unevaluated: {
        std::vector<Formula> any{expander_.child(n.a)};
        const std::vector<Formula> counts = f_.operands(atom);
        for (std::size_t i = 0; i < counts.size(); ++i) {
          const Schema by = expander_.evaluators(n.b)[i], e = by & ~kHolder;
          const Value* wanted = schemas_[e].value->get("contains");
          if (evaluates_item(by, index)) any.push_back(counts[i]);
          else if (wanted && schemas_.resource(e).draft != Draft::V2019)
            any.push_back(f_.both(counts[i], expander_.child(schemas_.inside(e, wanted))));
        }
        return f_.both(atom, f_.any(std::move(any)));
      }
      default: return atom;
    }
  });
}

// From this index on all items are treated alike.
std::uint32_t ArrayItems::prefix_length(Formula f) {
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
      std::for_each(expander_.evaluators(f_[atom].b).begin(), expander_.evaluators(f_[atom].b).end(), look);
    return atom;
  });
  return prefix_lengths_[f] = most;
}

}  // namespace espalier::json
