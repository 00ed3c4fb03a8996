// Sets of code points from the generated tables.
#include "base/unicode.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace espalier::unicode {

namespace {

constexpr std::pair<const char*, const char*> kLongNames[] = {{"letter", "L"},
                                                              {"casedletter", "LC"},
                                                              {"uppercaseletter", "Lu"},
                                                              {"lowercaseletter", "Ll"},
                                                              {"titlecaseletter", "Lt"},
                                                              {"modifierletter", "Lm"},
                                                              {"otherletter", "Lo"},
                                                              {"mark", "M"},
                                                              {"combiningmark", "M"},
                                                              {"nonspacingmark", "Mn"},
                                                              {"spacingmark", "Mc"},
                                                              {"enclosingmark", "Me"},
                                                              {"number", "N"},
                                                              {"decimalnumber", "Nd"},
                                                              {"digit", "Nd"},
                                                              {"letternumber", "Nl"},
                                                              {"othernumber", "No"},
                                                              {"punctuation", "P"},
                                                              {"punct", "P"},
                                                              {"connectorpunctuation", "Pc"},
                                                              {"dashpunctuation", "Pd"},
                                                              {"openpunctuation", "Ps"},
                                                              {"closepunctuation", "Pe"},
                                                              {"initialpunctuation", "Pi"},
                                                              {"finalpunctuation", "Pf"},
                                                              {"otherpunctuation", "Po"},
                                                              {"symbol", "S"},
                                                              {"mathsymbol", "Sm"},
                                                              {"currencysymbol", "Sc"},
                                                              {"modifiersymbol", "Sk"},
                                                              {"othersymbol", "So"},
                                                              {"separator", "Z"},
                                                              {"spaceseparator", "Zs"},
                                                              {"lineseparator", "Zl"},
                                                              {"paragraphseparator", "Zp"},
                                                              {"other", "C"},
                                                              {"control", "Cc"},
                                                              {"cntrl", "Cc"},
                                                              {"format", "Cf"},
                                                              {"surrogate", "Cs"},
                                                              {"privateuse", "Co"},
                                                              {"unassigned", "Cn"},
                                                              {"alpha", "Alphabetic"},
                                                              {"upper", "Uppercase"},
                                                              {"lower", "Lowercase"},
                                                              {"space", "White_Space"},
                                                              {"whitespace", "White_Space"}};
constexpr std::pair<const char*, const char*> kShortScripts[] = {
    {"arab", "Arabic"},   {"armn", "Armenian"}, {"beng", "Bengali"},  {"cyrl", "Cyrillic"},  {"deva", "Devanagari"},
    {"geor", "Georgian"}, {"grek", "Greek"},    {"gujr", "Gujarati"}, {"guru", "Gurmukhi"},  {"hang", "Hangul"},
    {"hani", "Han"},      {"hebr", "Hebrew"},   {"hira", "Hiragana"}, {"kana", "Katakana"},  {"khmr", "Khmer"},
    {"knda", "Kannada"},  {"laoo", "Lao"},      {"latn", "Latin"},    {"mlym", "Malayalam"}, {"mong", "Mongolian"},
    {"mymr", "Myanmar"},  {"sinh", "Sinhala"},  {"taml", "Tamil"},    {"telu", "Telugu"},    {"thai", "Thai"},
    {"tibt", "Tibetan"},  {"zyyy", "Common"},   {"zinh", "Inherited"}};

std::string loose(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c != '_' && c != ' ' && c != '-') out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  }
  return out;
}

Ranges decode(const char* text) {
  static constexpr char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-";
  const auto number = [&] {
    int length = *text == '.' ? 2 : *text == ':' ? 3 : *text == '!' ? 4 : 1;
    if (length > 1) ++text;
    std::uint32_t n = 0;
    for (; length > 0; --length) n = n << 6 | static_cast<std::uint32_t>(std::strchr(digits, *text++) - digits);
    return n;
  };
  Ranges out;
  std::uint32_t at = 0;
  while (*text) {
    const std::uint32_t lo = at + number(), hi = lo + number();
    out.push_back({lo, hi});
    at = hi + 1;
  }
  return out;
}

