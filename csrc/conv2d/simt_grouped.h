// Groups of few channels: a product of matrices would be mostly empty, and the memory's speed is the limit. A thread
// has one element of the result, or a pack of channels of a depthwise convolution.
#pragma once

#include "conv2d/simt_algorithms.h"

namespace sixloop::cuda {

// Element (i, j, k, n) of group g: data[first + i * step_i + j * step_j + k * step_k + n * step_n + g * group_step].
template <class T>
struct Filters {
  const T* data;
  int64_t first, step_i, step_j, step_k, step_n;
  int64_t group_step;
  __device__ __forceinline__ int64_t offset(int64_t i, int64_t j) const { return first + i * step_i + j * step_j; }
};

// For every pixel of the windows, every group and each of its `columns`: the sum over (i, j, k), ascending.
template <class T, class Rows>
void grouped_windows(const Conv2dParams& p, const Windows<T>& windows, const Filters<T>& filters, int64_t pixels,
                     int64_t columns, const Sink<T, Rows>& sink);

// sums[part][i, j, k, o] over the pixels of the part, ascending.
template <class T>
void grouped_grad_weight(const Conv2dParams& p, const Windows<T>& windows, const T* dy, int64_t pixels, int64_t parts,
                         int64_t part_pixels, Wide<T>* sums);

}  // namespace sixloop::cuda
