// How much work one request may cost. Exploration of automata is lazy, so the bounds are checked where work happens.
#pragma once
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string_view>

namespace espalier {

// One lock for the whole engine: the expressions, machines and caches are shared by all threads of the process.
std::recursive_mutex& engine_lock();
using EngineGuard = std::lock_guard<std::recursive_mutex>;

struct Limits {  // 0 = unlimited
  double compile_ms = 0;
  std::uint64_t states = 0;
  double memory_mb = 0;
  double mask_us = 0;
};

// While one lives, work done by this thread is charged to it; past a bound GrammarError is thrown, naming `what`.
class Budget {
 public:
  Budget(double milliseconds, const Limits& limits, std::string_view what);  // `what` must outlive it
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;
  static void charge(std::uint64_t states, std::uint64_t bytes);  // new states, bytes of memory
  static void tick();                                             // work that makes no state
  static void tick_time();                                        // the same, for work in large pieces

 private:
  void check_time();
  Budget* outer_;
  std::chrono::steady_clock::time_point end_{};
  double milliseconds_;
  std::uint64_t states_left_, bytes_left_, ticks_ = 0;
  const Limits limits_;
  std::string_view what_;
};

}  // namespace espalier
