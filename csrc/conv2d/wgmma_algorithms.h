// The passes of mma_algorithms.h by wgmma: for operands of which whole chunks may be copied, where
// has_wgmma(). Every pass is compiled in a file of its own.
#pragma once

#include "conv2d/mma_windows.h"
#include "gemm/wgmma_matrices.h"

namespace sixloop::cuda {

void wgmma_forward(const ProductSizes& g, const Windows<BFloat16>& x, const BFloat16* w, int64_t ld,
                   const MmaResult& y);
void wgmma_grad_input(const ProductSizes& g, const Windows<BFloat16>& dy, const MmaFilters<BFloat16>& w,
                      const MmaPhaseRows& rows, const MmaResult& dx);
void wgmma_grad_weight(const ProductSizes& g, const Windows<BFloat16>& x, const BFloat16* dy, int64_t ld,
                       int64_t images, const MmaResult& dw);

// In tf32.
void wgmma_forward(const ProductSizes& g, const Windows<float>& x, const float* w, int64_t ld, const MmaResult& y);
void wgmma_grad_input(const ProductSizes& g, const Windows<float>& dy, const MmaFilters<float>& w,
                      const MmaPhaseRows& rows, const MmaResult& dx);
void wgmma_grad_weight(const ProductSizes& g, const Windows<float>& x, const float* dy, int64_t ld, int64_t images,
                       const MmaResult& dw);

}  // namespace sixloop::cuda
