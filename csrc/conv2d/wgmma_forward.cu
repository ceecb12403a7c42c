#include "conv2d/tma_windows.h"
#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

// In one part: the sum of a pixel does not depend on how many there are.
void wgmma_forward(const ProductSizes& g, const Windows<BFloat16>& x, const BFloat16* w, int64_t ld,
                   const MmaResult& y) {
  constexpr int kWidth = Pack<BFloat16>::N;
  const WgmmaTile tile = plan_wgmma(g.m, g.n, g.k, g.batches, false, kWgmmaLimitsHere).tile;
  const auto sink = mma_sink(y, DenseRows{y.ld});
  if (tma_windows<false>(g, tile, x, {w, x.run * ld, 0, x.taps_w, 1}, sink)) return;
  const MmaWindowRows<BFloat16, false> left{shortened(x), g.m, kWidth};
  const MmaMatrix<BFloat16, false, false> right{w, ld, g.n, g.n, kWidth};
  with_wgmma_shape<BFloat16>(tile, [&](auto shape) { launch_wgmma<decltype(shape)>(g, left, right, sink); });
}

}  // namespace sixloop::cuda
