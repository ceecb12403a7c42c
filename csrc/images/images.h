// Batches of images out of a data set that lies on the GPU, augmented on the way.
#pragma once

#include <optional>

#include "base/tensor.h"

namespace sixloop {

// y[i, r, c, k] = (x[index[i], top + r, left + step * c, k] / scale - mean[k]) / std[k] with (top, left, step) =
// places[i]; what lies outside of the image is 0 in place of x. Each operation is rounded once; a scale of 1 divides
// nothing, and without mean neither is applied.
// x: uint8 or y's dtype, [N, H, W, C]; index int64 [n]; places int64 [n, 3]; mean and std of y's dtype, [C] or [1].
// All on the GPU. dtype: float32 or float64.
Tensor take_images(const Tensor& x, const Tensor& index, const Tensor& places, int64_t height, int64_t width,
                   double scale, const std::optional<Tensor>& mean, const std::optional<Tensor>& std, DType dtype);

}  // namespace sixloop
