// The kernels for any processor: the compiler spells out the vectors of sixteen in whatever the target has.
#include "kernels/model.hpp"
#include "kernels/team.hpp"

#if defined(__aarch64__)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace espalier::kernels {
namespace base {
#include "kernels/vector.hpp"
#include "kernels/gemm.hpp"
#include "kernels/attention.hpp"
#include "kernels/forward.hpp"
#include "kernels/rows.hpp"
}  // namespace base

const Kernels& kernels_base() {
  static const Kernels kernels{"base", base::forward, base::head, base::top, base::log_sum_exp};
  return kernels;
}

}  // namespace espalier::kernels
