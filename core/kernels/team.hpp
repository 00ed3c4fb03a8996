// A team of threads that runs one function at a time on all its members and meets at barriers in between.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace espalier::kernels {

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Team {
 public:
  explicit Team(int size);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  int size() const { return size_; }

  // Runs work(thread) on every member, the caller being member 0; returns when all are done. One call at a time.
  void run(const std::function<void(int)>& work);

  // The next task of the current phase, or a number >= tasks when none is left.
  int take() { return next_.fetch_add(1, std::memory_order_relaxed); }

  // Waits until all members are here; then the tasks start again from 0. Spins first: phases last microseconds.
  void meet() {
    const unsigned round = round_.load(std::memory_order_acquire);
    if (here_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      next_.store(0, std::memory_order_relaxed);
      here_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) {
      if (spins < 3000) {
        pause_briefly();
      } else {
        std::this_thread::yield();  // another process has the other core
      }
    }
  }

 private:
  void serve(int thread);

  const int size_;
  std::vector<std::thread> threads_;
  std::mutex one_at_a_time_, mutex_;
  std::condition_variable wake_;
  const std::function<void(int)>* work_ = nullptr;
  alignas(64) std::atomic<unsigned> job_{0};
  std::atomic<bool> over_{false};
  alignas(64) std::atomic<int> next_{0};
  alignas(64) std::atomic<int> here_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

}  // namespace espalier::kernels
