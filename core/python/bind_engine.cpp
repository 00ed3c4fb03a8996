// Machines and guides for Python. A call gives up the GIL before it waits for a lock or works, so that no
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

namespace nb = nanobind;

namespace espalier {

namespace {

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
