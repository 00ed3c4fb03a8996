// An array that only grows, whose elements stay where they are, so that they can be read without a lock: chunks of 64,
// 64, 128, 256 … elements, of zeros until they are written.
//
// One thread writes at a time (under the lock of the generation). A reader may look at whatever element it was told of
// by the writer, and with `find` at any.
#pragma once
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace espalier {

template <class T>
class Shelf {
 public:
  Shelf() = default;
  Shelf(const Shelf&) = delete;
  Shelf& operator=(const Shelf&) = delete;
  ~Shelf() {
    for (auto& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
  }
  T& operator[](std::uint32_t i) {
    const auto [chunk, at] = place(i);
    return chunks_[chunk].load(std::memory_order_acquire)[at];
  }
  const T& operator[](std::uint32_t i) const { return const_cast<Shelf&>(*this)[i]; }
  const T* find(std::uint32_t i) const {  // nullptr if there is no room for it yet
    const auto [chunk, at] = place(i);
    const T* const all = chunks_[chunk].load(std::memory_order_acquire);
    return all ? all + at : nullptr;
  }
  T& make(std::uint32_t i) {  // by the writer: with room for it
    const auto [chunk, at] = place(i);
    T* all = chunks_[chunk].load(std::memory_order_relaxed);
    if (!all) {
      all = new T[chunk == 0 ? 64 : std::size_t{32} << chunk]();
      chunks_[chunk].store(all, std::memory_order_release);
    }
    return all[at];
  }

 private:
  struct Place {
    std::uint32_t chunk, at;
  };
  static Place place(std::uint32_t i) {
    if (i < 64) return {0, i};
    const auto width = static_cast<std::uint32_t>(std::bit_width(i));  // 7 for 64 … 127
    return {width - 6, i - (1u << (width - 1))};
  }
  std::array<std::atomic<T*>, 27> chunks_{};
};

}  // namespace espalier
