// The matrix product on the GPU's ordinary cores.
#pragma once

#include "base/tensor.h"
#include "elementwise/activation.h"

namespace sixloop::cuda {

// c = activation(op(a) op(b) + bias) with the bits of the CPU's: one accumulator per element, one fma for each k in
// ascending order. Arguments are validated; `bias` may be null; c has elements.
void gemm(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor* bias,
          Activation activation, const Tensor& c);

}  // namespace sixloop::cuda
