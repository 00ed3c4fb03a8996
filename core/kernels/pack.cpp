// How weights are laid out in panels, in each format.
#include "kernels/pack.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace espalier::kernels {

Buffer::Buffer(std::size_t bytes) { need(bytes); }

void Buffer::Free::operator()(std::byte* p) const { std::free(p); }

void Buffer::need(std::size_t bytes) {
  if (bytes <= size_) return;
  // A kernel loads whole vectors: leave it room behind the end.
  const std::size_t room = (bytes + 4096 + 63) / 64 * 64;
  auto* p = static_cast<std::byte*>(std::aligned_alloc(64, room));
  if (!p) throw std::bad_alloc();
  std::memset(p, 0, room);
  data_.reset(p);
  size_ = bytes;
}

void wish_large_pages([[maybe_unused]] std::byte* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(MADV_HUGEPAGE)
  const auto first = (reinterpret_cast<std::uintptr_t>(memory) + 4095) / 4096 * 4096,
             end = reinterpret_cast<std::uintptr_t>(memory) + bytes;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

std::shared_ptr<std::byte> memory_for_weights(std::size_t bytes) {
  constexpr std::size_t page = std::size_t{2} << 20, piece = std::size_t{32} << 20;
  static std::weak_ptr<std::byte> current;
  static std::size_t used = 0, size = 0;
  bytes = (bytes + 63) / 64 * 64;
  std::shared_ptr<std::byte> from = current.lock();
  if (!from || size - used < bytes) {
    size = std::max(piece, (bytes + page - 1) / page * page);
    from.reset(static_cast<std::byte*>(std::aligned_alloc(page, size)), [](std::byte* p) { std::free(p); });
    if (!from) throw std::bad_alloc();
    wish_large_pages(from.get(), size);
    current = from;
    used = 0;
  }
  std::byte* at = from.get() + used;
  used += bytes;
  std::memset(at, 0, bytes);
  return {from, at};
}

void Packed::measure(Kind kind, int out) {
  matrix_.kind = kind;
  matrix_.out = out;
  matrix_.depth = padded(in_);
  matrix_.panels = (out + panel_width - 1) / panel_width;
  bytes_ = matrix_.panel_bytes() * static_cast<std::size_t>(matrix_.panels);
}

Packed::Packed(Kind kind, int out, int in) : in_(in) {
  measure(kind, out);
  data_ = memory_for_weights(bytes_);
  matrix_.data = data_.get();
}

Packed::Packed(Kind kind, int out, int in, std::shared_ptr<const std::byte> memory)
    : in_(in), shared_(std::move(memory)) {
  measure(kind, out);
  matrix_.data = shared_.get();
}

void Packed::bias(const float* bias) {
  bias_.need(sizeof(float) * static_cast<std::size_t>(matrix_.panels) * panel_width);
  std::memcpy(bias_.data(), bias, sizeof(float) * static_cast<std::size_t>(matrix_.out));
  matrix_.bias = bias_.floats();
}

void Packed::fill(int first, int rows, const float* weights) {
  for (int row = 0; row < rows; row += panel_width)
    fill_panel((first + row) / panel_width, std::min(panel_width, rows - row),
               weights + static_cast<std::size_t>(row) * in_);
}

namespace {

std::uint16_t bf16(float f) {
  std::uint32_t u;
  std::memcpy(&u, &f, 4);
  return static_cast<std::uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

// One group of one output: the weights with the scale that takes the largest to 127. Stored plus 128.
void quantise(const float* weights, int live, std::byte* to, float* scale) {
  float top = 0;
  for (int k = 0; k < live; ++k) top = std::max(top, std::fabs(weights[k]));
  *scale = top / 127;
  for (int k = 0; k < group_width; ++k) {
    const float w = k < live && top > 0 ? weights[k] * (127 / top) : 0;
    to[k / 4 * panel_width * 4 + k % 4] = static_cast<std::byte>(static_cast<int>(std::nearbyint(w)) + 128);
  }
}

std::uint16_t f16(float f) {
  std::uint32_t u;
  std::memcpy(&u, &f, 4);
  const std::uint32_t sign = u >> 16 & 0x8000, size = u & 0x7fffffff;
  if (size >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7bff);  // the greatest there is
  if (size < 0x38800000) {                                                   // denormal: steps of 2^-24
    float magnitude;
    std::memcpy(&magnitude, &size, 4);
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(std::nearbyint(magnitude * 0x1p24f)));
  }
  return static_cast<std::uint16_t>(sign | ((size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13));
}

float from_f16(std::uint16_t h) {
  const std::uint32_t u = static_cast<std::uint32_t>(h & 0x7fff) << 13;
  float f;
  std::memcpy(&f, &u, 4);
  return (h & 0x8000 ? -1.0f : 1.0f) * f * 0x1p112f;
}

// The widest step of which all of these weights lie whole steps above the least: that of a checkpoint that was rounded
// to 4 bits before is found again. Else a fifteenth of their range.
float step_of(const float* weights, int live, float least, float range) {
  for (int steps = 1; steps < 15; ++steps) {
    const float scale = static_cast<float>(steps) / range;
    int k = 0;
    for (; k < live; ++k) {
      const float at = (weights[k] - least) * scale;
      if (std::fabs(at - std::nearbyint(at)) > 1e-3f) break;
    }
    if (k == live) return range / static_cast<float>(steps);
  }
  return range / 15;
}

// Half a group of one output, in the low or the high digits of its bytes.
void quantise4(const float* weights, int live, std::byte* to, int half, std::uint16_t* scale, std::uint16_t* least) {
  float low = live ? weights[0] : 0, high = low;
  for (int k = 1; k < live; ++k) low = std::min(low, weights[k]), high = std::max(high, weights[k]);
  *scale = high > low ? f16(step_of(weights, live, low, high - low)) : 0;
  *least = f16(low);
  const float step = from_f16(*scale), from = from_f16(*least);
  for (int k = 0; k < group_width / 2; ++k) {
    const float digit = k < live && step > 0 ? std::clamp(std::nearbyint((weights[k] - from) / step), 0.0f, 15.0f) : 0;
    to[k / 4 * panel_width * 4 + k % 4] |= static_cast<std::byte>(static_cast<int>(digit) << 4 * half);
  }
}

}  // namespace

void Packed::fill_panel(int panel, int live, const float* weights) {
  std::byte* to = data_.get() + matrix_.panel_bytes() * static_cast<std::size_t>(panel);
  for (int o = 0; o < panel_width; ++o) {
    const float* row = weights + static_cast<std::size_t>(o) * in_;
    const int count = o < live ? in_ : 0;
    if (matrix_.kind == Kind::f32) {
      for (int k = 0; k < count; ++k) reinterpret_cast<float*>(to)[k * panel_width + o] = row[k];
    } else if (matrix_.kind == Kind::bf16) {
      for (int k = 0; k < count; ++k)
        reinterpret_cast<std::uint16_t*>(to)[k / 2 * panel_width * 2 + o * 2 + k % 2] = bf16(row[k]);
    } else if (matrix_.kind == Kind::i4) {
      for (int k = 0; k < matrix_.depth; k += group_width) {
        std::byte* group = to + static_cast<std::size_t>(k / group_width) * group4_bytes;
        for (int at = 0; at < group_width * panel_width / 2; at += 4 * panel_width)
          std::memset(group + at + 4 * o, 0, 4);
        auto* scales = reinterpret_cast<std::uint16_t*>(group + group_width * panel_width / 2) + o;
        for (int half = 0; half < 2; ++half) {
          const int first = k + half * group_width / 2, live = std::clamp(count - first, 0, group_width / 2);
          quantise4(row + first, live, group + o * 4, half, scales + half * panel_width,
                    scales + (2 + half) * panel_width);
        }
      }
    } else {
      for (int k = 0; k < matrix_.depth; k += group_width) {
        std::byte* group = to + static_cast<std::size_t>(k / group_width) * group_bytes;
        float* scales = reinterpret_cast<float*>(group + group_width * panel_width);
        quantise(row + k, std::clamp(count - k, 0, group_width), group + o * 4, scales + o);
      }
    }
  }
}

void Packed::read_panel(int panel, float* weights) const {
  const std::byte* from = matrix_.data + matrix_.panel_bytes() * static_cast<std::size_t>(panel);
  for (int o = 0; o < panel_width; ++o) {
    for (int k = 0; k < in_; ++k) {
      std::uint32_t u;
      if (matrix_.kind == Kind::f32) {
        u = reinterpret_cast<const std::uint32_t*>(from)[k * panel_width + o];
      } else {
        u = std::uint32_t{reinterpret_cast<const std::uint16_t*>(from)[k / 2 * panel_width * 2 + o * 2 + k % 2]} << 16;
      }
      std::memcpy(weights++, &u, 4);
    }
  }
}

std::shared_ptr<Packed> Packed::rounded(Kind kind) const {
  auto made = std::make_shared<Packed>(kind, matrix_.out, in_);
  std::vector<float> weights(static_cast<std::size_t>(panel_width) * in_);
  for (int panel = 0; panel < matrix_.panels; ++panel) {
    read_panel(panel, weights.data());
    made->fill_panel(panel, std::min(panel_width, matrix_.out - panel * panel_width), weights.data());
  }
  if (matrix_.bias) made->bias(matrix_.bias);
  return made;
}

}  // namespace espalier::kernels
