// The kernels in use and the team, made by the first pass and again after a fork.
#include "kernels/machine/processor.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include <memory>
#include <mutex>
#include <stdexcept>

namespace espalier::kernels {
namespace {

const Kernels* in_use = nullptr;
std::unique_ptr<Team> team;  // made under the lock in `crew`

}  // namespace

const Kernels& chosen() {
  if (!in_use) in_use = known().front();
  return *in_use;
}

void set_threads(int count) { team = std::make_unique<Team>(count); }

std::vector<const Kernels*> known() {
  std::vector<const Kernels*> found;
#if defined(ESPALIER_X86)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi") &&
      __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("fma"))
    found.push_back(&kernels_avx512());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
    found.push_back(&kernels_avx2());
#endif
  found.push_back(&kernels_base());
  return found;
}

void choose(const std::string& name) {
  for (const Kernels* kernels : known())
    if (kernels->name == name) {
      in_use = kernels;
      return;
    }
  throw std::invalid_argument("this processor cannot run the kernels called " + name);
}

Team& crew() {
  static std::mutex making;  // two models may begin their first passes at once
  const std::lock_guard alone(making);
#if defined(__unix__) || defined(__APPLE__)
  static pid_t owner = getpid();
  if (owner !=
      getpid()) {  // a forked child has the memory but not the threads: it makes its own, and leaves the old be
    static_cast<void>(team.release());
    owner = getpid();
  }
#endif
  if (!team) team = std::make_unique<Team>(static_cast<int>(std::thread::hardware_concurrency()));
  return *team;
}

}  // namespace espalier::kernels
