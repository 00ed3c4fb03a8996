// JSON documents as values: a strict parser (RFC 8259, no NaN), exact decimal numbers, and one spelling per value.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace espalier::json {

// neg · 0.d1d2d3… · 10^point, without leading or trailing zeros in `digits`; zero has no digits.
struct Decimal {
  bool negative = false;
  std::string digits;
  std::int64_t point = 0;
  bool zero() const { return digits.empty(); }
  bool integer() const { return zero() || point >= static_cast<std::int64_t>(digits.size()); }
  bool operator==(const Decimal&) const = default;
};
Decimal decimal(std::string_view text);                  // of a JSON number
int compare(const Decimal&, const Decimal&);             // -1, 0, 1
bool multiple(const Decimal& value, const Decimal& of);  // value / of is an integer (of > 0)
std::string spell(const Decimal&);                       // one spelling per value

enum class Kind : std::uint8_t { Null, False, True, Number, String, Array, Object };

struct Value {
  Kind kind = Kind::Null;
  std::string_view text;                                           // String: decoded. Number: as written
  std::vector<const Value*> items;                                 // Array
  std::vector<std::pair<std::string_view, const Value*>> members;  // Object, in order; of equal names the last counts
  const Value* get(std::string_view name) const;                   // nullptr if absent
  bool is(Kind k) const { return kind == k; }
  bool boolean() const { return kind == Kind::True || kind == Kind::False; }

 private:
  mutable std::unique_ptr<std::unordered_map<std::string_view, const Value*>> index_;
};

// Owns the text and the values of one document.
class Document {
 public:
  explicit Document(std::string text,
                    std::string what = "the schema");  // throws GrammarError: what is wrong, and where
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;
  const Value* root() const { return root_; }
  bool named(std::string_view name) const;  // some object has a member of this name: one of the few names watched for
  std::string pointer(const Value*) const;  // "#/properties/a"; "" if the value is not of this document

 private:
  friend class Parser;
  std::string text_;
  std::deque<std::string> strings_;
  std::deque<Value> values_;
  std::vector<std::string_view> watched_;
  const Value* root_ = nullptr;
};

// Equal values (JSON Schema's equality: 1 = 1.0, members in any order) have equal canonical texts.
std::string canonical(const Value&);
std::string canonical(std::string_view json);            // of the text of one value
std::string quote(std::string_view decoded);             // the canonical spelling as a JSON string
bool unquote(std::string_view& rest, std::string& out);  // reads a JSON string (rest begins with ") off `rest`

constexpr std::size_t kDeepest = 2000;  // nesting of schemas; documents may be deeper

}  // namespace espalier::json
