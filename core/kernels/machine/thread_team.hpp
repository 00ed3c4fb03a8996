// A team of threads that runs one function at a time on all its members and meets at barriers in between.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
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

  // The next task of the current phase for this thread, or `tasks` when none is left. Every thread has a run of tasks
  // of its own, so that what it reads next follows what it reads now; who is done with his helps the others.
  int take(int thread, int tasks) {
    for (int k = 0; k < size_; ++k) {
      const int owner = thread + k < size_ ? thread + k : thread + k - size_;
      const int task = first(owner, tasks) + next_[owner].taken.fetch_add(1, std::memory_order_relaxed);
      if (task < first(owner + 1, tasks)) return task;
    }
    return tasks;
  }

  // Where a thread's run of tasks begins.
  int first(int thread, int tasks) const { return static_cast<int>(static_cast<long long>(tasks) * thread / size_); }

  // Waits until all members are here; then the tasks start again from 0. Spins first: phases last microseconds.
  void meet() {
    const unsigned round = round_.load(std::memory_order_acquire);
    if (here_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      for (int thread = 0; thread < size_; ++thread) next_[thread].taken.store(0, std::memory_order_relaxed);
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
  struct alignas(64) Next {
    std::atomic<int> taken{0};
  };
  const std::unique_ptr<Next[]> next_;
  alignas(64) std::atomic<int> here_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

}  // namespace espalier::kernels
