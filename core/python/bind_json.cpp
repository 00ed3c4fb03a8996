// Schemas for Python.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/set.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "base/budget.hpp"
#include "json/machine/schema_machine.hpp"
#include "python/bindings.hpp"

namespace nb = nanobind;

namespace espalier {

void bind_json(nb::module_& m) {
  using json::SchemaMachine;
  nb::class_<SchemaMachine, Machine>(m, "SchemaMachine")
      .def_prop_rw("inexact", &SchemaMachine::inexact, &SchemaMachine::set_inexact);
  m.def(
      "schema_machine",
      [](std::string schema, std::vector<std::pair<std::string, std::string>> registry, bool formats, bool in_order,
         int blanks, bool plain, const Limits& limits) -> std::shared_ptr<SchemaMachine> {
        const nb::gil_scoped_release release;
        const std::shared_ptr<Generation> home = Generation::current();
        const Inside inside(*home);
        const Budget budget(limits.compile_ms, limits, "the schema");
        json::Options o{formats, in_order, static_cast<json::Blanks>(blanks), plain};
        return std::make_shared<SchemaMachine>(std::move(schema), std::move(registry), o);
      },
      nb::arg("schema"), nb::arg("registry"), nb::arg("formats"), nb::arg("in_order"), nb::arg("blanks"),
      nb::arg("plain"), nb::arg("limits"));
  m.def("schema_knows", [](const std::string& uri, const std::string& keyword) {
    return json::knows(json::draft_of(uri, json::Draft::Any), keyword);
  });
  m.def("schema_ref_alone", [](const std::string& uri) {  // the drafts in which nothing beside a $ref counts
    const json::Draft draft = json::draft_of(uri, json::Draft::Any);
    return draft >= json::Draft::V3 && draft <= json::Draft::V7;
  });
  m.def("offer_schema",
        [](std::string uri, std::string text) { json::Schemas::offer_to_all(std::move(uri), std::move(text)); });
}

}  // namespace espalier
