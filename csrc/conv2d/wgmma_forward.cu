#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

// In one part: the sum of a pixel does not depend on how many there are.
void wgmma_forward(const ProductSizes& g, const Windows<BFloat16>& x, const BFloat16* w, int64_t ld,
                   const MmaResult& y) {
  constexpr int kWidth = Pack<BFloat16>::N;
  const MmaWindowRows<BFloat16, false> left{shortened(x), g.m, kWidth};
  const MmaMatrix<BFloat16, false, false> right{w, ld, g.n, g.n, kWidth};
  with_wgmma_shape(plan_wgmma(g.m, g.n, g.k, g.batches, false, kWgmmaLimitsHere).tile,
                   [&](auto shape) { launch_wgmma<decltype(shape)>(g, left, right, mma_sink(y, DenseRows{y.ld})); });
}

}  // namespace sixloop::cuda
