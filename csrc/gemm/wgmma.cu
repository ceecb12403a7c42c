#include "cuda/dry_run.h"
#include "gemm/tma_product.h"
#include "gemm/wgmma_matrices.h"

namespace sixloop::cuda {

bool has_wgmma() {
#if defined(SIXLOOP_HAS_SM90A)
  const Capability c = capability();
  return c.major == 9 && c.minor == 0;
#else
  return false;
#endif
}

void wgmma_matrices(const ProductSizes& g, const MmaOperand<BFloat16>& left, const MmaOperand<BFloat16>& right,
                    const MmaResult& to, bool may_split) {
  const WgmmaPlan plan = plan_wgmma(g.m, g.n, g.k, g.batches, may_split, kWgmmaLimitsHere);
  in_parts(g, plan, to, [&](const ProductSizes& sizes, const MmaSink<DenseRows>& sink) {
    if (plan.tile == WgmmaTile::m128n256 && launch_tma_matrices<Tma128x256>(sizes, left, right, sink)) return;
    if (plan.tile == WgmmaTile::m128n128 && launch_tma_matrices<Tma128x128>(sizes, left, right, sink)) return;
    with_wgmma_shape<BFloat16>(plan.tile,
                               [&](auto shape) { launch_wgmma_matrices<decltype(shape)>(sizes, left, right, sink); });
  });
}

}  // namespace sixloop::cuda
