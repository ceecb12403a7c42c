// Maps over the elements of arrays, with gradients, and sums over all axes but the last. On the GPU also of bfloat16,
// see docs/arithmetic.md.
#pragma once

#include <utility>
#include <vector>

#include "base/kernel.h"
#include "base/tensor.h"
#include "elementwise/activation.h"

namespace sixloop {

// All kernels: any alignment; nothing is read or written past the last element.

// y[i] = a[i] + b[i]. y may be a or b.
struct Add {
  static constexpr const char* name = "add";
  template <class T>
  using Fn = void(const T* a, const T* b, T* y, int64_t n);
  static Kernels kernels();
};

// y[i] = x[i] * s. y may be x.
struct Scale {
  static constexpr const char* name = "scale";
  template <class T>
  using Fn = void(const T* x, T s, T* y, int64_t n);
  static Kernels kernels();
};

// y[i] = activation(x[i]). y may be x. alpha is that of leaky_relu and elu.
struct Activate {
  static constexpr const char* name = "activate";
  template <class T>
  using Fn = void(const T* x, T* y, int64_t n, Activation activation, T alpha);
  static Kernels kernels();
};

// dx[i] = dy[i] * activation'(x[i]). dx may be dy or x.
struct ActivateGrad {
  static constexpr const char* name = "activate_grad";
  template <class T>
  using Fn = void(const T* dy, const T* x, T* dx, int64_t n, Activation activation, T alpha);
  static Kernels kernels();
};

// dz[i] = dy[i] * activation'(z[i]) where y[i] = activation(z[i]), default alpha. dz may be dy or y. Not for gelu and
// gaussian, whose output does not determine the input.
struct ActivateGradOf {
  static constexpr const char* name = "activate_grad_of";
  template <class T>
  using Fn = void(const T* dy, const T* y, T* dz, int64_t n, Activation activation);
  static Kernels kernels();
};

// sum[c] += x[0][c], then x[1][c], ..., for `rows` rows that lie ld elements apart: one accumulator a column.
struct ColumnSum {
  static constexpr const char* name = "column_sum";
  template <class T>
  using Fn = void(const T* x, int64_t rows, int64_t columns, int64_t ld, T* sum);
  static Kernels kernels();
};

// activation(a + b) of two arrays of one shape.
Tensor add(const Tensor& a, const Tensor& b, Activation activation);
// activation(x + b), b along the last axis; b may be float32 where x is bfloat16.
Tensor bias_add(const Tensor& x, const Tensor& b, Activation activation);
Tensor scale(const Tensor& x, double s);

// The elements in another floating-point dtype, rounded once to nearest, ties to even.
Tensor cast(const Tensor& x, DType dtype);
// The same into arrays that are there: ys[i] = xs[i], of one shape, none overlapping. All lie on one device.
void cast_into(const std::vector<Tensor>& xs, const std::vector<Tensor>& ys);

// `op` is the tag of errors.
Tensor activate(const char* op, const Tensor& x, Activation activation, double alpha);
Tensor activate_grad(const char* op, const Tensor& dy, const Tensor& x, Activation activation, double alpha);
Tensor activate_grad_of(const Tensor& dy, const Tensor& y, Activation activation);

// Sums over all axes but the last. Rows are added in chunks of kSumRows, chunks and the neighbouring rows that share a
// vector are combined by halves: the order depends on the shape alone. Of bfloat16 the sums are float32.
Tensor bias_grad(const Tensor& dy);
// dz = activate_grad_of(dy, y) and bias_grad(dz), bit for bit, in one pass over dy and y. Of bfloat16 the sums are
// those of dz before it was rounded.
std::pair<Tensor, Tensor> activation_bias_grad(const Tensor& dy, const Tensor& y, Activation activation);

// running = momentum * running + factor * value, in place; both products are rounded.
void moving_average(const Tensor& running, const Tensor& value, double momentum, double factor);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "elementwise/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
