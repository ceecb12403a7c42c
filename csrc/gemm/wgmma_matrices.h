// Products of dense matrices by wgmma.
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
template <class T, class F>
void with_wgmma_shape(WgmmaTile tile, const F& f) {
  switch (tile) {
    case WgmmaTile::m128n256:
      return f(Wgmma128x256<T>{});
    case WgmmaTile::m128n128:
      return f(Wgmma128x128<T>{});
    case WgmmaTile::m128n64:
      return f(Wgmma128x64<T>{});
    case WgmmaTile::m64n64:
      return f(Wgmma64x64<T>{});
  }
}

// Every tile is compiled in a file of its own, those of tf32 in one, where B is turned.
template <class Shape>
void launch_wgmma_matrices(const ProductSizes& g, const MmaOperand<typename Shape::T>& left,
                           const MmaOperand<typename Shape::T>& right, const MmaSink<DenseRows>& sink);

// What wgmma multiplies by in tf32: rows x < x_end of each batch, [batches, x_end, k] with k filled up to whole chunks
// by zeros, rounded. Of the operand [batches, k, x_end], or [batches, x_end, k], whose chunks are whole then.
Tensor tf32_rows(const MmaOperand<float>& from, int64_t k, int64_t batches);
// The same of filters, from what is under tap (i, j) at first + i * step_i + j * step_j, `run` elements that follow
// each other.
struct Tf32Taps {
  const float* data;
  int64_t step_i, step_j, step_x, batch_step;
  int64_t taps_w, run;
};
Tensor tf32_rows(const Tf32Taps& from, int64_t x_end, int64_t k, int64_t batches);
MmaOperand<float> tf32_operand(const Tensor& rows);

}  // namespace sixloop::cuda
