// The kernels for any processor: the compiler spells out the vectors of sixteen in whatever the target has.
#include <algorithm>

#include "kernels/machine/thread_team.hpp"
#include "kernels/model.hpp"

#if defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace espalier::kernels {
namespace base {
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
}  // namespace base

const Kernels& kernels_base() {
  static const Kernels kernels{"base",     base::forward,   base::head,     base::top, base::log_sum_exp,
                               base::draw, base::likeliest, base::products, base::read};
  return kernels;
}

}  // namespace espalier::kernels
