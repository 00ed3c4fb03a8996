// The kernels for x86-64 with avx2; used only where the processor says it has them.
// Standard headers come first: their inline functions must not be compiled for this target, other files share them.
#include <algorithm>

#include "kernels/machine/thread_team.hpp"
#include "kernels/model.hpp"

#if defined(ESPALIER_X86)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi2"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,bmi2")
#endif
#define ESPALIER_AVX2 1

namespace espalier::kernels {
namespace avx2 {
// clang-format off: in this order, each uses what stands above it
#include "kernels/vector.hpp"
#include "kernels/narrow.hpp"
#include "kernels/products.hpp"
#include "kernels/whole_products.hpp"
#include "kernels/gemm.hpp"
#include "kernels/turned.hpp"
#include "kernels/attention.hpp"
#include "kernels/norms.hpp"
#include "kernels/forward.hpp"
#include "kernels/attend_tasks.hpp"
#include "kernels/sampling/rows.hpp"
#include "kernels/sampling/truncate.hpp"
#include "kernels/sampling/sample_token.hpp"
#include "kernels/machine/roofline.hpp"
// clang-format on
}  // namespace avx2

const Kernels& kernels_avx2() {
  static const Kernels kernels{"avx2",     avx2::forward,   avx2::head,     avx2::top, avx2::log_sum_exp,
                               avx2::draw, avx2::likeliest, avx2::products, avx2::read};
  return kernels;
}

}  // namespace espalier::kernels
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
