// A lock that is handed on in the order of asking, and that a long job gives away between two steps.
//
// A guide that takes seconds to compile holds the lock of its generation all that time, but at every tick it looks
// whether somebody waits, and if it has worked for a slice it goes to the end of the queue. So nobody waits for a job,
// only for a slice of it.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

namespace espalier {

class TurnLock {
 public:
  void lock();
  bool try_lock();
  void unlock();
  // For who has the lock: lets the others go first, if there are any and a slice of work is done.
  void pause() {
    if (waiting_.load(std::memory_order_relaxed)) pause_slow();
  }
  void give_way();  // the same, whatever was done
  void forked();    // in the child, by the thread that held it over the fork: nobody else is left
  using Clock = std::chrono::steady_clock;
  static constexpr auto kSlice = std::chrono::microseconds(100);

 private:
  struct Waiter {
    std::condition_variable turn;
  };
  void wait(std::unique_lock<std::mutex>&);
  void pause_slow();
  void free_and_wake();

  std::atomic<bool> held_{false};
  std::atomic<std::uint32_t> waiting_{0};
  Clock::time_point since_{};  // of the holder, and written by it alone
  bool timed_ = false;         // since_ was read: not before somebody waits
  std::mutex queue_lock_;      // protects queue_
  std::deque<Waiter*> queue_;
};

}  // namespace espalier
