#include "conv2d/tma_windows.h"
#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

void wgmma_grad_input(const ProductSizes& g, const Windows<BFloat16>& dy, const MmaFilters<BFloat16>& w,
                      const MmaPhaseRows& rows, const MmaResult& dx) {
  constexpr int kWidth = Pack<BFloat16>::N;
  const WgmmaTile tile = plan_wgmma(g.m, g.n, g.k, g.batches, false, kWgmmaLimitsHere).tile;
  const auto sink = mma_sink(dx, rows);
  const int64_t filter = int64_t{w.step_x} * w.x_end;  // elements of a tap
  if (tma_windows<true>(g, tile, dy, {w.data, filter, w.first / filter, w.step_i / filter, w.step_j / filter}, sink)) {
    return;
  }
  const MmaWindowRows<BFloat16, false> left{shortened(dy), g.m, kWidth};
  const MmaFilterColumns<BFloat16, false> right{w, kWidth};
  with_wgmma_shape<BFloat16>(tile, [&](auto shape) { launch_wgmma<decltype(shape)>(g, left, right, sink); });
}

}  // namespace sixloop::cuda
