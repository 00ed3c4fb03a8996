// A generation: one store of expressions with all that is remembered about them, and the lock under which it is used.
//
// What the engine learns it keeps, so its memory only grows. It is bounded by starting over: when a generation is full,
// what is made anew is made in the next one, and a generation is freed with the last guide and text that use it. A
// guide begins its next text in the newest generation, so an old one lives as long as its texts, not as its guides.
//
// A thread works in one generation at a time (Inside); the store and all parts are those of that generation.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/turn_lock.hpp"

#if defined(__linux__) && !defined(__clang__)
#define ESPALIER_TLS __attribute__((tls_model("initial-exec")))
#else
#define ESPALIER_TLS
#endif

namespace espalier {

// Who may have been stopped half-way by a fork: told so in the child.
class Interruptible {
 public:
  virtual void interrupted() {}
  bool busy =
      false;  // a thread is at work on it, perhaps waiting for its next turn; protected by its generation's lock

 protected:
  ~Interruptible() = default;
};

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  static std::shared_ptr<Generation> current();  // for what is made anew
  static Generation& here() { return *here_; }   // where this thread works
  static bool inside() { return here_ != nullptr; }
  static void bound(std::uint64_t bytes);  // for the process; 0: none
  static std::uint64_t bound();
  struct Report {
    std::uint64_t generations, bytes;  // alive; what they hold
  };
  static Report report();

  Generation();
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  bool full() const;
  void grown(std::uint64_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // What this generation owns of each type: a store, captured texts, masks … Made when first asked for, under the lock.
  template <class T>
  T& part() {
    const std::size_t at = slot<T>();
    if (!parts_[at]) parts_[at] = std::make_unique<Part<T>>();
    return static_cast<Part<T>*>(parts_[at].get())->value;
  }

  void forked();  // in the child of a fork, with the lock

  TurnLock lock;  // protects all parts

 private:
  friend class Inside;
  friend class AtWork;
  struct AnyPart {
    virtual ~AnyPart() = default;
  };
  template <class T>
  struct Part final : AnyPart {
    T value{};
  };
  static std::size_t next_slot();
  template <class T>
  static std::size_t slot() {
    static const std::size_t at = next_slot();
    return at;
  }
  inline static thread_local Generation* here_ ESPALIER_TLS = nullptr;
  std::array<std::unique_ptr<AnyPart>, 16> parts_;
  std::vector<Interruptible*> at_work_;  // who is busy
  std::atomic<std::uint64_t> bytes_{0};
};

// While one lives this thread works in the generation, with its lock. Within itself it does nothing.
class Inside {
 public:
  explicit Inside(Generation& g) : before_(Generation::here_), entered_(before_ != &g), generation_(g) {
    if (entered_) g.lock.lock();
    Generation::here_ = &g;
  }
  ~Inside() {
    Generation::here_ = before_;
    if (entered_) generation_.lock.unlock();
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  Generation* before_;
  bool entered_;
  Generation& generation_;
};

// While one lives these are at work: another thread that wants one of them waits, though it may have its turns.
class AtWork {
 public:
  explicit AtWork(const std::vector<Interruptible*>& who);
  ~AtWork();
  AtWork(const AtWork&) = delete;
  AtWork& operator=(const AtWork&) = delete;

 private:
  const std::vector<Interruptible*>& who_;
};

}  // namespace espalier
