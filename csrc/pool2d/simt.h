// Pooling on the GPU, with the bits of the CPU's. Arguments are validated, results dense and not empty.
#pragma once

#include "base/tensor.h"
#include "base/window.h"

namespace sixloop::cuda {

void max_pool2d(const Tensor& x, const Window& window, const Tensor& y, const Tensor* indices);  // may be null
void avg_pool2d(const Tensor& x, const Window& window, const Tensor& y);

// dy [n, oh, ow, c]. Either x or indices is null.
void max_pool2d_grad(const Tensor& dy, const Tensor* x, const Tensor* indices, const Window& window, const Tensor& dx);
void avg_pool2d_grad(const Tensor& dy, const Window& window, const Tensor& dx);

}  // namespace sixloop::cuda
