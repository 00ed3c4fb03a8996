// Which generation is the current one, and when the next begins.
#include "base/generation.hpp"

#include <pthread.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace espalier {

namespace {

// Of the process, and never destroyed: guides may outlive main(). A thread that has a generation's lock may take this
// one; not the other way round.
struct Registry {
  std::mutex lock;  // protects `alive` and `current`
  std::vector<std::weak_ptr<Generation>> alive;
  std::shared_ptr<Generation> current;
  std::atomic<std::uint64_t> bound{256u << 20};
  std::vector<std::shared_ptr<Generation>> held;  // over a fork, by the thread that forks
};

Registry& registry() {
  static Registry* all = new Registry;
  return *all;
}

std::vector<std::shared_ptr<Generation>> living(const Registry& r) {  // with r.lock
  std::vector<std::shared_ptr<Generation>> out;
  for (const auto& weak : r.alive) {
    if (auto g = weak.lock()) out.push_back(std::move(g));
  }
  return out;
}

bool mine(const Generation* g) { return Generation::inside() && &Generation::here() == g; }

// A fork copies one thread. It takes all locks first, so that nothing is half-way but jobs that wait for their next
// turn; in the child these are over.
void before_fork() {
  Registry& r = registry();
  for (;;) {
    r.lock.lock();
    r.held = living(r);
    r.lock.unlock();
    for (const auto& g : r.held) {
      if (!mine(g.get())) g->lock.lock();
    }
    r.lock.lock();
    if (living(r) == r.held) return;
    r.lock.unlock();
    for (const auto& g : r.held) {
      if (!mine(g.get())) g->lock.unlock();
    }
  }
}

void after_fork(bool child) {
  Registry& r = registry();
  for (const auto& g : r.held) {
    if (mine(g.get())) continue;
    if (child) g->forked();
    else g->lock.unlock();
  }
  const auto held = std::exchange(r.held, {});  // freed after the lock
  r.lock.unlock();
}

}  // namespace

void Generation::forked() {
  lock.forked();
  for (Interruptible* who : at_work_) {
    who->busy = false;
    who->interrupted();
  }
  at_work_.clear();
}

std::size_t Generation::next_slot() {
  static std::atomic<std::size_t> next{0};
  return next++;
}

Generation::Generation() = default;

Generation::~Generation() {
  Registry& r = registry();
  const std::lock_guard<std::mutex> guard(r.lock);
  std::erase_if(r.alive, [](const auto& weak) { return weak.expired(); });
}

std::shared_ptr<Generation> Generation::current() {
  static const int watched = pthread_atfork(before_fork, [] { after_fork(false); }, [] { after_fork(true); });
  static_cast<void>(watched);
  Registry& r = registry();
  std::shared_ptr<Generation> old;  // freed after the lock
  const std::lock_guard<std::mutex> guard(r.lock);
  if (!r.current || r.current->full()) {
    old = std::exchange(r.current, std::make_shared<Generation>());
    r.alive.push_back(r.current);
  }
  return r.current;
}

// A quarter of the bound: while texts of the last generation go on, and of the one before, the next one fills.
bool Generation::full() const {
  const std::uint64_t bound = registry().bound.load(std::memory_order_relaxed);
  return bound != 0 && bytes() > bound / 4;
}

void Generation::bound(std::uint64_t bytes) { registry().bound = bytes; }
std::uint64_t Generation::bound() { return registry().bound; }

Generation::Report Generation::report() {
  Registry& r = registry();
  std::vector<std::shared_ptr<Generation>> all;
  {
    const std::lock_guard<std::mutex> guard(r.lock);
    all = living(r);
  }
  Report out{all.size(), 0};
  for (const auto& g : all) out.bytes += g->bytes();
  return out;
}

AtWork::AtWork(const std::vector<Interruptible*>& who) : who_(who) {
  Generation& g = Generation::here();
  while (std::any_of(who_.begin(), who_.end(), [](const Interruptible* w) { return w->busy; })) g.lock.give_way();
  for (Interruptible* w : who_) {
    w->busy = true;
    g.at_work_.push_back(w);
  }
}

AtWork::~AtWork() {
  Generation& g = Generation::here();
  for (Interruptible* w : who_) {
    w->busy = false;
    std::erase(g.at_work_, w);
  }
}

}  // namespace espalier
