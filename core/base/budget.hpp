// How much work one request may cost. Exploration of automata is lazy, so the bounds are checked where work happens.
//
// Time is the thread's CPU time: waiting for a turn, or for a core, costs nothing. States and memory are counted over
// the life of a guide (Life), so that many cheap calls are bounded as one dear call is.
#pragma once
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/generation.hpp"

namespace espalier {

struct Limits {  // 0 = unlimited
  double compile_ms = 0;
  std::uint64_t states = 0;
  double memory_mb = 0;
  double mask_us = 0;
};

struct Life {  // of a guide: what it has cost so far; written with the lock of its generation
  std::atomic<std::uint64_t> states = 0, bytes = 0;
};

// While one lives, work done by this thread is charged to it; past a bound GrammarError is thrown, naming `what`.
class Budget {
 public:
  Budget(double milliseconds, const Limits& limits, std::string_view what,
         Life* life = nullptr);  // all must outlive it
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;
  static void charge(std::uint64_t states, std::uint64_t bytes);  // new states, bytes of memory
  static void keep(std::uint64_t states, std::uint64_t bytes) {   // the same, of what the generation remembers
    Generation::here().grown(bytes);
    charge(states, bytes);
  }
  // Work that makes no state. Other threads may have a turn: what this thread looks at may have grown afterwards.
  static void tick();
  static void tick_time();  // the same, for work in large pieces

 private:
  void check_time();
  Budget* outer_;
  Life own_, *life_;
  std::chrono::steady_clock::time_point begun_{};
  double milliseconds_,
      cpu_begun_ = -1;  // milliseconds of the thread, read when the wall clock has gone past a quarter
  std::uint64_t states_most_, bytes_most_, ticks_ = 0;
  const Limits limits_;
  std::string_view what_;
};

}  // namespace espalier
