// The products of the input gradient on the tensor cores, in every tile; see mma_algorithms.h.
#pragma once

#include "conv2d/mma_algorithms.h"
#include "conv2d/wgmma_algorithms.h"

namespace sixloop::cuda {

template <class T>
void mma_grad_input(const ProductSizes& g, const Windows<T>& dy, const MmaFilters<T>& w, const MmaPhaseRows& rows,
                    const MmaResult& dx) {
  const int left_width = width_of(dy), right_width = mma_width(w.data, dy.run, dy.c);
  const bool any = left_width != Pack<T>::N || right_width != Pack<T>::N;
  if (takes_wgmma<T>(g, any, false, false, kTf32Limits)) {
    return wgmma_grad_input(g, dy, w, rows, dx);
  }
  with_mma_shape<T>(plan_windows<T>(g, any, false), any, [&](auto shape, auto any_width) {
    using Left = MmaWindowRows<T, any_width()>;
    using Right = MmaFilterColumns<T, any_width()>;
    launch_mma<decltype(shape)>(g, Left{shortened(dy), g.m, left_width}, Right{w, right_width}, mma_sink(dx, rows));
  });
}

}  // namespace sixloop::cuda
