// Grammars for Python: rules, fragments and machines.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "base/budget.hpp"
#include "cfg/cfg_machine.hpp"
#include "python/bindings.hpp"

namespace nb = nanobind;

namespace espalier {
namespace {

using cfg::Grammar;
using cfg::Op;

// A grammar while a reader hands it over, rule by rule.
struct CfgBuilder {
  const std::shared_ptr<Generation> home = Generation::current();
  Grammar grammar;
  cfg::Rule now = 0;

  void put(Op op, std::uint32_t a = 0, std::uint32_t b = 0) { grammar.rules.at(now).body.push_back({op, a, b}); }

  template <class Make>
  void leaf(const Make& make, std::size_t size) {
    const nb::gil_scoped_release release;
    const Inside inside(*home);
    const Re re = make();
    put(Op::regular, re, static_cast<std::uint32_t>(std::min<std::size_t>(size, 1u << 30)));
  }

  std::shared_ptr<Machine> finish(std::uint32_t start, const Limits& limits, const std::string& name) {
    const nb::gil_scoped_release release;
    const Inside inside(*home);
    const Budget budget(limits.compile_ms, limits, name);
    grammar.start = start;
    return std::make_shared<cfg::CfgMachine>(cfg::compile(grammar), grammar);
  }
};

}  // namespace

void bind_cfg(nb::module_& m) {
  using Ranges = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
  nb::class_<CfgBuilder>(m, "CfgBuilder")
      .def(nb::init<>())
      .def("declare",
           [](CfgBuilder& b, const std::string& name, bool lexical) { return b.grammar.declare(name, lexical); })
      .def("define", [](CfgBuilder& b, cfg::Rule r) { b.grammar.rules.at(r).defined = true, b.now = r; })
      .def("ignore", [](CfgBuilder& b, cfg::Rule r) { b.grammar.ignore = r; })
      .def("bytes",
           [](CfgBuilder& b, nb::bytes s) { b.leaf([&] { return re::literal({s.c_str(), s.size()}); }, s.size()); })
      .def("ranges", [](CfgBuilder& b, const Ranges& r) { b.leaf([&] { return re::codepoints(r); }, 4); })
      .def("pattern", [](CfgBuilder& b, const std::string& s) { b.leaf([&] { return re::parse(s); }, s.size()); })
      .def("ref", [](CfgBuilder& b, cfg::Rule r) { b.put(Op::ref, r); })
      .def("embed",
           [](CfgBuilder& b, std::shared_ptr<Machine> machine) {
             b.put(Op::embed, static_cast<std::uint32_t>(b.grammar.machines.size()));
             const nb::gil_scoped_release release;
             b.grammar.machines.push_back(brought(machine, b.home));
           })
      .def("cat", [](CfgBuilder& b, std::uint32_t n) { b.put(Op::cat, n); })
      .def("alt", [](CfgBuilder& b, std::uint32_t n) { b.put(Op::alt, n); })
      .def("repeat", [](CfgBuilder& b, std::uint32_t lo, std::uint32_t hi) { b.put(Op::repeat, lo, hi); })
      .def("both", [](CfgBuilder& b) { b.put(Op::both); })
      .def("minus", [](CfgBuilder& b) { b.put(Op::minus); })
      .def("finish", &CfgBuilder::finish, nb::arg("start"), nb::arg("limits"), nb::arg("name"));
  m.def("cfg_unproductive", [](const std::shared_ptr<Machine>& machine) {
    const auto* grammar = dynamic_cast<const cfg::CfgMachine*>(machine.get());
    return grammar == nullptr ? std::vector<std::string>{} : grammar->unproductive();
  });
}

}  // namespace espalier
