// espalier._kernels: packed weights, an engine that runs whole passes on the team of threads, and what is asked of
// rows.
#include <nanobind/stl/string.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/bindings/bind.hpp"
#include "kernels/engine.hpp"
#include "kernels/machine/processor.hpp"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace espalier::kernels {

using namespace nb::literals;

NB_MODULE(_kernels, m) {
  m.def("kernels", [] {
    std::vector<std::string> names;
    for (const Kernels* kernels : known()) names.emplace_back(kernels->name);
    return names;
  });
  m.def("choose", &choose, "name"_a);
  m.def("chosen", [] { return std::string(chosen().name); });
  m.def("threads", [] { return crew().size(); });
  m.def("set_threads", &set_threads, "count"_a);

  bind_rows(m);
  m.def(
      "products",
      [](const std::string& kind, long rounds) {
        const Kind of = kind_of(kind);
        const Kernels* kernels = &chosen();
        std::vector<double> made(static_cast<std::size_t>(crew().size()));
        const nb::gil_scoped_release free;
        crew().run([&](int thread) { made[static_cast<std::size_t>(thread)] = kernels->products(of, rounds); });
        return std::accumulate(made.begin(), made.end(), 0.0);
      },
      "kind"_a, "rounds"_a);
  m.def(
      "read",
      [](const Floats& memory) {
        const Kernels* kernels = &chosen();
        const auto* from = reinterpret_cast<const std::byte*>(memory.data());
        const std::size_t share = memory.shape(0) * sizeof(float) / static_cast<std::size_t>(crew().size()) / 256 * 256;
        std::vector<float> sums(static_cast<std::size_t>(crew().size()));
        const nb::gil_scoped_release free;
        crew().run([&](int thread) {
          sums[static_cast<std::size_t>(thread)] =
              kernels->read(from + share * static_cast<std::size_t>(thread), share);
        });
        return share * static_cast<std::size_t>(crew().size());
      },
      "memory"_a);
  m.def(
      "wish_large_pages",
      [](std::uintptr_t memory, std::size_t bytes) { wish_large_pages(reinterpret_cast<std::byte*>(memory), bytes); },
      "memory"_a, "bytes"_a);
  m.def("trim_memory", [] {
#if defined(__GLIBC__)
    const nb::gil_scoped_release free;
    malloc_trim(0);
#endif
  });

  bind_weights(m);
  nb::class_<Engine>(m, "Engine")
      .def(nb::init<std::vector<int>, std::vector<float>, bool, std::vector<std::shared_ptr<PackedLayer>>,
                    const std::vector<std::pair<Floats, float>>&, const Floats&, std::shared_ptr<Packed>>(),
           "sizes"_a, "numbers"_a, "gelu"_a, "layers"_a, "ropes"_a, "final_norm"_a, "head"_a)
      .def("run", &Engine::run, "embedded"_a, "positions"_a, "slots"_a, "bounds"_a, "paths"_a, "starts"_a, "out"_a,
           "keys"_a, "values"_a, "hidden"_a, "taps"_a.none())
      .def("read", &Engine::read, "hidden"_a, "normed"_a, "logits"_a);
}

}  // namespace espalier::kernels
