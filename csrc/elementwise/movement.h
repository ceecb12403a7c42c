// What moves elements without arithmetic. Only memory is copied, so there are no kernels to choose from.
#pragma once

#include <vector>

#include "base/tensor.h"
#include "base/window.h"

namespace sixloop {

// Arrays that agree in all axes but one, joined along that axis.
Tensor concat(const std::vector<Tensor>& arrays, int64_t axis);
// Parts of the given sizes along an axis; their sum is the axis' extent.
std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis);

// Only the paddings of `border` count. x is [N, H, W, C].
Tensor zero_pad2d(const Tensor& x, const Window& border);
// The inverse: takes the border away.
Tensor crop2d(const Tensor& x, const Window& border);

// [N, C, H, W] as [N, H, W, C], and back.
Tensor from_nchw(const Tensor& x);
Tensor to_nchw(const Tensor& x);

// Bytes a second that all threads read and write in a copy, the best of several runs: `bytes` are half read, half
// written. What fits into a cache is measured there.
double measure_copy_bandwidth(int64_t bytes);

}  // namespace sixloop
