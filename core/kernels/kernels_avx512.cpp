// The kernels for x86-64 with avx512, bf16 and vnni (Zen 4, Sapphire Rapids and later); used only where the processor
// says it has them. Standard headers come first: their inline functions must not be compiled for this target, other
// files share them.
#include <algorithm>

#include "kernels/machine/thread_team.hpp"
#include "kernels/model.hpp"

#if defined(ESPALIER_X86)
#include <immintrin.h>
#if defined(__clang__)
#pragma clang attribute push(                                                                                          \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,avx512vbmi,avx2,fma,f16c,bmi2"))), \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,avx512vbmi,avx2,fma,f16c,bmi2")
#endif
#define ESPALIER_AVX512 1

namespace espalier::kernels {
namespace avx512 {
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
}  // namespace avx512

const Kernels& kernels_avx512() {
  static const Kernels kernels{"avx512",     avx512::forward,   avx512::head,     avx512::top, avx512::log_sum_exp,
                               avx512::draw, avx512::likeliest, avx512::products, avx512::read};
  return kernels;
}

}  // namespace espalier::kernels
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
