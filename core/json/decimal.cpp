// Exact decimal numbers, and one spelling per JSON value.
#include <algorithm>
#include <map>

#include "json/value.hpp"
#include "regex/re.hpp"

namespace espalier::json {

namespace {
constexpr std::int64_t kFar = 1'000'000'000'000;  // exponents are clamped here: no text is that long
}

Decimal decimal(std::string_view text) {
  Decimal d;
  std::size_t i = 0;
  if (i < text.size() && text[i] == '-') d.negative = true, ++i;
  std::int64_t point = 0;
  bool fraction = false;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') {
      fraction = true;
    } else {
      d.digits += text[i];
      point += !fraction;
    }
  }
  std::int64_t exponent = 0;
  if (i < text.size()) {
    ++i;
    const bool minus = i < text.size() && text[i] == '-';
    i += i < text.size() && (text[i] == '-' || text[i] == '+');
    for (; i < text.size(); ++i) exponent = std::min(exponent * 10 + (text[i] - '0'), kFar);
    if (minus) exponent = -exponent;
  }
  const std::size_t lead = std::min(d.digits.find_first_not_of('0'), d.digits.size());
  d.digits.erase(0, lead);
  d.digits.erase(d.digits.find_last_not_of('0') + 1);
  if (d.digits.empty()) return Decimal{};
  d.point = point - static_cast<std::int64_t>(lead) + exponent;
  return d;
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  const int sign = a.negative ? -1 : 1;
  if (a.zero() || b.zero()) return a.zero() && b.zero() ? 0 : a.zero() ? -(b.negative ? -1 : 1) : sign;
  if (a.point != b.point) return a.point < b.point ? -sign : sign;
  const int order = a.digits.compare(b.digits);
  return order == 0 ? 0 : order < 0 ? -sign : sign;
}

namespace {

// Long division of digit strings: is N · 10^zeros a multiple of D?
bool divides(const std::string& n, std::int64_t zeros, const std::string& d) {
  if (d.size() <= 18) {
    const unsigned __int128 m = std::stoull(d);
    unsigned __int128 r = 0;
    for (const char c : n) r = (r * 10 + static_cast<unsigned>(c - '0')) % m;
    for (std::int64_t i = 0; i < zeros && r != 0 && i < 70; ++i)
      r = r * 10 % m;  // 10^63 holds every power of 2 and 5 below 2^63
    return r == 0;
  }
  std::string r;  // remainder, as digits
  auto less = [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  };
  auto push = [&](char c) {
    if (!r.empty() || c != '0') r += c;
    while (!less(r, d)) {
      int borrow = 0;
      for (std::size_t i = 0; i < r.size(); ++i) {
        const std::size_t at = r.size() - 1 - i;
        int x = r[at] - '0' - borrow - (i < d.size() ? d[d.size() - 1 - i] - '0' : 0);
        borrow = x < 0;
        r[at] = static_cast<char>('0' + x + 10 * borrow);
      }
      r.erase(0, std::min(r.find_first_not_of('0'), r.size()));
    }
  };
  for (const char c : n) push(c);
  for (std::int64_t i = 0; i < zeros && !r.empty() && i < static_cast<std::int64_t>(4 * d.size() + 8); ++i) push('0');
  return r.empty();
}

}  // namespace

bool multiple(const Decimal& value, const Decimal& of) {
  if (value.zero()) return true;
  // value = N · 10^a, of = D · 10^b with N and D not divisible by ten
  const std::int64_t a = value.point - static_cast<std::int64_t>(value.digits.size());
  const std::int64_t b = of.point - static_cast<std::int64_t>(of.digits.size());
  if (a >= b) return divides(value.digits, a - b, of.digits);
  return b - a < 100'000 && divides(value.digits, 0, of.digits + std::string(static_cast<std::size_t>(b - a), '0'));
}

std::string spell(const Decimal& d) {
  if (d.zero()) return "0";
  return (d.negative ? "-" : "") + d.digits + "e" +
         std::to_string(d.point - static_cast<std::int64_t>(d.digits.size()));
}

std::string quote(std::string_view decoded) {
  std::string out = "\"";
  for (const char c : decoded) {
    static constexpr std::string_view from = "\"\\\b\f\n\r\t", to = "\"\\bfnrt";
    if (const auto at = from.find(c); at != from.npos) {
      (out += '\\') += to[at];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      static constexpr char hex[] = "0123456789abcdef";
      ((out += "\\u00") += hex[static_cast<unsigned char>(c) >> 4]) += hex[c & 15];
    } else {
      out += c;
    }
  }
  return out += '"';
}

std::string canonical(const Value& v) {
  switch (v.kind) {
    case Kind::Null: return "null";
    case Kind::False: return "false";
    case Kind::True: return "true";
    case Kind::Number: return spell(decimal(v.text));
    case Kind::String: return quote(v.text);
    case Kind::Array: break;
    case Kind::Object: {
      std::map<std::string_view, const Value*> sorted;
      for (const auto& [k, m] : v.members) sorted[k] = m;
      std::string out = "{";
      for (const auto& [k, m] : sorted) out += (out.size() > 1 ? "," : "") + quote(k) + ":" + canonical(*m);
      return out += '}';
    }
  }
  std::string out = "[";
  for (const Value* item : v.items) out += (out.size() > 1 ? "," : "") + canonical(*item);
  return out += ']';
}

std::string canonical(std::string_view json) { return canonical(*Document(std::string(json), "the value").root()); }

}  // namespace espalier::json
