// Fused updates of parameters in place, in torch.optim's conventions.
#pragma once

#include <optional>

#include "base/kernel.h"
#include "base/tensor.h"

namespace sixloop {

// All kernels: n elements, any alignment; the arrays do not overlap. With g = grad + weight_decay * param:

// velocity = momentum * velocity + g; param -= lr * (velocity, or g + momentum * velocity with nesterov). Without
// velocity (null): param -= lr * g.
template <class T>
struct SgdArgs {
  T* param;
  const T* grad;
  T* velocity;
  T lr, momentum, weight_decay;
  bool nesterov;
};

struct Sgd {
  static constexpr const char* name = "sgd";
  template <class T>
  using Fn = void(const SgdArgs<T>& args, int64_t n);
  static Kernels kernels();
};

// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; param = shrink * param - rate * m / (sqrt(v) * root +
// epsilon), with rate = lr / (1 - beta1^step) and root = 1 / sqrt(1 - beta2^step). Decoupled weight decay is in
// shrink = 1 - lr * weight_decay, and not in g.
template <class T>
struct AdamArgs {
  T* param;
  const T* grad;
  T* m;
  T* v;
  T beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon;
  T rate, root, weight_decay, shrink;
};

struct Adam {
  static constexpr const char* name = "adam";
  template <class T>
  using Fn = void(const AdamArgs<T>& args, int64_t n);
  static Kernels kernels();
};

// s = rho s + (1 - rho) g^2; param -= lr * g / (sqrt(s) + epsilon).
template <class T>
struct RmspropArgs {
  T* param;
  const T* grad;
  T* square_avg;
  T lr, rho, one_minus_rho, epsilon, weight_decay;
};

struct Rmsprop {
  static constexpr const char* name = "rmsprop";
  template <class T>
  using Fn = void(const RmspropArgs<T>& args, int64_t n);
  static Kernels kernels();
};

// Arrays of one shape and dtype. velocity is needed where momentum is not 0.
void sgd_update(const Tensor& param, const Tensor& grad, const std::optional<Tensor>& velocity, double lr,
                double momentum, bool nesterov, double weight_decay);
// step counts from 1.
void adam_update(const Tensor& param, const Tensor& grad, const Tensor& m, const Tensor& v, int64_t step, double lr,
                 double beta1, double beta2, double epsilon, double weight_decay, bool decoupled);
void rmsprop_update(const Tensor& param, const Tensor& grad, const Tensor& square_avg, double lr, double rho,
                    double epsilon, double weight_decay);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "optimizer/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
