#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "automaton/compose.hpp"
#include "automaton/matcher.hpp"
#include "python/bindings.hpp"
#include "regex/store.hpp"

namespace nb = nanobind;

namespace espalier {

namespace {

// Takes the engine's lock without holding the GIL while it waits or works.
class Working {
 public:
  explicit Working(const Matcher& m, double milliseconds)
      : guard_(engine_lock()), budget_(milliseconds, m.limits(), m.name()) {}

 private:
  nb::gil_scoped_release release_;
  EngineGuard guard_;
  Budget budget_;
};

std::string_view view(const nb::bytes& b) { return {static_cast<const char*>(b.data()), b.size()}; }
nb::bytes to_bytes(std::string_view s) { return nb::bytes(s.data(), s.size()); }

void bind_expressions(nb::module_& m) {
  m.attr("INF") = re::kInf;
  m.def("re_bytes", [](const std::vector<std::pair<unsigned, unsigned>>& ranges) {
    ByteSet s;
    for (const auto& [lo, hi] : ranges) s.add(lo & 255, hi & 255);
    return re::bytes(s);
  });
  m.def("re_literal", [](nb::bytes b) { return re::literal(view(b)); });
  m.def("re_literals", [](const std::vector<nb::bytes>& words, const Limits& limits, const std::string& name) {
    std::vector<std::string_view> views;
    for (const nb::bytes& w : words) views.push_back(view(w));  // `words` keeps the bytes
    const nb::gil_scoped_release release;
    const EngineGuard guard(engine_lock());
    const Budget budget(limits.compile_ms, limits, name);
    std::vector<Re> parts;
    for (const std::string_view w : views) parts.push_back(re::literal(w));
    return re::alt(std::span<const Re>(parts));
  });
  m.def("re_cat", [](Re a, Re b) { return re::cat(a, b); });
  m.def("re_alt", [](const std::vector<Re>& v) { return re::alt(std::span<const Re>(v)); });
  m.def("re_both", [](Re a, Re b) { return re::both(a, b); });
  m.def("re_negate", [](Re a) { return re::negate(a); });
  m.def("re_repeat", [](Re a, std::uint32_t lo, std::uint32_t hi) { return re::repeat(a, lo, hi); });
  m.def("re_codepoints",
        [](const std::vector<std::pair<std::uint32_t, std::uint32_t>>& v) { return re::codepoints(v); });
  m.def("re_parse", [](std::string_view pattern, bool search, const Limits& limits) {
    const std::string name = "regex " + std::string(pattern.substr(0, 200));
    const nb::gil_scoped_release release;
    const EngineGuard guard(engine_lock());
    const Budget budget(limits.compile_ms, limits, name);
    return re::parse(pattern, search);
  });
  m.def("re_text", [] { return re::text(); });
  m.def("re_json_string", [](Re r) { return re::json_string(r); });
  m.def("re_step", [](Re r, std::uint8_t b) { return re::step(r, b); });
  m.def("re_nullable", [](Re r) { return re::nullable(r); });
  m.def("re_empty", [](Re r) {
    nb::gil_scoped_release release;
    return re::empty(r);
  });
  m.def("re_count", [] {
    const EngineGuard guard(engine_lock());
    return re::Store::get().size();
  });
}

}  // namespace

void bind_engine(nb::module_& m) {
  nb::exception<GrammarError>(m, "GrammarError", PyExc_ValueError);
  bind_expressions(m);
  nb::class_<Limits>(m, "Limits")
      .def(
          "__init__",
          [](Limits* l, double compile_ms, std::uint64_t states, double memory_mb, double mask_us) {
            new (l) Limits{compile_ms, states, memory_mb, mask_us};
          },
          nb::arg("compile_ms"), nb::arg("states"), nb::arg("memory_mb"), nb::arg("mask_us"));
  nb::class_<Machine>(m, "Machine").def_prop_ro("exact", &Machine::exact);
  m.def("regular_machine", [](Re r, const Limits& limits, const std::string& name) {
    const nb::gil_scoped_release release;
    const EngineGuard guard(engine_lock());
    const Budget budget(limits.compile_ms, limits, name);
    return regular_machine(r);
  });
  m.def("both_machine", &both_machine);
  m.def("either_machine", &either_machine);
  m.def("then_machine", &then_machine);
  m.def("repeat_machine", [](std::shared_ptr<Machine> part, std::uint32_t lo, std::uint32_t hi) {
    const nb::gil_scoped_release release;
    const EngineGuard guard(engine_lock());  // it begins the part
    return repeat_machine(std::move(part), lo, hi);
  });
  nb::class_<Matcher>(m, "Matcher")
      .def(nb::init<std::shared_ptr<Machine>, std::string, Limits>(), nb::arg("machine"), nb::arg("name"),
           nb::arg("limits"))
      .def("start",
           [](Matcher& s) {
             const Working w(s, s.limits().compile_ms);
             return s.start();
           })
      .def("advance",
           [](Matcher& s, State at, nb::bytes b) {
             const auto v = view(b);
             const Working w(s, s.limits().compile_ms);
             return s.advance(s.own(at), v);
           })
      .def("accepts",
           [](Matcher& s, State at) {
             const EngineGuard guard(engine_lock());
             return s.accepts(s.own(at));
           })
      .def("matches",
           [](Matcher& s, nb::bytes b) {
             const auto v = view(b);
             const Working w(s, s.limits().compile_ms);
             return s.matches(v);
           })
      .def("forced",
           [](Matcher& s, State at, std::size_t limit) {
             std::string out;
             {
               const Working w(s, s.limits().compile_ms);
               out = s.forced(s.own(at), limit);
             }
             return to_bytes(out);
           })
      .def("items",
           [](Matcher& s, State at) {
             std::vector<std::vector<std::uint32_t>> out;
             for (const Item& i : s.items(s.own(at))) out.push_back({i.re, i.cont, i.text});
             return out;
           })
      .def_prop_ro("machine", &Matcher::shared_machine)
      .def_prop_ro("size", &Matcher::size);
}

}  // namespace espalier
