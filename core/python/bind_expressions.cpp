// Expressions for Python: what is made of several is made in one generation.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include <optional>

#include "python/bindings.hpp"
#include "regex/serialize.hpp"
#include "regex/store.hpp"

namespace nb = nanobind;

namespace espalier {

namespace {

using Parts = std::vector<const Expression*>;

// The expression that `make` makes of these parts: in their generation, or in the newest if they have several or theirs
// is full.
template <class Make>
Expression made(const Parts& parts, const Make& make) {
  const nb::gil_scoped_release release;
  std::shared_ptr<Generation> home;
  for (const Expression* p : parts) {
    if (home && home != p->home) home = nullptr;
    else home = p->home;
    if (!home) break;
  }
  if (!home || home->full()) home = Generation::current();
  std::vector<Re> res;
  for (const Expression* p : parts) res.push_back(brought(*p, home));
  const Inside inside(*home);
  return {home, make(res)};
}

}  // namespace

Re brought(const Expression& e, const std::shared_ptr<Generation>& home) {
  if (e.home == home) return e.re;
  std::optional<re::Portable> text;
  {
    const Inside inside(*e.home);
    text.emplace(e.re);
  }
  const Inside inside(*home);
  return text->here();
}

void bind_expressions(nb::module_& m) {
  nb::class_<Expression>(m, "Expression")
      .def("__eq__",
           [](const Expression& a, nb::handle b) {
             if (nb::isinstance<nb::int_>(b)) return nb::cast<std::int64_t>(b) == a.re;  // 0: no text at all
             return nb::isinstance<Expression>(b) && a == nb::cast<const Expression&>(b);
           })
      .def("__bool__", [](const Expression& e) { return e.re != re::kEmpty; })
      .def("__hash__", [](const Expression& e) { return static_cast<Py_hash_t>(e.re); })
      .def("__repr__", [](const Expression& e) {
        const Inside inside(*e.home);
        return "<expression " + re::Store::get().show(e.re) + ">";
      });
  m.attr("INF") = re::kInf;
  using V = std::vector<Re>;
  m.def("re_literal", [](nb::bytes b) { return made({}, [s = view(b)](const V&) { return re::literal(s); }); });
  m.def("re_literals", [](const std::vector<nb::bytes>& words, const Limits& limits, const std::string& name) {
    std::vector<std::string_view> views;
    for (const nb::bytes& w : words) views.push_back(view(w));  // `words` keeps the bytes
    return made({}, [&](const V&) {
      const Budget budget(limits.compile_ms, limits, name);
      std::vector<Re> parts;
      for (const std::string_view w : views) {
        Budget::tick();
        parts.push_back(re::literal(w));
      }
      return re::alt(std::span<const Re>(parts));
    });
  });
  m.def("re_cat", [](const Expression& a, const Expression& b) {
    return made({&a, &b}, [](const V& v) { return re::cat(v[0], v[1]); });
  });
  m.def("re_alt",
        [](const Parts& parts) { return made(parts, [](const V& v) { return re::alt(std::span<const Re>(v)); }); });
  m.def("re_both", [](const Expression& a, const Expression& b) {
    return made({&a, &b}, [](const V& v) { return re::both(v[0], v[1]); });
  });
  m.def("re_negate", [](const Expression& a) { return made({&a}, [](const V& v) { return re::negate(v[0]); }); });
  m.def("re_repeat", [](const Expression& a, std::uint32_t lo, std::uint32_t hi) {
    return made({&a}, [&](const V& v) { return re::repeat(v[0], lo, hi); });
  });
  m.def("re_codepoints", [](const std::vector<std::pair<std::uint32_t, std::uint32_t>>& ranges) {
    return made({}, [&](const V&) { return re::codepoints(ranges); });
  });
  m.def("re_parse", [](std::string_view pattern, bool search, const Limits& limits) {
    const std::string name = "regex " + std::string(pattern.substr(0, 200));
    return made({}, [&](const V&) {
      const Budget budget(limits.compile_ms, limits, name);
      return re::parse(pattern, search);
    });
  });
  m.def("re_text", [] { return made({}, [](const V&) { return re::text(); }); });
  m.def("re_json_string",
        [](const Expression& r) { return made({&r}, [](const V& v) { return re::json_string(v[0]); }); });
  m.def("re_bytes", [](const std::vector<std::pair<unsigned, unsigned>>& ranges) {
    ByteSet s;
    for (const auto& [lo, hi] : ranges) s.add(lo & 255, hi & 255);
    return made({}, [&](const V&) { return re::bytes(s); });
  });
  m.def("re_step", [](const Expression& r, std::uint8_t byte) {
    return made({&r}, [&](const V& v) { return re::step(v[0], byte); });
  });
  m.def("re_nullable", [](const Expression& r) {
    const nb::gil_scoped_release release;
    const Inside inside(*r.home);
    return re::nullable(r.re);
  });
  m.def("re_count", [] {
    const nb::gil_scoped_release release;
    const std::shared_ptr<Generation> home = Generation::current();
    const Inside inside(*home);
    return re::Store::get().size();
  });
  m.def("re_empty", [](const Expression& r) {
    const nb::gil_scoped_release release;
    const Inside inside(*r.home);
    return re::empty(r.re);
  });
}

}  // namespace espalier
