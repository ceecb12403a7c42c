// Normalisation on the GPU, with the bits of the CPU's. Arguments are validated, results dense; x has elements.
#pragma once

#include <optional>

#include "base/tensor.h"
#include "elementwise/activation.h"

namespace sixloop::cuda {

// norm.cc's cut of a matrix: blocks of `block_rows` of its `rows` folded rows of `columns` elements, which are several
// of `channels`, then `rest` elements.
struct BatchCut {
  int64_t channels, rows, columns, rest, block_rows;
};

// own_statistics: mean and variance are results. residual: null, or added before the activation.
void batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, bool own_statistics, const Tensor& mean,
                const Tensor& variance, double epsilon, Activation activation, const Tensor* residual,
                const BatchCut& cut, const Tensor& affine, const Tensor& y);

// affine: null where no ReLU followed. relu_output: null, or the result of the ReLU that followed a residual, whose
// gradient is dresidual.
void batch_norm_grad(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& variance,
                     double epsilon, bool training, const Tensor* affine, const Tensor* relu_output,
                     const BatchCut& cut, const Tensor& dx, const Tensor& dgamma, const Tensor& dbeta,
                     const Tensor* dresidual);

void local_response_norm(const Tensor& x, int64_t before, int64_t after, double alpha, double beta, double k,
                         const Tensor& y);
void local_response_norm_grad(const Tensor& dy, const Tensor& x, int64_t before, int64_t after, double alpha,
                              double beta, double k, const Tensor& dx);

}  // namespace sixloop::cuda
