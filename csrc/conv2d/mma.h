// Implicit-GEMM convolution on the tensor cores: bfloat16, or float32 by tf32. Arguments are validated, results have
// elements and the arrays' type; `bias` is float32 or of that type, or null; `residual` of that type and of the result's shape,
// or null. Sums are float32.
#pragma once

#include "conv2d/conv2d.h"

namespace sixloop::cuda {

void mma_conv2d(const Conv2dParams& p, const Tensor& x, const Tensor& w, const Tensor* bias, const Tensor* residual,
                Activation activation, const Tensor& y);
void mma_conv2d_grad_input(const Conv2dParams& p, const Tensor& dy, const Tensor& w, const Tensor& dx);
void mma_conv2d_grad_weight(const Conv2dParams& p, const Tensor& x, const Tensor& dy, const Tensor& dw);

}  // namespace sixloop::cuda
