// Documents are read when a reference leads to them; a reference is followed in its scope.
#include "json/schema.hpp"

#include <algorithm>
#include <cctype>
#include <mutex>

#include "regex/re.hpp"

namespace espalier::json {

namespace {

struct Published {
  std::mutex lock;  // protects `all`: all generations share it
  std::map<std::string, std::string> all;
};

Published& published() {
  static Published* texts = new Published;
  return *texts;
}

std::string plain(std::string uri) {  // without an empty fragment
  if (!uri.empty() && uri.back() == '#') uri.pop_back();
  return uri;
}

enum class Holds : std::uint8_t { Nothing, One, List, Map, OneOrList };  // where schemas stand below a keyword
Holds holds(std::string_view keyword) {
  static const std::unordered_map<std::string_view, Holds> table{{"properties", Holds::Map},
                                                                 {"patternProperties", Holds::Map},
                                                                 {"$defs", Holds::Map},
                                                                 {"definitions", Holds::Map},
                                                                 {"dependentSchemas", Holds::Map},
                                                                 {"dependencies", Holds::Map},
                                                                 {"items", Holds::OneOrList},
                                                                 {"additionalItems", Holds::One},
                                                                 {"unevaluatedItems", Holds::One},
                                                                 {"unevaluatedProperties", Holds::One},
                                                                 {"contains", Holds::One},
                                                                 {"propertyNames", Holds::One},
                                                                 {"additionalProperties", Holds::One},
                                                                 {"not", Holds::One},
                                                                 {"if", Holds::One},
                                                                 {"then", Holds::One},
                                                                 {"else", Holds::One},
                                                                 {"contentSchema", Holds::One},
                                                                 {"allOf", Holds::List},
                                                                 {"anyOf", Holds::List},
                                                                 {"oneOf", Holds::List},
                                                                 {"prefixItems", Holds::List}};
  const auto found = table.find(keyword);
  return found == table.end() ? Holds::Nothing : found->second;
}

const Value* text_of(const Value& v, std::string_view name) {
  const Value* t = v.get(name);
  return t && t->is(Kind::String) ? t : nullptr;
}

std::string percent_decoded(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '%' && i + 2 < s.size() && std::isxdigit(static_cast<unsigned char>(s[i + 1])) &&
        std::isxdigit(static_cast<unsigned char>(s[i + 2]))) {
      out += static_cast<char>(std::stoi(std::string(s.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    } else {
      out += s[i];
    }
  }
  return out;
}

}  // namespace

void each_below(std::string_view keyword, const Value& v, const std::function<void(const Value*)>& schema) {
  switch (holds(keyword)) {
    case Holds::Nothing: break;
    case Holds::One: schema(&v); break;
    case Holds::OneOrList:
      if (v.is(Kind::Object)) schema(&v);
      [[fallthrough]];
    case Holds::List:
      for (const Value* item : v.items) schema(item);
      break;
    case Holds::Map:
      for (const auto& m : v.members) schema(m.second);
  }
}

void Schemas::offer(std::string uri, std::string text) { offered_[plain(std::move(uri))] = std::move(text); }
void Schemas::offer_to_all(std::string uri, std::string text) {
  const std::lock_guard<std::mutex> guard(published().lock);
  published().all[plain(std::move(uri))] = std::move(text);
}

std::uint32_t Schemas::add(Resource r) {
  const auto id = static_cast<std::uint32_t>(resources_.size());
  r.uri = plain(r.uri);
  by_uri_.emplace(r.uri, id);
  if (r.root->is(Kind::Object)) {
    if (const Value* s = text_of(*r.root, "$schema")) {
      r.draft = draft_of(s->text, r.draft);
      if (r.draft != Draft::V2020 || draft_of(s->text, Draft::Any) == Draft::Any)
        vocabularies(plain(std::string(s->text)), r);
    }
    if (const Value* again = r.root->get("$recursiveAnchor"); again && again->is(Kind::True)) r.dynamic["\n"] = r.root;
  }
  resources_.push_back(std::move(r));
  return id;
}

// What a metaschema of somebody's own asks for: the validation keywords, formats that are asserted.
void Schemas::vocabularies(const std::string& metaschema, Resource& r) {
  const auto text = offered_.find(metaschema);
  if (text == offered_.end()) return;
  const Document meta(text->second, "the metaschema " + metaschema);
  const Value* used = meta.root()->get("$vocabulary");
  if (!used || !used->is(Kind::Object)) return;
  const auto names = [&](std::string_view end) {
    return std::ranges::any_of(used->members, [&](const auto& m) { return m.first.ends_with(end); });
  };
  r.asserts = names("/vocab/validation");
  r.formats = r.asserts || names("/vocab/format-assertion");
}

std::uint32_t Schemas::load(std::string uri, std::string text, const std::string& what) {
  documents_.push_back(std::make_unique<Document>(std::move(text), what));
  const auto document = static_cast<std::uint32_t>(documents_.size() - 1);
  const Document& d = *documents_.back();
  const Value& root = *d.root();
  Resource r{uri, &root, document};
  if (root.is(Kind::Object)) {
    if (const Value* s = text_of(root, "$schema")) r.draft = draft_of(s->text, Draft::Any);
    const Value* id = text_of(root, r.draft == Draft::V4 || r.draft == Draft::V3 ? "id" : "$id");
    if (id && !id->text.starts_with('#')) r.uri = resolve_uri(uri, id->text);
  }
  const std::uint32_t resource = add(std::move(r));
  by_uri_.emplace(plain(uri), resource);
  const bool anchored = d.named("$id") || d.named("id") || d.named("$anchor") || d.named("$dynamicAnchor");
  if (anchored) index(document, &root, resource, 0);
  return resource;
}

void Schemas::anchors(const Value& v, Resource& r) {
  if (const Value* a = text_of(v, "$anchor")) r.anchors.emplace(a->text, &v);
  if (const Value* a = text_of(v, "$dynamicAnchor")) {
    r.anchors.emplace(a->text, &v);
    r.dynamic.emplace(a->text, &v);
  }
}

// Finds the schemas with an $id or an anchor: only where schemas stand, not in enumerations or unknown keywords.
void Schemas::index(std::uint32_t document, const Value* v, std::uint32_t resource, int depth) {
  if (!v->is(Kind::Object)) return;
  const Draft draft = resources_[resource].draft;
  const bool old = draft == Draft::V3 || draft == Draft::V4;
  const Value* id = text_of(*v, old ? "id" : "$id");
  const bool overridden = draft >= Draft::V3 && draft <= Draft::V7 && v->get("$ref");
  if (id && !overridden) {
    if (id->text.starts_with('#')) {
      resources_[resource].anchors.emplace(id->text.substr(1), v);
    } else if (depth > 0) {
      Resource r{resolve_uri(resources_[resource].uri, id->text),
                 v,
                 document,
                 draft,
                 resources_[resource].asserts,
                 resources_[resource].formats};
      resource = embedded_[v] = add(std::move(r));
    }
  }
  if (!overridden) anchors(*v, resources_[resource]);
  for (const auto& [name, below] : v->members)
    each_below(name, *below, [&](const Value* inner) { index(document, inner, resource, depth + 1); });
}

Schema Schemas::root(std::string text) {
  const std::uint32_t r = load("", std::move(text), "the schema");
  return enter(resources_[r].root, r, 0);
}

Schema Schemas::made(Schema near, std::string text) {
  documents_.push_back(std::make_unique<Document>(std::move(text)));
  resources_.push_back({"", documents_.back()->root(), static_cast<std::uint32_t>(documents_.size() - 1)});
  return enter(documents_.back()->root(), static_cast<std::uint32_t>(resources_.size() - 1), places_[near].scope);
}

Schema Schemas::enter(const Value* v, std::uint32_t resource, std::uint32_t scope) {
  if (const auto own = embedded_.find(v); own != embedded_.end()) resource = own->second;
  if (!resources_[resource].dynamic.empty()) {
    std::vector<std::uint32_t> path = scopes_[scope];
    if (std::find(path.begin(), path.end(), resource) == path.end()) {
      path.push_back(resource);
      const auto [at, fresh] = scope_ids_.emplace(path, static_cast<std::uint32_t>(scopes_.size()));
      if (fresh) scopes_.push_back(path);
      scope = at->second;
    }
  }
  const auto [at, fresh] = ids_.emplace(std::tuple{v, resource, scope}, static_cast<Schema>(places_.size()));
  if (fresh) places_.push_back({v, resource, scope});
  return at->second;
}

std::optional<std::uint32_t> Schemas::find(const std::string& uri) {
  if (const auto known = by_uri_.find(uri); known != by_uri_.end()) return known->second;
  if (const auto text = offered_.find(uri); text != offered_.end()) return load(uri, text->second, "the schema " + uri);
  std::string text;
  {
    const std::lock_guard<std::mutex> guard(published().lock);
    const auto at = published().all.find(uri);
    if (at == published().all.end()) return std::nullopt;
    text = at->second;
  }
  return load(uri, text, "the schema " + uri);
}

std::optional<Schemas::Target> Schemas::walk(std::uint32_t resource, const Value* v, std::string_view pointer) const {
  while (!pointer.empty()) {
    const auto end = std::min(pointer.find('/', 1), pointer.size());
    std::string step;
    for (std::size_t i = 1; i < end; ++i) {
      const bool escaped = pointer[i] == '~' && i + 1 < end;
      step += !escaped ? pointer[i] : pointer[++i] == '1' ? '/' : '~';
    }
    pointer.remove_prefix(end);
    const Value* next = nullptr;
    if (v->is(Kind::Object)) {
      next = v->get(step);
    } else if (v->is(Kind::Array) && !step.empty() && step.size() < 9 &&
               step.find_first_not_of("0123456789") == step.npos) {
      const auto i = static_cast<std::size_t>(std::stoul(step));
      if (i < v->items.size()) next = v->items[i];
    }
    if (!next) return std::nullopt;
    v = next;
    if (const auto own = embedded_.find(v); own != embedded_.end()) resource = own->second;
  }
  return Target{v, resource, ""};
}

Schemas::Target Schemas::resolve(Schema from, std::string_view reference) {
  const std::uint32_t here = places_[from].resource;
  const auto hash = std::min(reference.find('#'), reference.size());
  const std::string fragment = percent_decoded(reference.substr(std::min(hash + 1, reference.size())));
  std::uint32_t resource = here;
  if (hash > 0) {
    const auto found = find(plain(resolve_uri(resources_[here].uri, reference.substr(0, hash))));
    const auto literal = found ? found : find(std::string(reference.substr(0, hash)));
    if (!literal) {
      throw GrammarError("$ref \"" + std::string(reference) + "\" at " + where(from) +
                         ": there is no schema of this address. Pass it: registry={\"" +
                         plain(resolve_uri(resources_[here].uri, reference.substr(0, hash))) + "\": schema}");
    }
    resource = *literal;
  }
  const Resource& r = resources_[resource];
  if (fragment.empty()) return {r.root, resource, r.dynamic.contains("\n") ? "\n" : ""};
  if (fragment[0] == '/') {
    if (auto t = walk(resource, r.root, fragment)) return *t;
    if (auto t = walk(resource, documents_[r.document]->root(), fragment))
      return *t;  // an old "id" in the way: meant from the document's root
  } else if (const auto a = r.anchors.find(fragment); a != r.anchors.end()) {
    return {a->second, resource, r.dynamic.contains(fragment) ? fragment : ""};
  }
  throw GrammarError("$ref \"" + std::string(reference) + "\" at " + where(from) + ": nothing stands there");
}

Schema Schemas::follow(Schema from, std::string_view reference) {
  const Target t = resolve(from, reference);
  return enter(t.value, t.resource, places_[from].scope);
}

Schema Schemas::follow_dynamic(Schema from, std::string_view reference) {
  Target t = resolve(from, reference);
  if (!t.dynamic.empty()) {
    for (const std::uint32_t r : scopes_[places_[from].scope]) {  // the outermost first
      if (const auto a = resources_[r].dynamic.find(t.dynamic); a != resources_[r].dynamic.end()) {
        t.value = a->second, t.resource = r;
        break;
      }
    }
  }
  return enter(t.value, t.resource, places_[from].scope);
}

std::string Schemas::where(Schema s) const { return where(s, places_[s].value); }

std::string Schemas::where(Schema s, const Value* v) const {
  const Resource& r = resources_[places_[s].resource];
  const std::string pointer = documents_[r.document]->pointer(v);
  return pointer.empty() ? r.uri + "#" : (documents_[r.document]->root() == r.root ? r.uri : "") + pointer;
}

}  // namespace espalier::json
