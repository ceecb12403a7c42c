#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

void wgmma_forward(const ProductSizes& g, const Windows<float>& x, const float* w, int64_t ld, const MmaResult& y) {
  constexpr int kWidth = Pack<float>::N;
  const Tensor filters = tf32_rows({w, false, ld, g.n, g.n, kWidth}, g.k, g.batches);
  const MmaWindowRows<float, false> left{shortened(x), g.m, kWidth};
  const MmaMatrix<float, true, false> right{filters.data<float>(), g.k, g.n, g.n * g.k, kWidth};
  with_wgmma_shape<float>(plan_wgmma(g.m, g.n, g.k, g.batches, false, kWgmmaLimitsHere).tile, [&](auto shape) {
    launch_wgmma<decltype(shape)>(g, left, right, mma_sink(y, DenseRows{y.ld}));
  });
}

}  // namespace sixloop::cuda
