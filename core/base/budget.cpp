#include "base/budget.hpp"

#include <limits>
#include <sstream>

#include "regex/re.hpp"

namespace espalier {

namespace {
thread_local Budget* current = nullptr;
}

std::recursive_mutex& engine_lock() {
  static std::recursive_mutex lock;
  return lock;
}

Budget::Budget(double milliseconds, const Limits& limits, std::string_view what)
    : outer_(current), milliseconds_(milliseconds), limits_(limits), what_(what) {
  constexpr auto unlimited = std::numeric_limits<std::uint64_t>::max();
  if (milliseconds > 0)
    end_ = std::chrono::steady_clock::now() + std::chrono::nanoseconds(static_cast<std::int64_t>(milliseconds * 1e6));
  states_left_ = limits.states ? limits.states : unlimited;
  bytes_left_ = limits.memory_mb > 0 ? static_cast<std::uint64_t>(limits.memory_mb * (1 << 20)) : unlimited;
  current = this;
}

Budget::~Budget() { current = outer_; }

void Budget::check_time() {
  if (milliseconds_ <= 0 || std::chrono::steady_clock::now() < end_) return;
  std::ostringstream text;
  text << what_ << ": not decided within " << milliseconds_ << " ms; simplify it or raise the time in Limits";
  throw OverLimit(text.str());
}

void Budget::tick() {
  if (current && ++current->ticks_ % 256 == 0) current->check_time();
}

void Budget::tick_time() {
  if (current) current->check_time();
}

void Budget::charge(std::uint64_t states, std::uint64_t bytes) {
  if (!current) return;
  Budget& budget = *current;
  if (budget.states_left_ < states) {
    throw OverLimit(std::string(budget.what_) + ": needs more than " + std::to_string(budget.limits_.states) +
                    " states; simplify it or raise Limits(states=…)");
  }
  if (budget.bytes_left_ < bytes) {
    std::ostringstream text;
    text << budget.what_ << ": needs more than " << budget.limits_.memory_mb
         << " MB; simplify it or raise Limits(memory_mb=…)";
    throw OverLimit(text.str());
  }
  budget.states_left_ -= states;
  budget.bytes_left_ -= bytes;
  tick();
}

}  // namespace espalier
