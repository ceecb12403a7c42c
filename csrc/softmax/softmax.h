// Softmax and its logarithm along one axis, their gradients, and softmax with cross-entropy in one pass.
//
// An array is seen as [outer, n, inner] around the axis of length n. inner == 1: a row of n dense elements, summed
// over the virtual lanes of base/simd/lanes.h. inner > 1: vectors run over the inner elements, and each sum has one
// accumulator that meets the n elements in order.
//
// The largest element m of a row is subtracted first: softmax(x)_i = exp(x_i - m) / sum_j exp(x_j - m). So -inf
// gives 0 (log: -inf); a row of -inf only, one with +inf and one with NaN give NaN throughout.
#pragma once

#include "base/kernel.h"
#include "base/tensor.h"

namespace sixloop {

struct SoftmaxKernels {
  static Kernels kernels();
};

// y of `rows` rows of n elements (n >= 1) from x; y may be x.
struct SoftmaxRows : SoftmaxKernels {
  static constexpr const char* name = "softmax_rows";
  template <class T>
  using Fn = void(const T* x, T* y, int64_t rows, int64_t n);
};
struct LogSoftmaxRows : SoftmaxKernels {
  static constexpr const char* name = "log_softmax_rows";
  template <class T>
  using Fn = void(const T* x, T* y, int64_t rows, int64_t n);
};

// dx of rows from dy and the result y; dx may be dy.
struct SoftmaxGradRows : SoftmaxKernels {
  static constexpr const char* name = "softmax_grad_rows";
  template <class T>
  using Fn = void(const T* dy, const T* y, T* dx, int64_t rows, int64_t n);
};
struct LogSoftmaxGradRows : SoftmaxKernels {
  static constexpr const char* name = "log_softmax_grad_rows";
  template <class T>
  using Fn = void(const T* dy, const T* y, T* dx, int64_t rows, int64_t n);
};

// The same for `count` neighbouring columns of n elements, `stride` elements apart. Of columns, count reads
// nothing beyond the last one.
struct SoftmaxColumns : SoftmaxKernels {
  static constexpr const char* name = "softmax_columns";
  template <class T>
  using Fn = void(const T* x, T* y, int64_t n, int64_t stride, int64_t count);
};
struct LogSoftmaxColumns : SoftmaxKernels {
  static constexpr const char* name = "log_softmax_columns";
  template <class T>
  using Fn = void(const T* x, T* y, int64_t n, int64_t stride, int64_t count);
};
struct SoftmaxGradColumns : SoftmaxKernels {
  static constexpr const char* name = "softmax_grad_columns";
  template <class T>
  using Fn = void(const T* dy, const T* y, T* dx, int64_t n, int64_t stride, int64_t count);
};
struct LogSoftmaxGradColumns : SoftmaxKernels {
  static constexpr const char* name = "log_softmax_grad_columns";
  template <class T>
  using Fn = void(const T* dy, const T* y, T* dx, int64_t n, int64_t stride, int64_t count);
};

// For each row: losses[r] = log(sum_j exp(x_j - m)) + m - x_label and
// dx = (softmax(x) - one_hot(label)) * scale. Labels are in [0, n).
struct CrossEntropyRows : SoftmaxKernels {
  static constexpr const char* name = "cross_entropy_rows";
  template <class T>
  using Fn = void(const T* x, const int64_t* labels, T* dx, T* losses, int64_t rows, int64_t n, T scale);
};

Tensor softmax(const Tensor& x, int64_t axis);
Tensor log_softmax(const Tensor& x, int64_t axis);
// y is the result of softmax, or of log_softmax.
Tensor softmax_grad(const Tensor& dy, const Tensor& y, int64_t axis);
Tensor log_softmax_grad(const Tensor& dy, const Tensor& y, int64_t axis);

struct CrossEntropy {
  double loss;     // the mean over the rows, summed in float64 in order; 0 without rows
  Tensor dlogits;  // its gradient
};
// logits [N, classes], labels int32, int64 or uint8 [N].
CrossEntropy cross_entropy(const Tensor& logits, const Tensor& labels);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "softmax/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
