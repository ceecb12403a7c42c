// Matrix product.
#pragma once

#include <optional>

#include "base/tensor.h"
#include "elementwise/activation.h"

namespace sixloop {

// activation(op(a) op(b) + bias), op being transposition where asked for: [M, K] x [K, N] -> [M, N]; bias [N].
Tensor gemm(const Tensor& a, const Tensor& b, const std::optional<Tensor>& bias, bool transpose_a, bool transpose_b,
            Activation activation);

}  // namespace sixloop
