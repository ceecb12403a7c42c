#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

void wgmma_grad_input(const ProductSizes& g, const Windows<BFloat16>& dy, const MmaFilters<BFloat16>& w,
                      const MmaPhaseRows& rows, const MmaResult& dx) {
  constexpr int kWidth = Pack<BFloat16>::N;
  const MmaWindowRows<BFloat16, false> left{shortened(dy), g.m, kWidth};
  const MmaFilterColumns<BFloat16, false> right{w, kWidth};
  with_wgmma_shape(plan_wgmma(g.m, g.n, g.k, g.batches, false, kWgmmaLimitsHere).tile,
                   [&](auto shape) { launch_wgmma<decltype(shape)>(g, left, right, mma_sink(dx, rows)); });
}

}  // namespace sixloop::cuda