void add(const Table* table, const std::string& name, bool prefix, Ranges& out) {
  for (; table->name; ++table) {
    const std::string have = loose(table->name);
    if (have != name && !(prefix && name.size() == 1 && have[0] == name[0])) continue;
    const Ranges more = decode(table->ranges);
    out.insert(out.end(), more.begin(), more.end());
  }
}

Ranges find(const std::string& key, const std::string& value) {
  Ranges out;
  if (key.empty() || key == "gc" || key == "generalcategory" || key == "category") {
    std::string name = value;
    for (const auto& [from, to] : kLongNames) {
      if (name == from) name = loose(to);
    }
    if (name == "lc") {
      for (const char* part : {"lu", "ll", "lt"}) add(categories, part, false, out);
    } else {
      add(categories, name, true, out);
    }
    if (key.empty() && out.empty()) add(binary, name, false, out);
  }
  if (out.empty() && (key.empty() || key == "sc" || key == "script" || key == "scx" || key == "scriptextensions")) {
    std::string name = value;
    for (const auto& [from, to] : kShortScripts) {
      if (name == from) name = loose(to);
    }
    add(scripts, name, false, out);
  }
  if (key.empty() && value == "any") return {{0, 0x10ffff}};
  if (key.empty() && value == "ascii") return {{0, 0x7f}};
  if (key.empty() && value == "assigned")
    return complement(decode(std::find_if(categories, categories + 30, [](const Table& t) {
                               return t.name == std::string_view("Cn");
                             })->ranges));
  return joined(std::move(out));
}

}  // namespace

Ranges joined(Ranges v) {
  std::sort(v.begin(), v.end());
  Ranges out;
  for (const auto& [lo, hi] : v) {
    if (!out.empty() && lo <= out.back().second + 1) out.back().second = std::max(out.back().second, hi);
    else out.push_back({lo, hi});
  }
  return out;
}

Ranges complement(const Ranges& v) {
  Ranges with = v, out;
  with.push_back({0xd800, 0xdfff});
  std::uint32_t at = 0;
  for (const auto& [lo, hi] : joined(std::move(with))) {
    if (lo > at) out.push_back({at, lo - 1});
    at = hi + 1;
  }
  if (at <= 0x10ffff) out.push_back({at, 0x10ffff});
  return out;
}

std::optional<Ranges> property(std::string_view name) {
  static std::mutex* lock = new std::mutex;  // protects `known`: all generations share it
  const std::lock_guard<std::mutex> guard(*lock);
  static std::map<std::string, Ranges, std::less<>>* known = new std::map<std::string, Ranges, std::less<>>;
  if (const auto at = known->find(name); at != known->end()) return at->second;
  const std::size_t sign = name.find('=');
  Ranges found = sign == std::string_view::npos ? find("", loose(name))
                                                : find(loose(name.substr(0, sign)), loose(name.substr(sign + 1)));
  if (found.empty()) return std::nullopt;
  return known->emplace(std::string(name), std::move(found)).first->second;
}

Ranges ignore_case(const Ranges& v) {
  Ranges out = v;
  for (const auto& [lo, hi] : v) {
    for (const Fold* f = folds; f->lo >= 0; ++f) {
      if (static_cast<std::uint32_t>(f->hi) < lo || static_cast<std::uint32_t>(f->lo) > hi) continue;
      const auto from = std::max<std::int64_t>(lo, f->lo), to = std::min<std::int64_t>(hi, f->hi);
      for (std::int64_t c = f->lo + (from - f->lo + f->stride - 1) / f->stride * f->stride; c <= to; c += f->stride) {
        out.push_back({static_cast<std::uint32_t>(c + f->delta), static_cast<std::uint32_t>(c + f->delta)});
      }
    }
  }
  return joined(std::move(out));
}

}  // namespace espalier::unicode
