// Implicit-GEMM convolution on the tensor cores: bfloat16, or float32 by tf32. Arguments are validated, results have
// elements and the arrays' type; `bias` is float32 or of that type, or null; `residual` of that
// type and of the result's shape, or null. Sums are float32.
#pragma once

#include "conv2d/conv2d.h"

namespace sixloop::cuda {

void mma_conv2d(const Conv2dParams& p, const Tensor& x, const Tensor& w, const Tensor* bias, const Tensor* residual,
                Activation activation, const Tensor& y);
// The same, and the mean and biased variance of each channel of y, [O] of float32. Without activation. False where the
// kernel has no statistics: only y is written then.
bool mma_conv2d_statistics(const Conv2dParams& p, const Tensor& x, const Tensor& w, const Tensor* bias, const Tensor& y,
                           const Tensor& mean, const Tensor& variance);
void mma_conv2d_grad_input(const Conv2dParams& p, const Tensor& dy, const Tensor& w, const Tensor& dx);
void mma_conv2d_grad_weight(const Conv2dParams& p, const Tensor& x, const Tensor& dy, const Tensor& dw);

}  // namespace sixloop::cuda
