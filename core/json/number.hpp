// Numbers as expressions: each numeric keyword is the set of number texts whose exact decimal value it admits.
#pragma once
#include <string>
#include <vector>

#include "json/value.hpp"
#include "regex/re.hpp"

namespace espalier::json {

enum class Op : std::uint8_t {
  Ge,
  Gt,
  Le,
  Lt,
  Eq,
  Integer,
  Literal4,
  Multiple
};  // Literal4: draft 4's integer, which has no ".0"

struct NumberAtom {
  Op op;
  Decimal value;
  bool operator==(const NumberAtom&) const = default;
};

bool holds(const NumberAtom&, const Decimal&, std::string_view text);

// Texts of numbers that carry no constraint: all that JSON allows.
Re number_any();
// Texts of constrained numbers: plain decimals of any length with few zeros at the end of the fraction, and d.ddde±x
// with one digit before the point, no zero at the end of the fraction, at most 20 of its digits, few zeros before x,
// and few zeros that lead its fraction before e+x. Every number has such a text.
Re number_plain_or_scientific();
// Texts of the former that are none of the latter.
Re number_beyond();
// Ordinary decimals of at most so many digits before and after the point; of integers only the digits.
Re number_ordinary(std::uint32_t whole, std::uint32_t fraction);
Re number_digits();
// All those texts of one number: words, and what may follow each.
struct Spelled {
  std::string word;
  Re rest;
};
std::vector<Spelled> spelled(const Decimal&);
// The texts (among those) whose value the atom admits; `exact` becomes false if only an upper bound was given.
Re number_texts(const NumberAtom&, bool& exact);

}  // namespace espalier::json
