// The parser, and the one spelling of a value.
#include "json/value.hpp"

#include "base/budget.hpp"
#include "base/stack.hpp"

#include <algorithm>

#include "regex/re.hpp"

namespace espalier::json {

namespace {

void utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 63));
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

bool hex4(std::string_view s, std::size_t at, std::uint32_t& out) {
  if (at + 4 > s.size()) return false;
  out = 0;
  for (std::size_t i = at; i < at + 4; ++i) {
    const char c = s[i];
    const int d = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'f' ? c - 'a' + 10
                  : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                         : -1;
    if (d < 0) return false;
    out = out << 4 | static_cast<std::uint32_t>(d);
  }
  return true;
}

// The escape after the backslash at s[i]; i moves past it.
bool escape(std::string_view s, std::size_t& i, std::string& out) {
  if (i + 1 >= s.size()) return false;
  const char c = s[i + 1];
  i += 2;
  static constexpr std::string_view from = "\"\\/bfnrt", to = "\"\\/\b\f\n\r\t";
  if (const auto at = from.find(c); at != from.npos) {
    out += to[at];
    return true;
  }
  std::uint32_t hi = 0, lo = 0;
  if (c != 'u' || !hex4(s, i, hi)) return false;
  i += 4;
  if (hi >= 0xd800 && hi < 0xdc00 && i + 6 <= s.size() && s[i] == '\\' && s[i + 1] == 'u' && hex4(s, i + 2, lo) &&
      lo >= 0xdc00 && lo < 0xe000) {
    hi = 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
    i += 6;
  }
  utf8(out, hi);  // a lone surrogate is kept as its three bytes, which no document can contain
  return true;
}

}  // namespace

bool unquote(std::string_view& rest, std::string& out) {
  std::size_t i = 1;
  while (i < rest.size() && rest[i] != '"') {
    if (rest[i] == '\\') {
      if (!escape(rest, i, out)) return false;
    } else {
      if (static_cast<unsigned char>(rest[i]) < 0x20) return false;
      out += rest[i++];
    }
  }
  if (i >= rest.size()) return false;
  rest.remove_prefix(i + 1);
  return true;
}

const Value* Value::get(std::string_view name) const {
  if (members.size() <= 12) {
    for (auto m = members.rbegin(); m != members.rend(); ++m) {
      if (m->first == name) return m->second;
    }
    return nullptr;
  }
  if (!index_) {
    index_ = std::make_unique<std::unordered_map<std::string_view, const Value*>>();
    for (const auto& [k, v] : members) (*index_)[k] = v;
  }
  const auto found = index_->find(name);
  return found == index_->end() ? nullptr : found->second;
}

class Parser {
 public:
  Parser(Document& d, const std::string& what) : d_(d), s_(d.text_), what_(what) {}

