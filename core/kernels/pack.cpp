// How weights are laid out in panels, in each format.
#include "kernels/pack.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/quantise.hpp"

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

constexpr int half_width = group_width / 2;

// One group of int8 of one output: the scale takes the largest to 127.
void quantise8(const float* weights, int live, std::byte* to, float* scale) {
  float top = 0;
  for (int k = 0; k < live; ++k) top = std::max(top, std::fabs(weights[k]));
  *scale = top / 127;
  for (int k = 0; k < group_width; ++k) {
    const float w = k < live && top > 0 ? weights[k] * (127 / top) : 0;
    to[k / 4 * panel_width * 4 + k % 4] = static_cast<std::byte>(static_cast<int>(std::nearbyint(w)) + 128);
  }
}

// A weight's place among the quads of its group, of which the outputs lie side by side.
constexpr int quads(int k) { return k / 4 * panel_width * 4 + k % 4; }

// The scales of a group's halves, in half precision, behind its weights; in int4 its leasts follow them.
template <class Byte>
auto* halves_of(Kind kind, Byte* group) {
  using To = std::conditional_t<std::is_const_v<Byte>, const std::uint16_t, std::uint16_t>;
  return reinterpret_cast<To*>(group + group_width * panel_width / (kind == Kind::i4 ? 2 : 1));
}

void fill_group(Kind kind, std::byte* group, int o, const float* weights, int live) {
  std::byte* const to = group + 4 * o;
  if (kind == Kind::i8)
    return quantise8(weights, live, to, reinterpret_cast<float*>(group + group_width * panel_width) + o);
  auto* const halves = halves_of(kind, group) + o;
  if (kind == Kind::i4)
    for (int k = 0; k < half_width; ++k) to[quads(k)] = std::byte{0};
  for (int half = 0; half < 2; ++half) {
    const float* from = weights + half * half_width;
    const int here = std::clamp(live - half * half_width, 0, half_width);
    const Grid grid = kind == Kind::i4 ? grid4(from, here) : grid8(from, here);
    halves[half * panel_width] = f16(grid.step);
    if (kind == Kind::i4) halves[(2 + half) * panel_width] = f16(grid.least);
    for (int k = 0; k < half_width; ++k) {
      const float w = k < here ? from[k] : grid.least;
      if (kind == Kind::i4) {
        to[quads(k)] |= static_cast<std::byte>(static_cast<int>(digit_of(grid, w, 0, 15)) << 4 * half);
      } else {
        to[quads(k + half * half_width)] = static_cast<std::byte>(static_cast<int>(digit_of(grid, w, -128, 127)) + 128);
      }
    }
  }
}

// Weight k of output o of a group, as a product takes it.
float weight_of(Kind kind, const std::byte* group, int o, int k) {
  const int half = k / half_width;
  if (kind == Kind::i4) {
    const auto* halves = halves_of(kind, group) + o + half * panel_width;
    const int digit = static_cast<int>(group[4 * o + quads(k % half_width)] >> 4 * half) & 15;
    return from_f16(halves[0]) * static_cast<float>(digit) + from_f16(halves[2 * panel_width]);
  }
  const auto whole = static_cast<float>(static_cast<int>(group[4 * o + quads(k)]) - 128);
  if (kind == Kind::q8) return whole * from_f16(halves_of(kind, group)[o + half * panel_width]);
  return whole * reinterpret_cast<const float*>(group + group_width * panel_width)[o];
}

}  // namespace

bool holds(Kind kind, std::size_t rows, int in, const float* weights) {
  for (const float* end = weights + rows * static_cast<std::size_t>(in); weights < end; weights += in)
    for (int k = 0; k < in; k += half_width) {
      const int live = std::min(half_width, in - k);
      if (!(kind == Kind::i4 ? grid4(weights + k, live) : grid8(weights + k, live)).exact) return false;
    }
  return true;
}

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
    } else {
      const std::size_t size = matrix_.kind == Kind::i4 ? group4_bytes : group_bytes;
      for (int k = 0; k < matrix_.depth; k += group_width, to += size)
        fill_group(matrix_.kind, to, o, row + k, std::clamp(count - k, 0, group_width));
      to -= size * static_cast<std::size_t>(matrix_.depth / group_width);
    }
  }
}

void Packed::read_panel(int panel, int live, float* weights) const {
  const std::byte* from = matrix_.data + matrix_.panel_bytes() * static_cast<std::size_t>(panel);
  for (int o = 0; o < live; ++o) {
    for (int k = 0; k < in_; ++k) {
      std::uint32_t u;
      if (matrix_.kind == Kind::f32) {
        u = reinterpret_cast<const std::uint32_t*>(from)[k * panel_width + o];
      } else if (matrix_.kind == Kind::bf16) {
        u = std::uint32_t{reinterpret_cast<const std::uint16_t*>(from)[k / 2 * panel_width * 2 + o * 2 + k % 2]} << 16;
      } else {
        const std::size_t size = matrix_.kind == Kind::i4 ? group4_bytes : group_bytes;
        *weights++ =
            weight_of(matrix_.kind, from + size * static_cast<std::size_t>(k / group_width), o, k % group_width);
        continue;
      }
      std::memcpy(weights++, &u, 4);
    }
  }
}

void Packed::expand(float* weights) const {
  for (int panel = 0; panel < matrix_.panels; ++panel)
    read_panel(panel, std::min(panel_width, matrix_.out - panel * panel_width),
               weights + static_cast<std::size_t>(panel) * panel_width * in_);
}

std::shared_ptr<Packed> Packed::rounded(Kind kind) const {
  auto made = std::make_shared<Packed>(kind, matrix_.out, in_);
  std::vector<float> weights(static_cast<std::size_t>(panel_width) * in_);
  for (int panel = 0; panel < matrix_.panels; ++panel) {
    const int live = std::min(panel_width, matrix_.out - panel * panel_width);
    read_panel(panel, live, weights.data());
    made->fill_panel(panel, live, weights.data());
  }
  if (matrix_.bias) made->bias(matrix_.bias);
  return made;
}

}  // namespace espalier::kernels
