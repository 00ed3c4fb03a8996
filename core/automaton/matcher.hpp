// Runs a machine over bytes. States are hash-consed sets of items, so equal situations share everything that is
// remembered.
#pragma once
#include <atomic>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "automaton/machine.hpp"
#include "base/budget.hpp"
#include "base/hash_table.hpp"
#include "base/stable_vector.hpp"

namespace espalier {

using State = std::uint32_t;  // of one matcher; 0 = no text of the language begins like this

class Matcher {
 public:
  // `guide` is whose life this is: looked at, never used.
  Matcher(std::shared_ptr<Machine> machine, std::string name, Limits limits = {}, const void* guide = nullptr);
  const void* guide() const { return guide_; }

  State start();
  State advance(State, std::string_view bytes);
  bool accepts(State s) const { return states_[s].accepts; }
  // The same state where texts that were captured stand for all of their sort, if the machine knows that what follows
  // is the same but for what may not be repeated: names of one sort have one state.
  State sorted(State);
  std::string forced(State,
                     std::size_t limit);  // the bytes that every continuation begins with, while the text may not end
  bool matches(std::string_view bytes);

  std::span<const Item> items(State s) const { return states_[s].items; }
  Machine& machine() { return *machine_; }
  std::shared_ptr<Machine> shared_machine() const { return machine_; }
  const Limits& limits() const { return limits_; }
  const std::string& name() const { return name_; }
  std::size_t size() const { return size_; }
  Generation& home() const { return machine_->home(); }
  Life& life() { return life_; }
  const Life& life() const { return life_; }
  const std::vector<Interruptible*>& workers() const { return workers_; }  // to be at work on it

  // What others keep for as long as this matcher lives; found without a lock, kept with it.
  void* kept(std::uint64_t key) const {
    for (const Kept* k = kept_.load(std::memory_order_acquire); k; k = k->next) {
      if (k->key == key) return k->value.get();
    }
    return nullptr;
  }
  void keep(std::uint64_t key, std::shared_ptr<void> value) {
    kept_pool_.push_back({key, std::move(value), kept_.load(std::memory_order_relaxed)});
    kept_.store(&kept_pool_.back(), std::memory_order_release);
  }

  // The same error, with where in the schema or grammar it happened.
  [[noreturn]] void over_limit(const OverLimit&, std::span<const Item> at);

  // The items after one more byte are appended to `out`; true if the text may end there.
  bool step(std::span<const Item> from, std::uint8_t byte, std::vector<Item>& out);

 private:
  struct Data {
    std::vector<Item> items;
    bool accepts = false;
  };
  std::size_t advance_run(std::span<const Item> from, std::string_view bytes, std::vector<Item>& out);
  State intern(std::vector<Item>&, bool accepts);
  State add(Data);
  void settle(std::vector<Item>&);  // sorted, each once, joined where the machine can
  std::shared_ptr<Machine> machine_;
  std::string name_;
  Limits limits_;
  const void* guide_;
  Shelf<Data> states_;
  std::uint32_t size_ = 0;
  Life life_;
  std::vector<Interruptible*> workers_;
  Index ids_;
  State start_ = 0;
  std::unordered_map<State, State> sorted_;
  struct Kept {
    std::uint64_t key;
    std::shared_ptr<void> value;
    const Kept* next;
  };
  std::deque<Kept> kept_pool_;
  std::atomic<const Kept*> kept_{nullptr};
};

// A machine for one expression.
std::shared_ptr<Machine> regular_machine(Re);

}  // namespace espalier
