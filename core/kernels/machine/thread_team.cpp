// Threads wait for a function, run it and meet.
#include "kernels/machine/thread_team.hpp"

namespace espalier::kernels {

Team::Team(int size) : size_(size < 1 ? 1 : size), next_(new Next[static_cast<std::size_t>(size_)]) {
  for (int thread = 1; thread < size_; ++thread) threads_.emplace_back([this, thread] { serve(thread); });
}

Team::~Team() {
  {
    std::lock_guard lock(mutex_);
    over_ = true;
    job_.fetch_add(1);
  }
  wake_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void Team::run(const std::function<void(int)>& work) {
  std::lock_guard alone(one_at_a_time_);
  work_ = &work;
  if (size_ > 1) {
    {
      std::lock_guard lock(mutex_);
      job_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
  }
  work(0);
  meet();  // nobody is inside `work` any more
}

void Team::serve(int thread) {
  unsigned seen = 0;
  for (;;) {
    // The next pass of a decoding loop comes within a fraction of a millisecond: wait awake for it, then sleep.
    for (int spins = 0; spins < 4000 && job_.load(std::memory_order_acquire) == seen; ++spins) pause_briefly();
    if (job_.load(std::memory_order_acquire) == seen) {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return job_.load(std::memory_order_acquire) != seen; });
    }
    seen = job_.load(std::memory_order_acquire);
    if (over_) return;
    (*work_)(thread);
    meet();
  }
}

}  // namespace espalier::kernels
