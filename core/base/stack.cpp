// How much of the stack of a thread is left.
#include "base/stack.hpp"

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace espalier {

namespace {

constexpr std::size_t kReserve = 96 * 1024;  // for what one level calls

struct Bounds {
  std::uintptr_t low = 0;
  std::size_t size = 0;
};

Bounds bounds() {
  Bounds b;
#if defined(__APPLE__)
  b.size = pthread_get_stacksize_np(pthread_self());
  b.low = reinterpret_cast<std::uintptr_t>(pthread_get_stackaddr_np(pthread_self())) - b.size;
#else
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return b;
  void* low = nullptr;
  pthread_attr_getstack(&attributes, &low, &b.size);
  pthread_attr_destroy(&attributes);
  b.low = reinterpret_cast<std::uintptr_t>(low);
#endif
  return b;
}

}  // namespace

void need_stack() {
  static thread_local const Bounds b = bounds();
  if (b.size == 0 || reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) > b.low + kReserve) return;
  throw GrammarError("nested too deeply for the stack of this thread (" + std::to_string(b.size / 1024) +
                     " KB): nest less, or give the thread more with threading.stack_size");
}

}  // namespace espalier
