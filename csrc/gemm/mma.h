// The matrix product on the tensor cores: bfloat16, or float32 by tf32.
#pragma once

#include "base/tensor.h"
#include "elementwise/activation.h"

namespace sixloop::cuda {

// c = activation(op(a) op(b) + bias) with float32 sums. a, b and c are all bfloat16 or all float32, whose elements are
// then rounded to tf32; `bias` is float32 or of c's type, or null. Arguments are validated, c has elements. may_split:
// the sum over k may be cut into parts by a rule that looks at all sizes, m among them.
void mma_gemm(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor* bias,
              Activation activation, bool may_split, const Tensor& c);

}  // namespace sixloop::cuda
