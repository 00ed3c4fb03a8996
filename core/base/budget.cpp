// Bounds are checked where work is charged; the clock is read once in many ticks.
#include "base/budget.hpp"

#include <time.h>

#include <limits>
#include <sstream>

#include "base/error.hpp"

namespace espalier {

namespace {

thread_local Budget* current ESPALIER_TLS = nullptr;

double thread_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

double ms(std::chrono::steady_clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

}  // namespace

Budget::Budget(double milliseconds, const Limits& limits, std::string_view what, Life* life)
    : outer_(current), life_(life ? life : &own_), milliseconds_(milliseconds), limits_(limits), what_(what) {
  constexpr auto unlimited = std::numeric_limits<std::uint64_t>::max();
  if (milliseconds > 0) begun_ = std::chrono::steady_clock::now();
  states_most_ = limits.states ? limits.states : unlimited;
  bytes_most_ = limits.memory_mb > 0 ? static_cast<std::uint64_t>(limits.memory_mb * (1 << 20)) : unlimited;
  current = this;
}

Budget::~Budget() { current = outer_; }

// The wall clock is cheap and never behind: the thread's own clock is asked only where that has gone past the bound.
void Budget::check_time() {
  if (milliseconds_ <= 0) return;
  const double wall = ms(std::chrono::steady_clock::now() - begun_);
  if (cpu_begun_ < 0) {
    if (wall < milliseconds_ / 4) return;
    const double cpu = thread_ms();
    cpu_begun_ = cpu - milliseconds_ / 4;  // a quarter of the bound at most has gone by
    if (wall < milliseconds_) return;
  }
  if (wall < milliseconds_ || thread_ms() - cpu_begun_ < milliseconds_) return;
  std::ostringstream text;
  text << what_ << ": not decided within " << milliseconds_ << " ms; simplify it or raise the time in Limits";
  throw OverLimit(text.str());
}

void Budget::tick() {
  if (Generation::inside()) Generation::here().lock.pause();
  if (current && ++current->ticks_ % 256 == 0) current->check_time();
}

void Budget::tick_time() {
  if (Generation::inside()) Generation::here().lock.pause();
  if (current) current->check_time();
}

void Budget::charge(std::uint64_t states, std::uint64_t bytes) {
  if (!current) return;
  Budget& budget = *current;
  Life& life = *budget.life_;
  if (life.states.load(std::memory_order_relaxed) + states > budget.states_most_) {
    throw OverLimit(std::string(budget.what_) + ": needs more than " + std::to_string(budget.limits_.states) +
                    " states; simplify it or raise Limits(states=…)");
  }
  if (life.bytes.load(std::memory_order_relaxed) + bytes > budget.bytes_most_) {
    std::ostringstream text;
    text << budget.what_ << ": needs more than " << budget.limits_.memory_mb
         << " MB; simplify it or raise Limits(memory_mb=…)";
    throw OverLimit(text.str());
  }
  life.states.store(life.states.load(std::memory_order_relaxed) + states, std::memory_order_relaxed);
  life.bytes.store(life.bytes.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
  if (++budget.ticks_ % 256 == 0) budget.check_time();
}

}  // namespace espalier
