// The products of the weight gradient on the tensor cores, in every tile; see mma_algorithms.h.
#pragma once

#include "conv2d/mma_algorithms.h"
#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

// The sum over pixels is cut into parts by shape alone, which are added in order.
template <class T>
void mma_grad_weight(const ProductSizes& g, const Windows<T>& x, const T* dy, int64_t ld, int64_t images,
                     const MmaResult& dw) {
  const int left_width = width_of(x), right_width = mma_width(dy, g.n, ld);
  const bool any = left_width != Pack<T>::N || right_width != Pack<T>::N;
  if (takes_wgmma<T>(g, any, true, true, kTf32LimitsHere)) return wgmma_grad_weight(g, x, dy, ld, images, dw);
  const MmaPlan plan = plan_windows<T>(g, any, true);
  in_parts(g, plan, dw, [&](const ProductSizes& sizes, const MmaSink<DenseRows>& sink) {
    with_mma_shape<T>(plan, any, [&](auto shape, auto any_width) {
      using Left = MmaWindowColumns<T, any_width()>;
      using Right = MmaMatrix<T, false, any_width()>;
      launch_mma<decltype(shape)>(sizes, Left{shortened(x), static_cast<Index>(images), left_width},
                                  Right{dy, ld, g.n, g.n, right_width}, sink);
    });
  });
}

}  // namespace sixloop::cuda
