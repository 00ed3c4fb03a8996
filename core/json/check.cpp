// Mistakes in a schema are told when a guide is made of it: every keyword that the schema can get to has a value of its
// kind, every reference leads somewhere, and every pattern can be read. Nothing is compiled for that.
#include <unordered_set>

#include "base/budget.hpp"
#include "json/schema.hpp"
#include "regex/re.hpp"

namespace espalier::json {

namespace {

struct Todo {
  Schema near;  // whose resource and scope it stands in
  const Value* value;
};

void read_pattern(const Schemas& schemas, Schema s, const Value* at, std::string_view pattern) {
  try {
    re::check(pattern, true);
  } catch (const GrammarError& e) { throw GrammarError(schemas.where(s, at) + ": " + e.what()); }
}

}  // namespace

void Schemas::check(Schema root) {
  std::vector<Todo> todo{{root, places_[root].value}};
  std::unordered_set<const Value*> referred{todo[0].value};
  while (!todo.empty()) {
    Schema near = todo.back().near;
    const Value* const v = todo.back().value;
    todo.pop_back();
    if (!v->is(Kind::Object)) {  // what stands below a keyword was looked at with it
      if (!v->boolean() && referred.contains(v))
        throw GrammarError(where(near, v) + ": a schema is an object, true or false");
      continue;
    }
    Budget::tick();
    if (embedded_.contains(v)) near = inside(near, v);
    const auto refer = [&](const Value& to, bool dynamic) {
      if (!to.is(Kind::String)) return;
      const Schema from = inside(near, v), target = dynamic ? follow_dynamic(from, to.text) : follow(from, to.text);
      if (referred.insert(places_[target].value).second) todo.push_back({target, places_[target].value});
    };
    const Draft draft = resource(near).draft;
    if (const Value* ref = v->get("$ref"); ref && ref->is(Kind::String) && draft >= Draft::V3 && draft <= Draft::V7) {
      refer(*ref, false);  // in these drafts nothing beside it counts
      continue;
    }
    for (const auto& [name, below] : v->members) {
      if (!knows(draft, name)) continue;
      if (const std::string wrong = mistake(name, *below); !wrong.empty())
        throw GrammarError(where(near, below) + ": " + wrong);
      if (name == "$ref") refer(*below, false);
      if (name == "$dynamicRef" || name == "$recursiveRef") refer(*below, true);
      if (name == "pattern" && below->is(Kind::String)) read_pattern(*this, near, below, below->text);
      if (name == "patternProperties") {
        for (const auto& m : below->members) read_pattern(*this, near, m.second, m.first);
      }
      if (name == "$defs" || name == "definitions") continue;  // only what is referred to
      each_below(name, *below, [&](const Value* inner) { todo.push_back({near, inner}); });
    }
  }
}

}  // namespace espalier::json
