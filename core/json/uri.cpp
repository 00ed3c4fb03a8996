// References against a base: RFC 3986, section 5.2.
#include "json/schema.hpp"

namespace espalier::json {

namespace {

struct Uri {
  std::string scheme, authority, path, query, fragment;
  bool has_scheme = false, has_authority = false, has_query = false, has_fragment = false;
};

Uri split(std::string_view s) {
  Uri u;
  if (const auto at = s.find('#'); at != s.npos) {
    u.fragment = s.substr(at + 1), u.has_fragment = true, s = s.substr(0, at);
  }
  if (const auto at = s.find('?'); at != s.npos) {
    u.query = s.substr(at + 1), u.has_query = true, s = s.substr(0, at);
  }
  if (const auto at = s.find_first_of(":/"); at != s.npos && at > 0 && s[at] == ':') {
    u.scheme = s.substr(0, at), u.has_scheme = true, s = s.substr(at + 1);
  }
  if (s.substr(0, 2) == "//") {
    const auto at = s.find('/', 2);
    u.authority = s.substr(2, at == s.npos ? s.npos : at - 2), u.has_authority = true;
    s = at == s.npos ? std::string_view() : s.substr(at);
  }
  u.path = s;
  return u;
}

std::string without_dots(std::string_view path) {
  std::vector<std::string> out;
  const bool rooted = !path.empty() && path[0] == '/';
  bool open = false;  // ends in a directory
  std::size_t i = rooted ? 1 : 0;
  while (i <= path.size()) {
    const auto end = std::min(path.find('/', i), path.size());
    const std::string part(path.substr(i, end - i));
    open = part == "." || part == ".." || (part.empty() && end == path.size());
    if (part == "..") {
      if (!out.empty()) out.pop_back();
    } else if (part != "." && !(part.empty() && end == path.size())) {
      out.push_back(part);
    }
    i = end + 1;
  }
  std::string text = rooted ? "/" : "";
  for (std::size_t k = 0; k < out.size(); ++k) text += (k ? "/" : "") + out[k];
  return open && !out.empty() ? text + "/" : text;
}

}  // namespace

std::string resolve_uri(std::string_view base_text, std::string_view reference) {
  Uri r = split(reference);
  const Uri base = split(base_text);
  if (!r.has_scheme) {
    r.scheme = base.scheme, r.has_scheme = base.has_scheme;
    if (!r.has_authority) {
      r.authority = base.authority, r.has_authority = base.has_authority;
      if (r.path.empty()) {
        r.path = base.path;
        if (!r.has_query) r.query = base.query, r.has_query = base.has_query;
      } else if (r.path[0] != '/') {
        const auto at = base.path.rfind('/');
        r.path = (base.has_authority && base.path.empty() ? "/"
                  : at == base.path.npos                  ? ""
                                                          : base.path.substr(0, at + 1)) +
                 r.path;
      }
    }
  }
  std::string out = r.has_scheme ? r.scheme + ":" : "";
  if (r.has_authority) out += "//" + r.authority;
  out += r.path.find("/.") != r.path.npos || r.path.substr(0, 1) == "." ? without_dots(r.path) : r.path;
  if (r.has_query) out += "?" + r.query;
  if (r.has_fragment) out += "#" + r.fragment;
  return out;
}

}  // namespace espalier::json
