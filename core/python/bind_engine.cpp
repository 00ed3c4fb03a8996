// Expressions, machines and guides for Python. A call gives up the GIL before it waits for a lock or works, so that no
// thread of Python waits for another's guide.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "automaton/compose.hpp"
#include "automaton/shortest.hpp"
#include "python/bindings.hpp"
#include "regex/portable.hpp"

namespace nb = nanobind;

namespace espalier {

namespace {

std::string_view view(const nb::bytes& b) { return {static_cast<const char*>(b.data()), b.size()}; }
nb::bytes to_bytes(std::string_view s) { return nb::bytes(s.data(), s.size()); }

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

// The machines, all of one generation: made again in the newest if they have several or theirs is full.
std::vector<std::shared_ptr<Machine>> together(std::vector<std::shared_ptr<Machine>> parts,
                                               std::shared_ptr<Generation>& home) {
  home = parts[0]->shared_home();
  for (const auto& m : parts) {
    if (m->shared_home() != home) home = nullptr;
    if (!home) break;
  }
  if (!home || home->full()) home = Generation::current();
  for (auto& m : parts) m = brought(m, home);
  return parts;
}

template <class Make>
std::shared_ptr<Machine> composed(std::vector<std::shared_ptr<Machine>> parts, const Make& make) {
  const nb::gil_scoped_release release;
  std::shared_ptr<Generation> home;
  parts = together(std::move(parts), home);
  const Inside inside(*home);
  std::vector<Interruptible*> workers;
  for (const auto& p : parts) {
    std::vector<Interruptible*> more;
    p->workers(more);
    for (Interruptible* w : more) {
      if (std::find(workers.begin(), workers.end(), w) == workers.end()) workers.push_back(w);
    }
  }
  const AtWork at_work(workers);
  return make(std::move(parts));
}

void bind_machines(nb::module_& m) {
  using Machines = std::vector<std::shared_ptr<Machine>>;
  nb::class_<Machine>(m, "Machine").def_prop_ro("exact", &Machine::exact);
  m.def("regular_machine", [](const Expression& r, const Limits& limits, const std::string& name) {
    const nb::gil_scoped_release release;
    const std::shared_ptr<Generation> home = r.home->full() ? Generation::current() : r.home;
    const Re re = brought(r, home);
    const Inside inside(*home);
    const Budget budget(limits.compile_ms, limits, name);
    return regular_machine(re);
  });
  m.def("both_machine", [](std::shared_ptr<Machine> a, std::shared_ptr<Machine> b) {
    return composed({std::move(a), std::move(b)}, [](Machines v) { return both_machine(v[0], v[1]); });
  });
  m.def("either_machine", [](Machines parts) {
    return composed(std::move(parts), [](Machines v) { return either_machine(std::move(v)); });
  });
  m.def("then_machine", [](Machines parts) {
    return composed(std::move(parts), [](Machines v) { return then_machine(std::move(v)); });
  });
  m.def("repeat_machine", [](std::shared_ptr<Machine> part, std::uint32_t lo, std::uint32_t hi) {
    return composed({std::move(part)}, [&](Machines v) { return repeat_machine(v[0], lo, hi); });
  });
}

void bind_guide(nb::module_& m) {
  nb::class_<Position>(m, "State")
      .def("__eq__", [](const Position& a,
                        nb::handle b) { return nb::isinstance<Position>(b) && a == nb::cast<const Position&>(b); })
      .def("__hash__",
           [](const Position& p) {
             const auto h = reinterpret_cast<std::uintptr_t>(p.matcher.get()) * 0x9e3779b97f4a7c15ull;
             return static_cast<Py_hash_t>(((h >> 20) ^ p.state) & 0x3fffffffffffffff);
           })
      .def("__copy__", [](const Position& p) { return p; })
      .def("__deepcopy__", [](const Position& p, nb::handle) { return p; })
      .def("__repr__", [](const Position& p) {
        return p.matcher ? "<state " + std::to_string(p.state) + " of " + p.matcher->name() + ">"
                         : "<the text has ended>";
      });
  m.attr("ENDED") = Position{nullptr, kEnded};
  nb::class_<Guide>(m, "Matcher")
      .def(
          "__init__",
          [](Guide* g, const std::shared_ptr<Machine>& machine, std::string name, const Limits& limits) {
            const nb::gil_scoped_release release;
            new (g) Guide(machine, std::move(name), limits);
          },
          nb::arg("machine"), nb::arg("name"), nb::arg("limits"))
      .def("start", [](Guide& g) { return position(begun(g)); })
      .def("advance",
           [](Guide& g, nb::handle at, nb::bytes b) {
             const auto v = view(b);
             const Position& p = state(g, at);
             Matcher& matcher = life(g, p);
             Position next{p.matcher, 0};
             {
               const nb::gil_scoped_release release;
               const Working working(matcher, g.limits().compile_ms);
               next.state = matcher.advance(p.state, v);
             }
             return position(std::move(next));
           })
      .def("accepts",
           [](Guide& g, nb::handle at) {
             const Position& p = state(g, at);
             return life(g, p).accepts(p.state);
           })
      .def("matches",
           [](Guide& g, nb::bytes b) {
             const auto v = view(b);
             const nb::gil_scoped_release release;
             const std::shared_ptr<Matcher> matcher = g.matcher();
             const Working working(*matcher, g.limits().compile_ms);
             return matcher->matches(v);
           })
      .def("forced",
           [](Guide& g, nb::handle at, std::size_t limit) {
             const Position& p = state(g, at);
             Matcher& matcher = life(g, p);
             std::string out;
             {
               const nb::gil_scoped_release release;
               const Working working(matcher, g.limits().compile_ms);
               out = matcher.forced(p.state, limit);
             }
             return to_bytes(out);
           })
      .def("shortest",
           [](Guide& g, nb::handle at) {
             const Position& p = state(g, at);
             Matcher& matcher = life(g, p);
             Shortest::End end;
             {
               const nb::gil_scoped_release release;
               const Working working(matcher, g.limits().compile_ms);
               end = Shortest::in(matcher).of(p.state);
             }
             return nb::make_tuple(end.bytes, end.found, to_bytes(end.text));
           })
      .def_prop_ro("machine", [](Guide& g) { return g.last()->shared_machine(); })
      .def_prop_ro("size", [](Guide& g) { return g.last()->size(); });
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

std::shared_ptr<Machine> brought(const std::shared_ptr<Machine>& m, const std::shared_ptr<Generation>& home) {
  if (m->shared_home() == home) return m;
  Source source;
  {
    const Inside inside(m->home());
    std::vector<Interruptible*> workers;
    m->workers(workers);
    const AtWork at_work(workers);
    source = m->source();
  }
  const Inside inside(*home);
  return source();
}

nb::object position(Position p) { return p.state ? nb::cast(std::move(p)) : nb::none(); }

Position begun(Guide& g) {
  const nb::gil_scoped_release release;
  Position p{g.matcher(), 0};
  const Working working(*p.matcher, g.limits().compile_ms);
  p.state = p.matcher->start();
  return p;
}

namespace {
[[noreturn]] void foreign(const Guide& g) {
  throw GrammarError("a state that is none of " + g.name() +
                     "'s: go on from what its own start() or advance() returned");
}
}  // namespace

Matcher& life(const Guide& g, const Position& p) {
  if (!p.matcher || p.matcher->guide() != &g) foreign(g);
  return *p.matcher;
}

const Position& state(const Guide& g, nb::handle h) {
  if (!nb::isinstance<Position>(h)) foreign(g);
  return nb::cast<const Position&>(h);
}

void bind_engine(nb::module_& m) {
  nb::exception<GrammarError>(m, "GrammarError", PyExc_ValueError);
  nb::class_<Limits>(m, "Limits")
      .def(
          "__init__",
          [](Limits* l, double compile_ms, std::uint64_t states, double memory_mb, double mask_us) {
            new (l) Limits{compile_ms, states, memory_mb, mask_us};
          },
          nb::arg("compile_ms"), nb::arg("states"), nb::arg("memory_mb"), nb::arg("mask_us"));
  bind_expressions(m);
  bind_machines(m);
  bind_guide(m);
  m.def("engine_bound", [](double megabytes) { Generation::bound(static_cast<std::uint64_t>(megabytes * (1 << 20))); });
  m.def("engine_report", [] {
    const Generation::Report r = Generation::report();
    return std::pair{r.generations, r.bytes};
  });
}

}  // namespace espalier
