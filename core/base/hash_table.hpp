// Tables for what is asked at every step. They look at one line of memory for most questions, and they grow a little
// with each entry: no mask waits while a million entries move.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace espalier {

// A vector of plain values whose growth moves pages, not bytes, once it is large.
template <class T>
class Run {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Run() = default;
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() { std::free(data_); }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  void push_back(const T& x) {
    const T copy = x;  // it may be one of ours
    reserve(size_ + 1);
    data_[size_++] = copy;
  }
  void append(const T* from, std::size_t n) {  // not from ourselves
    reserve(size_ + n);
    if (n) std::memcpy(static_cast<void*>(data_ + size_), from, n * sizeof(T));
    size_ += n;
  }

 private:
  void reserve(std::size_t n) {
    if (n <= capacity_) return;
    const std::size_t more = std::max<std::size_t>({n, 2 * capacity_, 64});
    void* const moved = std::realloc(static_cast<void*>(data_), more * sizeof(T));
    if (!moved) throw std::bad_alloc();
    data_ = static_cast<T*>(moved);
    capacity_ = more;
  }
  T* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

// Finds the number of an entry that is kept elsewhere by its hash.
class Index {
 public:
  static constexpr std::uint32_t kNone = 0xffffffff;

  template <class Same>
  std::uint32_t find(std::uint64_t hash, const Same& same) const {  // same(id): is this the entry?
    const std::uint32_t tag = tag_of(hash), id = now_.find(tag, same);
    return id == kNone && before_.slots ? before_.find(tag, same) : id;
  }
  void add(std::uint64_t hash, std::uint32_t id) {  // an entry that is not there
    if (2 * ++size_ > now_.mask + (now_.slots != nullptr)) grow();
    now_.put({tag_of(hash), id + 1});
    for (int k = 0; k < 8 && before_.slots; ++k) {
      if (before_.slots[moved_].id) now_.put(before_.slots[moved_]);
      if (moved_++ == before_.mask) before_ = {};
    }
  }
  void clear() { *this = {}; }

 private:
  static std::uint32_t tag_of(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash * 0x9e3779b97f4a7c15ull >> 32);
  }
  struct Slot {
    std::uint32_t tag, id;
  };  // id + 1; 0: free
  struct Free {
    void operator()(Slot* s) const { std::free(s); }
  };
  struct Part {
    std::unique_ptr<Slot[], Free> slots;
    std::size_t mask = 0;
    template <class Same>
    std::uint32_t find(std::uint32_t tag, const Same& same) const {
      if (!slots) return kNone;
      for (std::size_t i = tag & mask; slots[i].id; i = (i + 1) & mask) {
        if (slots[i].tag == tag && same(slots[i].id - 1)) return slots[i].id - 1;
      }
      return kNone;
    }
    void put(Slot s) {
      std::size_t i = s.tag & mask;
      while (slots[i].id) i = (i + 1) & mask;
      slots[i] = s;
    }
  };
  // Twice as many free slots (of zeros that the system hands out page by page); what was there moves later, 8 slots at
  // a time.
  void grow() {
    const std::size_t size = std::max<std::size_t>(64, 2 * (now_.mask + 1));
    Part more;
    more.slots.reset(static_cast<Slot*>(std::calloc(size, sizeof(Slot))));
    if (!more.slots) throw std::bad_alloc();
    more.mask = size - 1;
    if (now_.slots) before_ = std::move(now_), moved_ = 0;
    now_ = std::move(more);
  }
  Part now_, before_;
  std::size_t size_ = 0, moved_ = 0;
};

struct Plain {
  std::uint64_t operator()(std::uint64_t x) const { return x ^ x >> 32; }
};

// Values by key. A value stays where it is until clear().
template <class Key, class Value, class Hash = Plain>
class Table {
 public:
  Value* find(const Key& key) {
    const std::uint32_t id = index_.find(Hash{}(key), [&](std::uint32_t i) { return entries_[i].first == key; });
    return id == Index::kNone ? nullptr : &entries_[id].second;
  }
  Value& add(const Key& key, Value value) {  // that is not there
    entries_.emplace_back(key, std::move(value));
    index_.add(Hash{}(key), static_cast<std::uint32_t>(entries_.size() - 1));
    return entries_.back().second;
  }
  void clear() {
    entries_.clear();
    index_.clear();
  }

 private:
  std::deque<std::pair<Key, Value>> entries_;
  Index index_;
};

}  // namespace espalier
