// Batch normalisation over all axes but the last, local response normalisation across channels, and their gradients.
// Where x is bfloat16, on the GPU, y, dy and dx are, too; statistics, parameters and their gradients are float32.
#pragma once

#include <optional>

#include "base/kernel.h"
#include "base/tensor.h"
#include "elementwise/activation.h"

namespace sixloop {

struct NormKernels {
  static Kernels kernels();
};

// For each of `channels` columns of `rows` rows (at least 1) that are `pitch` elements apart, in two passes:
// base = (sum of x) / rows, rounded as it may be, sum = sum of (x - base), squares = sum of (x - base)^2. The mean
// is base + sum / rows, the sum of squared deviations squares - sum^2 / rows: neither loses digits to a large mean.
struct BatchMoments : NormKernels {
  static constexpr const char* name = "batch_moments";
  template <class T>
  using Fn = void(const T* x, int64_t rows, int64_t pitch, int64_t channels, T* base, T* sum, T* squares);
};

// y = (x - mean) * scale + shift, the product fused with the sum, for dense rows of `channels`; plus the residual, like
// x, where it is not null.
struct BatchNormalize : NormKernels {
  static constexpr const char* name = "batch_normalize";
  template <class T>
  using Fn = void(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const T* mean, const T* scale,
                  const T* shift);
};

// What BatchNormalize multiplied by and added, where a ReLU followed: its gradient lets dy through where
// (x - mean) * scale + shift > 0, with the bits that the forward pass had. Null pointers where none followed.
template <class T>
struct BatchRelu {
  const T* scale = nullptr;
  const T* shift = nullptr;
};

// For each column: sum = sum of dy, dot = sum of dy (x - mean), where dy has passed the ReLU's gradient.
struct BatchGradSums : NormKernels {
  static constexpr const char* name = "batch_grad_sums";
  template <class T>
  using Fn = void(const T* dy, const T* x, const T* mean, const BatchRelu<T>& relu, int64_t rows, int64_t pitch,
                  int64_t channels, T* sum, T* dot);
};

// dz = dy where y > 0, else 0: the gradient through a ReLU that gave y. For each column: sum = sum of dz, dot = sum of
// dz (x - mean). All arrays have the pitch.
struct BatchReluGradSums : NormKernels {
  static constexpr const char* name = "batch_relu_grad_sums";
  template <class T>
  using Fn = void(const T* dy, const T* y, const T* x, const T* mean, int64_t rows, int64_t pitch, int64_t channels,
                  T* dz, T* sum, T* dot);
};

// dx = a dy + (b (x - mean) + c), both products fused; a dy where b is null. dy as above; x may be null where neither
// the ReLU nor b needs it.
struct BatchGradInput : NormKernels {
  static constexpr const char* name = "batch_grad_input";
  template <class T>
  using Fn = void(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const T* mean,
                  const BatchRelu<T>& relu, const T* a, const T* b, const T* c);
};

// Channel i meets the channels i - before ... i + after, those that exist.
template <class T>
struct ResponseParams {
  int64_t before, after;
  T alpha, beta, k;
};

// y = x s^-beta with s = k + alpha * sum of x^2 over the window, for `rows` dense rows of `channels`.
// scratch: two rows of before + channels + after + 16 elements.
struct LocalResponse : NormKernels {
  static constexpr const char* name = "local_response_norm";
  template <class T>
  using Fn = void(const T* x, T* y, int64_t rows, int64_t channels, const ResponseParams<T>& params, T* scratch);
};

// dx = dy s^-beta - 2 alpha beta x * sum of dy x s^(-beta - 1) over the channels whose windows contain this one.
// scratch as above.
struct LocalResponseGrad : NormKernels {
  static constexpr const char* name = "local_response_norm_grad";
  template <class T>
  using Fn = void(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const ResponseParams<T>& params,
                  T* scratch);
};

struct BatchNorm {
  Tensor y, mean, variance;
  Tensor affine;  // [2, C]
};
// y = activation(gamma (x - mean) / sqrt(variance + epsilon) + beta + residual), bit for bit what add() makes of the
// normalised x and the residual. Without statistics: those of the batch, the biased variance; both zero where there are
// no rows. affine: the scale and shift of y = activation((x - mean) * scale + shift + residual), as rounded.
BatchNorm batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const std::optional<Tensor>& mean,
                     const std::optional<Tensor>& variance, double epsilon, Activation activation,
                     const std::optional<Tensor>& residual = {});

struct BatchNormGrad {
  Tensor dx, dgamma, dbeta;
  std::optional<Tensor> dresidual;  // where relu_output is given
};
// training: mean and variance are functions of x; otherwise they are constants. relu_affine: the forward pass ended in
// a ReLU and had this scale and shift. relu_output: it ended in a ReLU that gave this, after a residual was added,
// whose gradient is dy behind the ReLU. Not both.
BatchNormGrad batch_norm_grad(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& mean,
                              const Tensor& variance, double epsilon, bool training,
                              const std::optional<Tensor>& relu_affine, const std::optional<Tensor>& relu_output = {});

Tensor local_response_norm(const Tensor& x, int64_t size, double alpha, double beta, double k);
Tensor local_response_norm_grad(const Tensor& dy, const Tensor& x, int64_t size, double alpha, double beta, double k);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "norm/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
