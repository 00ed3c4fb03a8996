// The formats that are asserted, as expressions over the decoded string.
#include <map>

#include "base/generation.hpp"
#include "json/expand/spelling.hpp"

namespace espalier::json {

namespace {

using Text = std::string;

Text group(const Text& s) { return "(?:" + s + ")"; }

Text date() {
  const Text year = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])";
  const Text leap = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)";
  return group(year +
               "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1["
               "0-9]|2[0-8]))|" +
               leap + "-02-29");
}
// A second 60 stands where it is 23:59 in UTC: for each offset at one time of the day.
Text leap_second() {
  const auto two = [](int n) { return std::string(n < 10 ? "0" : "") + std::to_string(n); };
  const auto clock = [&](int minutes) { return two(minutes / 60) + ":" + two(minutes % 60); };
  constexpr int kDay = 24 * 60, kLast = kDay - 1;  // minutes; the last one of a day has the second 60
  Text all = "23:59:60(?:\\.[0-9]+)?[Zz]";
  for (int hour = 0; hour < 24; ++hour) {
    all += "|" + two(hour) + ":(?:";
    for (int minute = 0; minute < 60; ++minute) {
      const int local = 60 * hour + minute;
      if (minute) all += '|';
      all += two(minute) + ":60(?:\\.[0-9]+)?(?:\\+" + clock((local - kLast + kDay) % kDay) + "|-" +
             clock((kLast - local) % kDay) + ")";
    }
    all += ")";
  }
  return group(all);
}
Text time() {
  const Text zone = "(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])";
  return group("(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?" + zone + "|" + leap_second());
}
Text duration() {
  const Text clock = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)";
  const Text days = "(?:[0-9]+D|[0-9]+M(?:[0-9]+D)?|[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?)";
  return "P(?:" + days + "(?:" + clock + ")?|" + clock + "|[0-9]+W)";
}
Text ipv4() {
  const Text octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  return group("(?:" + octet + "\\.){3}" + octet);
}
Text ipv6() {
  const Text h = "[0-9A-Fa-f]{1,4}", last = group(h + ":" + h + "|" + ipv4());
  Text all = "(?:" + h + ":){6}" + last;
  all += "|::(?:" + h + ":){5}" + last;
  all += "|(?:" + h + ")?::(?:" + h + ":){4}" + last;
  for (int n = 1; n <= 3; ++n)
    all += "|(?:(?:" + h + ":){0," + std::to_string(n) + "}" + h + ")?::(?:" + h + ":){" + std::to_string(4 - n) + "}" +
           last;
  all += "|(?:(?:" + h + ":){0,4}" + h + ")?::" + last;
  all += "|(?:(?:" + h + ":){0,5}" + h + ")?::" + h;
  return group(all + "|(?:(?:" + h + ":){0,6}" + h + ")?::");
}
Text hostname(const Text& letter) {
  const Text label = "[" + letter + "](?:[" + letter + "-]{0,61}[" + letter + "])?";
  return group(label + "(?:\\." + label + ")*");
}

const Text kLatin = "A-Za-z0-9";
const Text kWide = "A-Za-z0-9\\u{A0}-\\u{10FFFF}";  // approximated: any character beyond ASCII
const Text kAny = "\\u{80}-\\u{10FFFF}";

// RFC 3987: characters of addresses beyond ASCII, and those of queries only.
Text ucs() {
  static constexpr char hex[] = "123456789ABCDE";
  Text all = "\\u{A0}-\\u{D7FF}\\u{F900}-\\u{FDCF}\\u{FDF0}-\\u{FFEF}";
  for (const char plane : std::string_view(hex))
    all += std::string("\\u{") + plane + (plane == 'E' ? "1000}-\\u{" : "0000}-\\u{") + plane + "FFFD}";
  return all;
}
const Text kPrivate = "\\u{E000}-\\u{F8FF}\\u{F0000}-\\u{FFFFD}\\u{100000}-\\u{10FFFD}";

// RFC 3986: `letter` is what counts as unreserved, `asked` what queries may hold beyond that.
struct Address {
  Text pct = "%[0-9A-Fa-f]{2}", plain, sub = "!$&'()*+,;=", pchar, query, tail;
  explicit Address(const Text& letter, const Text& asked = "") : plain(letter + "._~-") {
    pchar = "(?:[:@" + sub + plain + "]|" + pct + ")";
    query = "(?:[:@/?" + sub + plain + "]|" + pct + ")*";
    tail = "(?:\\?(?:[:@/?" + sub + plain + asked + "]|" + pct + ")*)?(?:#" + query + ")?";
  }
  Text authority() const {
    const Text user = "(?:(?:[:" + sub + plain + "]|" + pct + ")*@)?";
    const Text host = "(?:\\[(?:" + ipv6() + "|[vV][0-9A-Fa-f]+\\.[:" + sub + plain + "]+)\\]|(?:[" + sub + plain +
                      "]|" + pct + ")*)";
    return "//" + user + host + "(?::[0-9]*)?(?:/" + pchar + "*)*";
  }
  Text absolute() const { return "/(?:" + pchar + "+(?:/" + pchar + "*)*)?"; }
  Text full() const {
    return "[A-Za-z][A-Za-z0-9+.-]*:(?:" + authority() + "|" + absolute() + "|" + pchar + "+(?:/" + pchar + "*)*|)" +
           tail;
  }
  Text reference() const {
    const Text first = "(?:[@" + sub + plain + "]|" + pct + ")+";
    return full() + "|(?:" + authority() + "|" + absolute() + "|" + first + "(?:/" + pchar + "*)*|)" + tail;
  }
};

