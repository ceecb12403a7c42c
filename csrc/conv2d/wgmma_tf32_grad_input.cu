#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

void wgmma_grad_input(const ProductSizes& g, const Windows<float>& dy, const MmaFilters<float>& w,
                      const MmaPhaseRows& rows, const MmaResult& dx) {
  constexpr int kWidth = Pack<float>::N;
  const Tf32Taps taps{w.data + w.first, w.step_i, w.step_j, w.step_x, w.group_step, w.taps_w, w.run};
  const Tensor filters = tf32_rows(taps, g.n, g.k, g.batches);
  const MmaWindowRows<float, false> left{shortened(dy), g.m, kWidth};
  const MmaMatrix<float, true, false> right{filters.data<float>(), g.k, g.n, g.n * g.k, kWidth};
  with_wgmma_shape<float>(plan_wgmma(g.m, g.n, g.k, g.batches, false, kWgmmaLimitsHere).tile,
                          [&](auto shape) { launch_wgmma<decltype(shape)>(g, left, right, mma_sink(dx, rows)); });
}

}  // namespace sixloop::cuda
