// Weights in few bits: groups of them as whole numbers with a scale, for pack.cpp.
//
// A checkpoint that was rounded to few bits before, and is given as floats, is found again exactly: of every group the
// scale (and the least) in half precision of which all weights are whole multiples.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace espalier::kernels {

inline std::uint16_t f16(float f) {
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

inline float from_f16(std::uint16_t h) {
  const std::uint32_t u = static_cast<std::uint32_t>(h & 0x7fff) << 13;
  float f;
  std::memcpy(&f, &u, 4);
  return (h & 0x8000 ? -1.0f : 1.0f) * f * 0x1p112f;
}

// A group of weights as `step` times whole numbers, plus `least`; both can be half precision.
struct Grid {
  float step = 0, least = 0;
  bool exact = false;
};

// The whole number of a weight on a grid, between `low` and `high`.
inline float digit_of(const Grid& grid, float weight, float low, float high) {
  return grid.step != 0 ? std::clamp(std::nearbyint((weight - grid.least) / grid.step), low, high) : 0;
}

inline bool lie_on(const Grid& grid, const float* weights, int live, float low, float high) {
  for (int k = 0; k < live; ++k)
    if (grid.step * digit_of(grid, weights[k], low, high) + grid.least != weights[k]) return false;
  return true;
}

// Whether all weights are nearly whole steps away from the first.
inline bool nearly_on(float step, const float* weights, int live) {
  for (int k = 1; k < live; ++k) {
    const float at = (weights[k] - weights[0]) / step;
    if (std::fabs(at - std::nearbyint(at)) > 1e-3f) return false;
  }
  return true;
}

// A grid of 16 steps, from either end of the weights, that holds them exactly, if there is one; else one from the least
// to the greatest. Q4_1 has its least on it; Q4_0, whose step may be negative, has 0 at the ninth.
inline Grid grid4(const float* weights, int live) {
  float low = live ? weights[0] : 0, high = low;
  for (int k = 1; k < live; ++k) low = std::min(low, weights[k]), high = std::max(high, weights[k]);
  if (low == high) {
    if (from_f16(f16(low)) == low) return {0, low, true};
    for (int n = -8; n < 8; ++n) {
      if (n == 0) continue;
      const float step = from_f16(f16(low / static_cast<float>(n)));
      const Grid grid{step, from_f16(f16(-8 * step)), true};
      if (lie_on(grid, weights, live, 0, 15)) return grid;
    }
    return {0, from_f16(f16(low)), false};
  }
  float widest = 0;
  for (int steps = 1; steps <= 15; ++steps) {
    const float unrounded = (high - low) / static_cast<float>(steps), step = from_f16(f16(unrounded));
    if (step == 0 || !nearly_on(unrounded, weights, live)) continue;
    if (widest == 0) widest = step;
    for (const float signed_step : {step, -step})
      for (int before = 0; before <= 15 - steps; ++before) {  // digits below the least weight's (the greatest's)
        const float end = signed_step > 0 ? low : high;
        const Grid grid{signed_step, from_f16(f16(end - static_cast<float>(before) * signed_step)), true};
        if (lie_on(grid, weights, live, 0, 15)) return grid;
      }
  }
  return {widest != 0 ? widest : from_f16(f16((high - low) / 15)), from_f16(f16(low)), false};
}

// The same for 8 bits with a scale alone.
inline Grid grid8(const float* weights, int live) {
  float top = 0;
  for (int k = 0; k < live; ++k) top = std::max(top, std::fabs(weights[k]));
  if (top == 0) return {0, 0, true};
  for (int steps = 128; steps >= 1; --steps) {
    const Grid grid{from_f16(f16(top / static_cast<float>(steps))), 0, true};
    if (lie_on(grid, weights, live, -128, 127)) return grid;
  }
  return {from_f16(f16(top / 127)), 0, false};
}

}  // namespace espalier::kernels
