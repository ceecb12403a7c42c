#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

// Windows lie across k, as A may; dy becomes rows along k.
void wgmma_grad_weight(const ProductSizes& g, const Windows<float>& x, const float* dy, int64_t ld, int64_t images,
                       const MmaResult& dw) {
  constexpr int kWidth = Pack<float>::N;
  const Tensor rows = tf32_rows({dy, false, ld, g.n, g.n, kWidth}, g.k, g.batches);
  const MmaOperand<float> turned = tf32_operand(rows);
  const MmaWindowColumns<float, false> left{shortened(x), static_cast<Index>(images), kWidth};
  const MmaMatrix<float, true, false> right{turned.data, turned.ld, g.n, turned.batch_step, kWidth};
  const WgmmaPlan plan = plan_wgmma(g.m, g.n, g.k, g.batches, true, kWgmmaLimitsHere);
  in_parts(g, plan, dw, [&](const ProductSizes& sizes, const MmaSink<DenseRows>& sink) {
    with_wgmma_shape<float>(plan.tile, [&](auto shape) { launch_wgmma<decltype(shape)>(sizes, left, right, sink); });
  });
}

}  // namespace sixloop::cuda
