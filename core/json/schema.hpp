// Which schema a $ref means: documents, resources ($id), anchors and the dynamic scope, over drafts 4 to 2020-12.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "json/value.hpp"

namespace espalier::json {

using Schema = std::uint32_t;  // a place in a schema document together with the dynamic scope it was reached in

enum class Draft : std::uint8_t {
  Any = 0,
  V3 = 3,
  V4 = 4,
  V6 = 6,
  V7 = 7,
  V2019 = 19,
  V2020 = 20
};  // Any: $schema says nothing

struct Resource {
  std::string uri;
  const Value* root;
  std::uint32_t document;
  Draft draft = Draft::Any;
  bool asserts = true;  // the vocabulary of validation keywords is in use
  bool formats = true;  // so is one that asserts formats
  std::map<std::string, const Value*, std::less<>> anchors{}, dynamic{};
};

struct Place {
  const Value* value;
  std::uint32_t resource, scope;
};

class Schemas {
 public:
  void offer(std::string uri, std::string text);                // for $ref; parsed when it is first needed
  static void offer_to_all(std::string uri, std::string text);  // the published metaschemas
  Schema root(std::string text);
  void check(Schema root);  // its references lead somewhere, its patterns can be read
  const Place& operator[](Schema s) const { return places_[s]; }
  const Resource& resource(Schema s) const { return resources_[places_[s].resource]; }
  Schema inside(Schema s, const Value* v) { return enter(v, places_[s].resource, places_[s].scope); }
  Schema follow(Schema from, std::string_view reference);
  Schema follow_dynamic(Schema from, std::string_view reference);
  Schema made(Schema near, std::string text);  // a schema of our own making
  std::string where(Schema s) const;           // for messages: uri#/pointer
  std::string where(Schema s, const Value*) const;
  std::size_t size() const { return places_.size(); }

 private:
  struct Target {
    const Value* value;
    std::uint32_t resource;
    std::string dynamic;  // the anchor's name, if it is a dynamic one
  };
  Schema enter(const Value*, std::uint32_t resource, std::uint32_t scope);
  std::uint32_t load(std::string uri, std::string text, const std::string& what);
  void index(std::uint32_t document, const Value*, std::uint32_t resource, int depth);
  std::uint32_t add(Resource);
  void anchors(const Value&, Resource&);
  Target resolve(Schema from, std::string_view reference);
  std::optional<std::uint32_t> find(const std::string& uri);
  std::optional<Target> walk(std::uint32_t resource, const Value* from, std::string_view pointer) const;
  void vocabularies(const std::string& metaschema, Resource&);

  std::vector<std::unique_ptr<Document>> documents_;
  std::vector<Resource> resources_;
  std::unordered_map<const Value*, std::uint32_t> embedded_;  // schemas with an $id of their own
  std::map<std::string, std::uint32_t> by_uri_;
  std::map<std::string, std::string> offered_;
  std::vector<Place> places_;
  std::map<std::tuple<const Value*, std::uint32_t, std::uint32_t>, Schema> ids_;
  std::vector<std::vector<std::uint32_t>> scopes_{{}};
  std::map<std::vector<std::uint32_t>, std::uint32_t> scope_ids_{{{}, 0}};
};

void each_below(std::string_view keyword, const Value&,
                const std::function<void(const Value*)>& schema);  // the schemas below a keyword
bool knows(
    Draft,
    std::string_view keyword);  // not: a keyword of later (or only of earlier) drafts, which says nothing in this one
Draft draft_of(std::string_view uri, Draft otherwise);  // of a $schema
std::string mistake(std::string_view keyword,
                    const Value&);  // what is wrong with the value of this keyword; "" if nothing is
std::string resolve_uri(std::string_view base, std::string_view reference);  // RFC 3986, section 5

}  // namespace espalier::json
