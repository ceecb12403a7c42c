// The passes of mma.cu. Every product with gathered windows is compiled in a file of its own.
#pragma once

#include "conv2d/mma_windows.h"

namespace sixloop::cuda {

// Products of the windows of small convolutions, and where their results go.
template <class T>
void mma_forward(const ProductSizes& g, const Windows<T>& x, const T* w, int64_t ld, const MmaResult& y);
// One phase of the stride.
template <class T>
void mma_grad_input(const ProductSizes& g, const Windows<T>& dy, const MmaFilters<T>& w, const MmaPhaseRows& rows,
                    const MmaResult& dx);
template <class T>
void mma_grad_weight(const ProductSizes& g, const Windows<T>& x, const T* dy, int64_t ld, int64_t images,
                     const MmaResult& dw);

// The mean and the biased variance of each channel from MmaSink's moments of `rows` rows.
void merge_statistics(const float2* moments, int64_t rows, int64_t channels, float* mean, float* variance);

// Calls f(shape, any_width) with a value of the shape's type and std::true_type or std::false_type.
template <class T, class F>
void with_mma_shape(const MmaPlan& plan, bool any, const F& f) {
  if (any) return f(MmaAnyWidth<T>{}, std::true_type{});
  switch (plan.tile) {
    case MmaTile::m128n128:
      return f(Mma128x128<T>{}, std::false_type{});
    case MmaTile::m128n64:
      return f(Mma128x64<T>{}, std::false_type{});
    case MmaTile::m64n64:
      return f(Mma64x64<T>{}, std::false_type{});
  }
}
template <class T>
MmaPlan plan_windows(const ProductSizes& g, bool any, bool may_split) {
  return plan_mma(g.m, g.n, g.k, g.batches, Mma64x64<T>::BK, any, may_split, kMmaLimitsHere);
}
// Elements of a window that lie together at any multiple of a chunk.
template <class T>
int width_of(const Windows<T>& w) {
  return mma_width(w.data, w.run, w.c);
}

}  // namespace sixloop::cuda
