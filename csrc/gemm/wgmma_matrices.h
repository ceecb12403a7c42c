// Products of dense matrices of bfloat16 by wgmma.
#pragma once

#include "gemm/mma_matrices.h"
#include "gemm/wgmma_plan.h"
#include "gemm/wgmma_product.h"

namespace sixloop::cuda {

// The emulator's tests meet all tiles, and products in parts, in small sizes.
#if defined(SIXLOOP_SIMT)
constexpr WgmmaLimits kWgmmaLimitsHere{1, 128, 4, int64_t{16} << 20};
#else
constexpr WgmmaLimits kWgmmaLimitsHere = kWgmmaLimits;
#endif

// Calls f with a value of the shape's type.
template <class F>
void with_wgmma_shape(WgmmaTile tile, const F& f) {
  switch (tile) {
    case WgmmaTile::m128n256:
      return f(Wgmma128x256{});
    case WgmmaTile::m128n128:
      return f(Wgmma128x128{});
    case WgmmaTile::m128n64:
      return f(Wgmma128x64{});
    case WgmmaTile::m64n64:
      return f(Wgmma64x64{});
  }
}

// Every tile is compiled in a file of its own.
template <class Shape>
void launch_wgmma_matrices(const ProductSizes& g, const MmaOperand<BFloat16>& left, const MmaOperand<BFloat16>& right,
                           const MmaSink<DenseRows>& sink);

}  // namespace sixloop::cuda
