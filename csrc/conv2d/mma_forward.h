// The products of the forward pass on the tensor cores, in every tile; see mma_algorithms.h.
#pragma once

#include "conv2d/mma_algorithms.h"
#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

// In one part: the sum of a pixel does not depend on how many there are.
template <class T>
void mma_forward(const ProductSizes& g, const Windows<T>& x, const T* w, int64_t ld, const MmaResult& y) {
  const int left_width = width_of(x), right_width = mma_width(w, g.n, ld);
  const bool any = left_width != Pack<T>::N || right_width != Pack<T>::N;
  if (takes_wgmma<T>(g, any, false, false, kTf32Limits)) {
    return wgmma_forward(g, x, w, ld, y);
  }
  with_mma_shape<T>(plan_windows<T>(g, any, false), any, [&](auto shape, auto any_width) {
    using Left = MmaWindowRows<T, any_width()>;
    using Right = MmaMatrix<T, false, any_width()>;
    launch_mma<decltype(shape)>(g, Left{shortened(x), g.m, left_width}, Right{w, ld, g.n, g.n, right_width},
                                mma_sink(y, DenseRows{y.ld}));
  });
}

}  // namespace sixloop::cuda
