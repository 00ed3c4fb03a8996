// Waiters stand in a queue; the holder gives the lock to the first of them.
#include "base/turn_lock.hpp"

#include <new>

namespace espalier {

bool TurnLock::try_lock() {
  if (waiting_.load() != 0 || held_.exchange(true)) return false;
  timed_ = false;
  return true;
}

void TurnLock::lock() {
  if (try_lock()) return;
  std::unique_lock<std::mutex> lock(queue_lock_);
  wait(lock);
}

// At the end of the queue. Whoever frees the lock wakes the first; who is first takes it when it is free.
void TurnLock::wait(std::unique_lock<std::mutex>& lock) {
  Waiter me;
  queue_.push_back(&me);
  ++waiting_;
  while (queue_.front() != &me || held_.exchange(true)) me.turn.wait(lock);
  queue_.pop_front();
  --waiting_;
  timed_ = false;
}

void TurnLock::free_and_wake() {
  held_.store(false);
  if (waiting_.load() == 0) return;
  const std::lock_guard<std::mutex> lock(queue_lock_);
  if (!queue_.empty()) queue_.front()->turn.notify_one();
}

void TurnLock::unlock() { free_and_wake(); }

void TurnLock::pause_slow() {
  const Clock::time_point now = Clock::now();
  if (!timed_) {  // what was done before somebody came is not counted: it costs a look at the clock
    timed_ = true;
    since_ = now;
    return;
  }
  if (now - since_ >= kSlice) give_way();
}

void TurnLock::give_way() {
  std::unique_lock<std::mutex> lock(queue_lock_);
  if (queue_.empty()) return;
  held_.store(false);
  queue_.front()->turn.notify_one();
  wait(lock);
}

void TurnLock::forked() {
  new (&queue_lock_) std::mutex;      // another thread may have had it
  new (&queue_) std::deque<Waiter*>;  // its entries lie on stacks that are gone
  waiting_ = 0;
  held_ = false;
}

}  // namespace espalier
