// Fused updates of parameters in place, in torch.optim's conventions.
#pragma once

#include <array>
#include <optional>
#include <vector>

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

using Tensors = std::vector<Tensor>;

// What changes from one step to the next, in the GPU's memory, so that a recorded step can be run again: four float64,
// lr (Adam: the `rate` of AdamArgs), Adam's `root`, Adam's `shrink`, and whether to update at all (0: nothing happens).
using LiveNumbers = std::optional<Tensor>;

// params[i], grads[i] and what is kept for it are of one shape and dtype; all lie on one device, where few launches
// update them all. velocities are needed where momentum is not 0. `live` is for the GPU, and counts in place of the
// arguments.
void sgd_update(const Tensors& params, const Tensors& grads, const std::optional<Tensors>& velocities, double lr,
                double momentum, bool nesterov, double weight_decay, const LiveNumbers& live = {});
// step counts from 1.
void adam_update(const Tensors& params, const Tensors& grads, const Tensors& ms, const Tensors& vs, int64_t step,
                 double lr, double beta1, double beta2, double epsilon, double weight_decay, bool decoupled,
                 const LiveNumbers& live = {});
void rmsprop_update(const Tensors& params, const Tensors& grads, const Tensors& square_avgs, double lr, double rho,
                    double epsilon, double weight_decay, const LiveNumbers& live = {});

// The first three of Adam's LiveNumbers.
std::array<double, 3> adam_numbers(int64_t step, double lr, double beta1, double beta2, double weight_decay,
                                   bool decoupled);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "optimizer/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
