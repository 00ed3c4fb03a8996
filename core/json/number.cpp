// Bounds and multiples as expressions over the digits.
#include "json/number.hpp"

#include "base/generation.hpp"

#include <array>
#include <unordered_map>

namespace espalier::json {

namespace {

constexpr int kFraction = 20;  // digits in the fraction of d.ddde±x
constexpr std::uint32_t kLastZeros =
    6;  // zeros at the end of a fraction (at its beginning before e+x), so that 1.0 does not become 1.000…
constexpr std::uint32_t kFirstZeros = 2;   // zeros before an exponent, for the same reason
constexpr std::int64_t kLongest = 20'000;  // digits of a bound written plainly

Re range(char lo, char hi) {
  if (lo > hi) return re::kEmpty;
  ByteSet s;
  s.add(static_cast<unsigned char>(lo), static_cast<unsigned char>(hi));
  return re::bytes(s);
}
Re digits(std::uint32_t lo, std::uint32_t hi = re::kInf) { return re::repeat(range('0', '9'), lo, hi); }
Re zeros(std::uint32_t lo, std::uint32_t hi = re::kInf) { return re::repeat(re::literal("0"), lo, hi); }
Re maybe(Re r) { return re::repeat(r, 0, 1); }
Re cats(std::initializer_list<Re> parts) {
  Re out = re::kEpsilon;
  for (auto p = std::rbegin(parts); p != std::rend(parts); ++p) out = re::cat(*p, out);
  return out;
}
Re alts(std::initializer_list<Re> parts) { return re::alt(std::span(parts.begin(), parts.size())); }
Re minus() { return re::literal("-"); }
Re exponent_mark() { return re::alt(re::literal("e"), re::literal("E")); }
Re integers() { return re::alt(re::literal("0"), re::cat(range('1', '9'), digits(0))); }
Re fraction() { return maybe(re::cat(re::literal("."), digits(1))); }
Re mantissa() {
  return re::cat(range('1', '9'), maybe(cats({re::literal("."), digits(0, kFraction - 1), range('1', '9')})));
}
Re without(Re all, Re some) { return re::both(all, re::negate(some)); }

// |B| as the digits before and after the point.
struct Parts {
  std::string whole, rest;
};
Parts parts(const Decimal& d) {
  if (d.point > kLongest || d.point < -kLongest) {
    throw GrammarError("the number " + spell(d) + " is too far from 1: bounds reach from 1e-20000 to 1e20000");
  }
  if (d.point <= 0) return {"0", std::string(static_cast<std::size_t>(-d.point), '0') + d.digits};
  const auto n = static_cast<std::size_t>(d.point);
  if (n >= d.digits.size()) return {d.digits + std::string(n - d.digits.size(), '0'), ""};
  return {d.digits.substr(0, n), d.digits.substr(n)};
}

// Unsigned plain decimals that are at least (`strict`: above) `b`; `wholes` = without a fraction.
Re plain_from(const Parts& b, bool strict, bool wholes = false) {
  const Re tail = wholes ? re::kEpsilon : fraction();
  Re same;  // what may follow when all digits of the whole part were equal
  if (wholes || (b.rest.empty() && !strict)) {
    same = strict ? re::kEmpty : tail;
  } else {
    same = strict ? cats({zeros(0), range('1', '9'), digits(0)}) : digits(0);
    for (std::size_t i = b.rest.size(); i-- > 0;) {
      const bool last = i + 1 == b.rest.size();
      const Re equal = last && !strict ? digits(0) : same;
      same = re::alt(re::cat(range(static_cast<char>(b.rest[i] + 1), '9'), digits(0)),
                     re::cat(re::literal({&b.rest[i], 1}), equal));
    }
    same = re::cat(re::literal("."), same);
  }
  const std::size_t n = b.whole.size();
  for (std::size_t i = n; i-- > 0;) {
    const auto left = static_cast<std::uint32_t>(n - 1 - i);
    same = re::alt(cats({range(static_cast<char>(b.whole[i] + 1), '9'), digits(left, left), tail}),
                   re::cat(re::literal({&b.whole[i], 1}), same));
  }
  return re::alt(same, cats({range('1', '9'), digits(static_cast<std::uint32_t>(n)), tail}));
}

Re exponent_from(std::int64_t k) {  // exponent texts with a value of at least k
  const Re plus = maybe(re::literal("+"));
  const auto wholes = [](std::int64_t n) {
    return n == 0 ? integers() : plain_from({std::to_string(n), ""}, false, true);
  };
  if (k > 0) return cats({plus, zeros(0), wholes(k)});
  return re::alt(re::cat(plus, digits(1)), cats({minus(), zeros(0), without(integers(), wholes(1 - k))}));
}
Re exponent_is(std::int64_t k) {
  if (k == 0) return re::cat(maybe(re::alt(re::literal("+"), minus())), zeros(1));
  return cats({k < 0 ? minus() : maybe(re::literal("+")), zeros(0), re::literal(std::to_string(k < 0 ? -k : k))});
}

// Exponents stay where the value is a finite double that is not 0: readers make infinity of 1e999.
Re scientific() {
  const Re exponent = re::cat(zeros(0, kFirstZeros), without(integers(), plain_from({"308", ""}, false, true)));
  const Re near =
      without(mantissa(), cats({digits(1, 1), re::literal("."), zeros(kLastZeros + 1, kLastZeros + 1), digits(0)}));
  const Re most =
      re::both(mantissa(), re::cat(re::literal("1"), maybe(cats({re::literal("."), range('0', '6'), digits(0)}))));
  return alts({cats({near, exponent_mark(), maybe(re::literal("+")), exponent}),
               cats({mantissa(), exponent_mark(), minus(), exponent}),
               cats({re::both(near, most), exponent_mark(), maybe(re::literal("+")), re::literal("308")})});
}

// Unsigned texts of at least / above |b| > 0.
Re from(const Decimal& b, bool strict) {
  const Re equal_exponent = re::both(mantissa(), plain_from({b.digits.substr(0, 1), b.digits.substr(1)}, strict));
  return alts({plain_from(parts(b), strict), cats({mantissa(), exponent_mark(), exponent_from(b.point)}),
               cats({equal_exponent, exponent_mark(), exponent_is(b.point - 1)})});
}

// What is made once in a generation.
struct Numbers {
  struct Known {
    Re texts;
    bool exact;
  };
  std::unordered_map<std::string, Known> all;  // the same bounds stand in many schemas
  Re unsigned_all = re::kEmpty, any = re::kEmpty, plain_or_scientific = re::kEmpty, beyond = re::kEmpty,
     integer = re::kEmpty;
};

template <class Make>
Re once(Re Numbers::* which, const Make& make) {
  Numbers& known = Generation::here().part<Numbers>();
  if (known.*which == re::kEmpty) known.*which = make();
  return known.*which;
}

Re unsigned_all() {
  return once(&Numbers::unsigned_all, [] {
    const Re ends = re::alt(zeros(1, kLastZeros), cats({digits(0), range('1', '9'), zeros(0, kLastZeros)}));
    return re::alt(re::cat(integers(), maybe(re::cat(re::literal("."), ends))), scientific());
  });
}
Re zero() { return re::cat(re::literal("0"), maybe(re::cat(re::literal("."), zeros(1)))); }
Re to(const Decimal& b, bool strict) { return without(unsigned_all(), from(b, !strict)); }

Re at_least(const Decimal& b, bool strict) {
  const Re all = unsigned_all();
  if (b.zero()) return strict ? without(all, zero()) : re::alt(all, re::cat(minus(), zero()));
  if (b.negative) return re::alt(all, re::cat(minus(), to(b, strict)));
  return from(b, strict);
}
Re at_most(const Decimal& b, bool strict) {
  const Re all = unsigned_all();
  if (b.zero()) return strict ? re::cat(minus(), without(all, zero())) : re::alt(re::cat(minus(), all), zero());
  if (b.negative) return re::cat(minus(), from(b, strict));
  return re::alt(re::cat(minus(), all), to(b, strict));
}

Re equal(const Decimal& v) {
  std::vector<Re> all;
  for (const Spelled& s : spelled(v)) all.push_back(re::cat(re::literal(s.word), s.rest));
  return re::alt(std::span<const Re>(all));
}

// Multiples of 10^q, q of any sign.
Re multiples_of_ten(std::int64_t q) {
  Re p;
  if (q < 0) {
    p = re::cat(integers(), maybe(cats({re::literal("."), digits(1, static_cast<std::uint32_t>(-q)), zeros(0)})));
  } else {
    const Re whole =
        q == 0 ? integers()
               : re::alt(re::literal("0"), cats({range('1', '9'), digits(0),
                                                 zeros(static_cast<std::uint32_t>(q), static_cast<std::uint32_t>(q))}));
    p = re::cat(whole, maybe(re::cat(re::literal("."), zeros(1))));
  }
  std::vector<Re> all{p, cats({range('1', '9'), exponent_mark(), exponent_from(q)})};
  for (int f = 1; f <= kFraction; ++f) {
    const auto n = static_cast<std::uint32_t>(f - 1);
    all.push_back(cats(
        {range('1', '9'), re::literal("."), digits(n, n), range('1', '9'), exponent_mark(), exponent_from(f + q)}));
  }
  return re::cat(maybe(minus()), re::alt(all));
}

}  // namespace

std::vector<Spelled> spelled(const Decimal& v) {
  const Re point = maybe(re::cat(re::literal("."), zeros(1)));
  if (v.zero()) return {{"0", point}, {"-0", point}};
  const std::string sign = v.negative ? "-" : "";
  const Parts p = parts(v);
  std::vector<Spelled> out;
  if (p.rest.empty()) out.push_back({sign + p.whole, point});
  else out.push_back({sign + p.whole + "." + p.rest, zeros(0)});
  if (static_cast<int>(v.digits.size()) - 1 <= kFraction) {
    const std::string fraction = v.digits.size() > 1 ? "." + v.digits.substr(1) : "";
    out.push_back({sign + v.digits.substr(0, 1) + fraction, re::cat(exponent_mark(), exponent_is(v.point - 1))});
  }
  return out;
}

Re number_any() {
  return once(&Numbers::any, [] {
    return re::alt(number_plain_or_scientific(), cats({maybe(minus()), integers(), fraction(), exponent_mark(),
                                                       maybe(re::alt(re::literal("+"), minus())), digits(1, 2)}));
  });
}

Re number_plain_or_scientific() {
  return once(&Numbers::plain_or_scientific, [] { return re::cat(maybe(minus()), unsigned_all()); });
}

Re number_ordinary(std::uint32_t whole, std::uint32_t fraction) {
  const Re before = re::alt(re::literal("0"), re::cat(range('1', '9'), digits(0, whole - 1)));
  return cats({maybe(minus()), before, maybe(re::cat(re::literal("."), digits(1, fraction)))});
}

Re number_digits() { return re::alt(re::literal("0"), cats({maybe(minus()), range('1', '9'), digits(0)})); }

Re number_beyond() {
  return once(&Numbers::beyond, [] { return without(number_any(), number_plain_or_scientific()); });
}

namespace {

Re made(const NumberAtom& a, bool& exact) {
  switch (a.op) {
    case Op::Ge: return at_least(a.value, false);
    case Op::Gt: return at_least(a.value, true);
    case Op::Le: return at_most(a.value, false);
    case Op::Lt: return at_most(a.value, true);
    case Op::Eq: return equal(a.value);
    case Op::Integer: return once(&Numbers::integer, [] { return multiples_of_ten(0); });
    case Op::Literal4: return re::cat(maybe(minus()), integers());
    case Op::Multiple: {
      const std::int64_t q = a.value.point - 1;
      if (a.value.digits == "1" && q > -1000 && q < 1000) return multiples_of_ten(q);
    }
  }
  exact = false;
  return number_plain_or_scientific();
}

}  // namespace

Re number_texts(const NumberAtom& a, bool& exact) {
  auto& all = Generation::here().part<Numbers>().all;
  const std::string key = static_cast<char>(a.op) + spell(a.value);
  auto at = all.find(key);
  if (at == all.end()) {
    Numbers::Known k{re::kEmpty, true};
    k.texts = made(a, k.exact);
    at = all.emplace(key, k).first;
  }
  exact &= at->second.exact;
  return at->second.texts;
}

bool holds(const NumberAtom& a, const Decimal& v, std::string_view text) {
  switch (a.op) {
    case Op::Ge: return compare(v, a.value) >= 0;
    case Op::Gt: return compare(v, a.value) > 0;
    case Op::Le: return compare(v, a.value) <= 0;
    case Op::Lt: return compare(v, a.value) < 0;
    case Op::Eq: return compare(v, a.value) == 0;
    case Op::Integer: return v.integer();
    case Op::Literal4: return text.find_first_of(".eE") == text.npos;
    case Op::Multiple: return multiple(v, a.value);
  }
  return false;
}

}  // namespace espalier::json