Text email(const Text& letter, const Text& beyond = "") {  // beyond: characters that a local part may also hold
  const Text atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~" + beyond + "-]+";
  const Text quoted = "\"(?:[ !#-\\[\\]-~" + beyond + "]|\\\\[ -~])*\"";
  return "(?:" + atom + "(?:\\." + atom + ")*|" + quoted + ")@(?:" + hostname(letter) + "|\\[" + ipv4() +
         "\\]|\\[IPv6:" + ipv6() + "\\])";
}

Text uri_template() {
  const Text name =
      "(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})+(?:\\.(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})+)*(?::[1-9][0-9]{0,3}|\\*)?";
  return "(?:[^\\u{0}- \"%<>\\\\^`{|}\\u{7f}]|%[0-9A-Fa-f]{2}|\\{[+#./;?&=,!@|]?" + name + "(?:," + name + ")*\\})*";
}

// Approximated: brackets, classes and escapes are well-formed, at most two groups deep; quantifiers stand after
// something.
Text regex() {
  const Text escaped =
      "\\\\(?:[^A-Za-z]|[bBdDfnrsStvwW]|c[A-Za-z]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|u\\{[0-9A-Fa-f]{1,6}\\}|[pP]\\{[A-Za-"
      "z_=]+\\}|k<[A-Za-z_]+>)";
  const Text set = "\\[\\^?\\]?(?:[^\\]\\\\]|" + escaped + ")*\\]";
  const Text count = "(?:(?:[*+?]|\\{[0-9]+(?:,[0-9]*)?\\})[?+]?)?";
  Text body = "(?:(?:[^()\\[\\]\\\\*+?]|" + escaped + "|" + set + ")" + count + ")*";
  for (int depth = 0; depth < 2; ++depth) {
    body = "(?:(?:[^()\\[\\]\\\\*+?]|" + escaped + "|" + set + "|\\((?:\\?(?:[:=!]|<[=!]|<[A-Za-z_]+>))?" + body +
           "\\))" + count + ")*";
  }
  return body;
}

const std::map<Text, Text (*)(), std::less<>>& table() {
  static const std::map<Text, Text (*)(), std::less<>> all{
      {"date", date},
      {"time", time},
      {"date-time", [] { return date() + "[Tt]" + time(); }},
      {"duration", duration},
      {"ipv4", ipv4},
      {"ip-address", ipv4},
      {"ipv6", ipv6},
      {"hostname", [] { return hostname(kLatin); }},
      {"host-name", [] { return hostname(kLatin); }},
      {"idn-hostname", [] { return hostname(kWide); }},
      {"email", [] { return email(kLatin); }},
      {"idn-email", [] { return email(kWide, kAny); }},
      {"uuid", [] { return Text("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"); }},
      {"uri", [] { return Address(kLatin).full(); }},
      {"uri-reference", [] { return Address(kLatin).reference(); }},
      {"iri", [] { return Address(kLatin + ucs(), kPrivate).full(); }},
      {"iri-reference", [] { return Address(kLatin + ucs(), kPrivate).reference(); }},
      {"uri-template", uri_template},
      {"json-pointer", [] { return Text("(?:/(?:[^/~]|~[01])*)*"); }},
      {"relative-json-pointer", [] { return Text("(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^/~]|~[01])*)*)"); }},
      {"regex", regex},
  };
  return all;
}

}  // namespace

namespace {
struct Formats {  // of a generation
  std::map<Text, Re, std::less<>> known;
};
}  // namespace

Re format_texts(std::string_view name, bool& exact) {
  auto& known = Generation::here().part<Formats>().known;
  if (const auto at = known.find(name); at != known.end()) return at->second;
  const auto at = table().find(name);
  if (at == table().end()) return re::kEmpty;
  exact = name != "regex" && !name.starts_with("idn-");
  Re r = re::both(re::text(), re::parse("^(?:" + at->second() + ")$", true));
  if (name == "hostname" || name == "host-name") r = re::both(r, re::repeat(re::codepoint(), 0, 253));
  return known.emplace(name, r).first->second;
}

}  // namespace espalier::json