  const Value* all() {
    const Value* v = value(0);
    blanks();
    if (i_ < s_.size()) fail("something follows the end of the JSON text");
    return v;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    const auto line =
        1 + std::count(s_.begin(), s_.begin() + static_cast<std::ptrdiff_t>(std::min(i_, s_.size())), '\n');
    throw GrammarError(what_ + " is not JSON: " + why + " (line " + std::to_string(line) + ", byte " +
                       std::to_string(i_) + ")");
  }
  void blanks() {
    while (i_ < s_.size() && (s_[i_] == ' ' || s_[i_] == '\n' || s_[i_] == '\t' || s_[i_] == '\r')) ++i_;
  }
  bool word(std::string_view w) {
    if (s_.substr(i_, w.size()) != w) return false;
    i_ += w.size();
    return true;
  }
  char peek() {
    blanks();
    if (i_ >= s_.size()) fail("it ends too early");
    return s_[i_];
  }
  std::string_view string() {
    const std::size_t begin = i_ + 1;
    const std::size_t end = s_.find_first_of("\"\\", begin);
    std::string_view rest = s_.substr(i_);
    if (end != s_.npos && s_[end] == '"') {
      for (std::size_t i = begin; i < end; ++i) {
        if (static_cast<unsigned char>(s_[i]) < 0x20)
          fail("a control character stands in a string; write it as an escape");
      }
      i_ = end + 1;
      return s_.substr(begin, end - begin);
    }
    std::string& out = d_.strings_.emplace_back();
    if (!unquote(rest, out)) fail("a string is not closed, or has a bad escape");
    i_ = s_.size() - rest.size();
    return out;
  }
  std::string_view number() {
    const std::size_t begin = i_;
    auto digits = [&] {
      const std::size_t from = i_;
      while (i_ < s_.size() && s_[i_] >= '0' && s_[i_] <= '9') ++i_;
      if (i_ == from)
        fail("a number, string, object, array, true, false or null was expected (NaN and Infinity are not JSON)");
      return i_ - from;
    };
    if (s_[i_] == '-') ++i_;
    const bool zero = i_ < s_.size() && s_[i_] == '0';
    if (digits() > 1 && zero) fail("a number may not begin with 0");
    if (i_ < s_.size() && s_[i_] == '.') ++i_, digits();
    if (i_ < s_.size() && (s_[i_] == 'e' || s_[i_] == 'E')) {
      if (++i_ < s_.size() && (s_[i_] == '+' || s_[i_] == '-')) ++i_;
      digits();
    }
    return s_.substr(begin, i_ - begin);
  }
  const Value* value(std::size_t depth) {
    Budget::tick();
    need_stack();
    if (depth > kDeepest) fail("it is nested deeper than " + std::to_string(kDeepest) + " levels");
    Value& v = d_.values_.emplace_back();
    switch (peek()) {
      case '{':
        v.kind = Kind::Object;
        object(v, depth);
        break;
      case '[':
        v.kind = Kind::Array;
        array(v, depth);
        break;
      case '"':
        v.kind = Kind::String;
        v.text = string();
        break;
      case 'n':
        if (!word("null")) fail("null was expected");
        break;
      case 't':
        v.kind = Kind::True;
        if (!word("true")) fail("true was expected");
        break;
      case 'f':
        v.kind = Kind::False;
        if (!word("false")) fail("false was expected");
        break;
      default: v.kind = Kind::Number; v.text = number();
    }
    return &v;
  }
  void array(Value& v, std::size_t depth) {
    ++i_;
    if (peek() == ']') return void(++i_);
    for (;;) {
      v.items.push_back(value(depth + 1));
      if (peek() == ']') return void(++i_);
      if (s_[i_] != ',') fail("',' or ']' was expected");
      ++i_;
    }
  }
  void object(Value& v, std::size_t depth) {
    ++i_;
    if (peek() == '}') return void(++i_);
    for (;;) {
      if (peek() != '"') fail("the name of a member was expected");
      const std::string_view name = string();
      if (!name.empty() && (name[0] == '$' || name == "id" || name.starts_with("pattern"))) watch(name);
      if (peek() != ':') fail("':' was expected");
      ++i_;
      v.members.emplace_back(name, value(depth + 1));
      if (peek() == '}') return void(++i_);
      if (s_[i_] != ',') fail("',' or '}' was expected");
      ++i_;
    }
  }
  void watch(std::string_view name) {
    if (std::find(d_.watched_.begin(), d_.watched_.end(), name) == d_.watched_.end() && d_.watched_.size() < 64)
      d_.watched_.push_back(name);
  }

  Document& d_;
  std::string_view s_;
  const std::string& what_;
  std::size_t i_ = 0;
};

Document::Document(std::string text, std::string what) : text_(std::move(text)) { root_ = Parser(*this, what).all(); }

bool Document::named(std::string_view name) const {
  return watched_.size() >= 64 || std::find(watched_.begin(), watched_.end(), name) != watched_.end();
}

std::string Document::pointer(const Value* wanted) const {
  std::vector<std::pair<const Value*, std::string>> todo{{root_, "#"}};
  while (!todo.empty()) {
    const auto [v, path] = std::move(todo.back());
    todo.pop_back();
    if (v == wanted) return path;
    for (std::size_t i = 0; i < v->items.size(); ++i) todo.emplace_back(v->items[i], path + "/" + std::to_string(i));
    for (const auto& [k, m] : v->members) {
      std::string step;
      for (const char c : k) step += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
      todo.emplace_back(m, path + "/" + step);
    }
  }
  return "";
}

}  // namespace espalier::json
