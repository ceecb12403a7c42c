// Convolution on the GPU's ordinary cores, with the bits that the CPU has for the same algorithm. Arguments are
// validated, results have elements; `algorithm` is not automatic any more, `bias` may be null.
#pragma once

#include "conv2d/conv2d.h"

namespace sixloop::cuda {

void conv2d(const Conv2dParams& p, Conv2dAlgorithm algorithm, const Tensor& x, const Tensor& w, const Tensor* bias,
            Activation activation, const Tensor& y);
void conv2d_grad_input(const Conv2dParams& p, Conv2dAlgorithm algorithm, const Tensor& dy, const Tensor& w,
                       const Tensor& dx);
void conv2d_grad_weight(const Conv2dParams& p, Conv2dAlgorithm algorithm, const Tensor& x, const Tensor& dy,
                        const Tensor& dw);
void im2col(const Conv2dParams& p, const Tensor& x, const Tensor& col);
void col2im(const Conv2dParams& p, const Tensor& col, const Tensor& x);

}  // namespace sixloop::cuda
