// Formulas of strings and numbers become expressions, and answer for one value.
#include "json/expand/scalars.hpp"

#include <algorithm>
#include <array>
#include <unordered_set>

#include "json/expand/spelling.hpp"

namespace espalier::json {

Re quoted(Re texts) {
  const Re quote = re::literal("\"");
  return re::cat(quote, re::cat(re::json_string(texts), quote));
}

namespace {
Re without(Re all, Re some) { return re::both(all, re::negate(some)); }
}  // namespace

// The decoded strings of which the formula holds.
Re Scalars::text_of(Formula f) {
  if (f <= kTrue) return f == kTrue ? re::text() : re::kEmpty;
  if (const auto at = texts_.find(f); at != texts_.end()) return at->second;
  const std::vector<Formula> parts = f_.operands(f);
  Re r = re::kEmpty;
  switch (f_[f].is) {
    case Is::Text: r = f_[f].a; break;
    case Is::Not: r = without(re::text(), text_of(parts[0])); break;
    case Is::All:
      r = text_of(parts[0]);
      for (std::size_t i = 1; i < parts.size(); ++i) r = re::both(r, text_of(parts[i]));
      break;
    case Is::Any: {
      std::vector<Re> all;
      for (const Formula p : parts) all.push_back(text_of(p));
      r = re::alt(std::span<const Re>(all));
      break;
    }
    case Is::One: {
      std::vector<Re> all;
      for (const Formula p : parts) {
        std::vector<Re> others;
        for (const Formula q : parts) {
          if (q != p) others.push_back(text_of(q));
        }
        all.push_back(without(text_of(p), re::alt(std::span<const Re>(others))));
      }
      r = re::alt(std::span<const Re>(all));
      break;
    }
    default: r = re::text();
  }
  return texts_[f] = r;
}

bool Scalars::text_holds(Formula f, std::string_view s) {
  return f_.map(f, [&](Formula atom) { return matches(f_[atom].a, s) ? kTrue : kFalse; }) == kTrue;
}

// The only strings for which the formula can hold, if it names them.
const std::vector<std::string>* Scalars::finite(Formula f) const {
  if (f_[f].is == Is::Text) return expander_.words(f_[f].a);
  if (f_[f].is != Is::All) return nullptr;
  for (const Formula p : f_.operands(f)) {
    if (const auto* words = finite(p)) return words;
  }
  return nullptr;
}

// Those of the words for which the formula holds. What it forbids word by word is one set: n words beside n others that
// they must not be are not n² questions.
std::vector<std::string_view> Scalars::holding(Formula f, const std::vector<std::string>& words) {
  if (f_[f].is == Is::Text) return {words.begin(), words.end()};
  std::unordered_set<std::string_view> forbidden;
  std::vector<Formula> others;
  for (const Formula p : f_.conjuncts(f)) {
    const Formula inner = f_[p].is == Is::Not ? f_.operands(p)[0] : p;
    const auto* listed = inner != p && f_[inner].is == Is::Text ? expander_.words(f_[inner].a) : nullptr;
    if (listed) forbidden.insert(listed->begin(), listed->end());
    else others.push_back(p);
  }
  const Formula rest = f_.all(std::move(others));
  std::vector<std::string_view> out;
  for (const std::string& w : words) {
    if (!forbidden.contains(w) && text_holds(rest, w)) out.push_back(w);
  }
  return out;
}

// With the quotes. Enumerated strings have their usual spelling only, so that their text is forced; all others any.
void Scalars::strings(Formula f, Values& out) {
  if (f == kFalse) return;
  std::vector<Formula> alternatives = f_[f].is == Is::Any ? f_.operands(f) : std::vector{f};
  std::vector<WordId> spelled;
  std::vector<Re> rest;
  for (const Formula a : alternatives) {
    const auto* words = finite(a);
    if (!words) {
      rest.push_back(text_of(a));
      continue;
    }
    for (const std::string_view w : holding(a, *words)) {
      for (const std::string& s : spellings(w)) spelled.push_back(re::word(s));
    }
  }
  out.listed = re::words(std::move(spelled));
  out.texts = re::alt(std::span<const Re>(rest));
}

// Ordinary decimals, of as many digits as the bounds of f have, where these are more than usual.
Re Scalars::ordinary_numbers(Formula f) {
  constexpr std::int64_t kUsual = 15, kMost = 40, kBeyond = 5;
  std::int64_t whole = kUsual, fraction = kUsual;
  f_.map(f, [&](Formula atom) {
    const Decimal& v = expander_.number_atom(f_[atom].a).value;
    const std::int64_t after = static_cast<std::int64_t>(v.digits.size()) - v.point;
    if (v.point >= kUsual && v.point < kMost) whole = std::max(whole, v.point + 1);
    if (after + kBeyond > kUsual && after < kMost) fraction = std::max(fraction, after + kBeyond);
    return atom;
  });
  return number_ordinary(static_cast<std::uint32_t>(whole), static_cast<std::uint32_t>(fraction));
}

Re Scalars::numbers(Formula f, bool& exact) {
  if (!options_.plain_numbers) return spelled_numbers(f, exact);
  if (f == kTrue) return ordinary_numbers(f);
  const Re all = spelled_numbers(f, exact), plain = re::both(all, ordinary_numbers(f));
  return re::empty(plain) ? all : plain;  // where a bound leaves no ordinary decimal, its exponents stay
}

Re Scalars::spelled_numbers(Formula f, bool& exact) {
  if (f == kTrue) return number_any();
  const Re all = number_plain_or_scientific();
  // The texts for which f (negated: not f) holds; an atom without an expression admits all.
  auto texts = [&](auto&& self, Formula g, bool negated) -> Re {
    if (g <= kTrue) return (g == kTrue) != negated ? all : re::kEmpty;
    const std::vector<Formula> parts = f_.operands(g);
    switch (f_[g].is) {
      case Is::Number: {
        bool regular = true;
        const NumberAtom& a = expander_.number_atom(f_[g].a);
        if (options_.plain_numbers && !negated && (a.op == Op::Integer || (a.op == Op::Eq && a.value.integer())))
          return re::both(number_digits(), number_texts(a, regular));
        const Re r = number_texts(expander_.number_atom(f_[g].a), regular);
        exact &= regular;
        return !regular ? all : negated ? without(all, r) : re::both(all, r);
      }
      case Is::Not: return self(self, parts[0], !negated);
      case Is::One: {
        std::vector<Formula> cases;
        for (const Formula p : parts) {
          std::vector<Formula> one{p};
          for (const Formula q : parts) {
            if (q != p) one.push_back(f_.negate(q));
          }
          cases.push_back(f_.all(std::move(one)));
        }
        return self(self, f_.any(std::move(cases)), negated);
      }
      default: {
        const bool meet = (f_[g].is == Is::All) != negated;
        std::vector<Re> rs;
        for (const Formula p : parts) rs.push_back(self(self, p, negated));
        if (!meet) return re::alt(std::span<const Re>(rs));
        Re r = rs[0];
        for (std::size_t i = 1; i < rs.size(); ++i) r = re::both(r, rs[i]);
        return r;
      }
    }
  };
  return texts(texts, f, false);
}

bool Scalars::number_holds(Formula f, const Decimal& d, std::string_view text) {
  return f_.map(f, [&](Formula atom) { return holds(expander_.number_atom(f_[atom].a), d, text) ? kTrue : kFalse; }) ==
         kTrue;
}

const Values& Scalars::values(Formula child) {
  if (const auto at = values_.find(child); at != values_.end()) return at->second;
  auto of = [&](Kind kind) { return f_.map(child, [&](Formula atom) { return expander_.expand(f_[atom].a, kind); }); };
  Values v;
  std::vector<Re> scalars;
  if (of(Kind::Null) == kTrue) scalars.push_back(re::literal("null"));
  if (of(Kind::True) == kTrue) scalars.push_back(re::literal("true"));
  if (of(Kind::False) == kTrue) scalars.push_back(re::literal("false"));
  std::vector<Decimal> listed;
  v.few = true;
  if (const Formula f = of(Kind::Number); f != kFalse) {
    v.few = finite(f, listed);
    bool exact = true;
    const Re r = numbers(f, exact);
    if (exact) {
      scalars.push_back(r);
    } else {
      v.checked_number = r;
      v.number = f;
    }
  }
  if (const Formula f = of(Kind::String); f != kFalse) {
    v.few &= finite(f) != nullptr;
    strings(f, v);
  }
  v.others = re::alt(std::span<const Re>(scalars));
  v.scalars = re::alt(std::array{v.others, v.listed, quoted(v.texts)});
  v.object = of(Kind::Object);
  v.array = of(Kind::Array);
  v.few &= v.object == kFalse && v.array == kFalse;
  return values_[child] = v;
}

// The only numbers for which the formula can hold, if it names them.
bool Scalars::finite(Formula f, std::vector<Decimal>& numbers) const {
  const std::vector<Formula> parts = f_.operands(f);
  const auto named = [&](Formula p) { return finite(p, numbers); };
  switch (f_[f].is) {
    case Is::Number: {
      const NumberAtom& atom = expander_.number_atom(f_[f].a);
      if (atom.op == Op::Eq) numbers.push_back(atom.value);
      return atom.op == Op::Eq;
    }
    case Is::Any: return std::all_of(parts.begin(), parts.end(), named);
    case Is::All: return std::any_of(parts.begin(), parts.end(), named);
    default: return false;
  }
}

}  // namespace espalier::json
