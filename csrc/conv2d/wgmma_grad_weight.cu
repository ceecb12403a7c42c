#include "conv2d/tma_windows.h"
#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

// The sum over pixels is cut into parts by shape alone, which are added in order.
void wgmma_grad_weight(const ProductSizes& g, const Windows<BFloat16>& x, const BFloat16* dy, int64_t ld,
                       int64_t images, const MmaResult& dw) {
  constexpr int kWidth = Pack<BFloat16>::N;
  const MmaWindowColumns<BFloat16, false> left{shortened(x), static_cast<Index>(images), kWidth};
  const MmaMatrix<BFloat16, false, false> right{dy, ld, g.n, g.n, kWidth};
  const WgmmaPlan plan = plan_wgmma(g.m, g.n, g.k, g.batches, true, kWgmmaLimitsHere);
  in_parts(g, plan, dw, [&](const ProductSizes& sizes, const MmaSink<DenseRows>& sink) {
    if (tma_window_columns(sizes, plan.tile, x, dy, ld, images, sink)) return;
    with_wgmma_shape<BFloat16>(plan.tile, [&](auto shape) { launch_wgmma<decltype(shape)>(sizes, left, right, sink); });
  });
}

}  // namespace sixloop::cuda
