#include "optimizer/optimizer.h"

#include <cmath>

#include "base/error.h"
#include "base/thread_pool.h"
#include "base/validate.h"
#include "optimizer/simt.h"

namespace sixloop {
namespace {

// Elements below which a second thread costs more than it saves.
constexpr int64_t kGrain = 8192;

Kernels all_rows() {
  static const Kernel rows[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "optimizer/kernels.inc"
#undef SIXLOOP_KERNEL
  };
  return {rows, sizeof rows / sizeof *rows};
}

void check_like_param(const char* op, const Tensor& param, const char* name, const Tensor& t) {
  check_same_dtype(op, "param", param, name, t);
  check_same_shape(op, "param", param, name, t);
}

// Also throws for NaN.
void check_not_negative(const char* op, const char* name, double value) {
  if (!(value >= 0 && std::isfinite(value))) {
    value_error("[", op, "] ", name, " must be finite and not negative; got ", value);
  }
}

void check_share(const char* op, const char* name, double value) {
  if (!(value >= 0 && value < 1)) value_error("[", op, "] ", name, " must be in [0, 1); got ", value);
}

// base^exponent by squaring: the mathematical library's pow differs between machines in the last bit.
double power(double base, int64_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0) result *= base;
    base *= base;
  }
  return result;
}

}  // namespace

Kernels Sgd::kernels() { return all_rows(); }
Kernels Adam::kernels() { return all_rows(); }
Kernels Rmsprop::kernels() { return all_rows(); }

void sgd_update(const Tensor& param, const Tensor& grad, const std::optional<Tensor>& velocity, double lr,
                double momentum, bool nesterov, double weight_decay) {
  check_floating("sgd_update", "param", param);
  check_like_param("sgd_update", param, "grad", grad);
  if (velocity) check_like_param("sgd_update", param, "velocity", *velocity);
  check_not_negative("sgd_update", "lr", lr);
  check_not_negative("sgd_update", "momentum", momentum);
  check_not_negative("sgd_update", "weight_decay", weight_decay);
  if (momentum != 0 && !velocity)
    value_error("[sgd_update] momentum needs velocity; got momentum ", momentum, " and None");
  if (nesterov && momentum == 0) value_error("[sgd_update] nesterov needs momentum above 0; got ", momentum);
  dispatch_floating(param.dtype(), [&](auto t) {
    using T = decltype(t);
    const SgdArgs<T> args{param.data<T>(),
                          grad.data<T>(),
                          momentum != 0 ? velocity->data<T>() : nullptr,
                          static_cast<T>(lr),
                          static_cast<T>(momentum),
                          static_cast<T>(weight_decay),
                          nesterov};
#if defined(SIXLOOP_HAS_CUDA)
    if (param.device() == Device::cuda) return cuda::sgd(args, param.size());
#endif
    const auto kernel = select<Sgd, T>();
    parallel_ranges(param.size(), kGrain, [&](int64_t begin, int64_t end) {
      SgdArgs<T> part = args;
      part.param += begin;
      part.grad += begin;
      if (part.velocity != nullptr) part.velocity += begin;
      kernel(part, end - begin);
    });
  });
}

void adam_update(const Tensor& param, const Tensor& grad, const Tensor& m, const Tensor& v, int64_t step, double lr,
                 double beta1, double beta2, double epsilon, double weight_decay, bool decoupled) {
  check_floating("adam_update", "param", param);
  check_like_param("adam_update", param, "grad", grad);
  check_like_param("adam_update", param, "m", m);
  check_like_param("adam_update", param, "v", v);
  if (step < 1) value_error("[adam_update] step counts from 1; got ", step);
  check_not_negative("adam_update", "lr", lr);
  check_share("adam_update", "beta1", beta1);
  check_share("adam_update", "beta2", beta2);
  check_not_negative("adam_update", "epsilon", epsilon);
  check_not_negative("adam_update", "weight_decay", weight_decay);
  const double rate = lr / (1 - power(beta1, step));
  const double root = 1 / std::sqrt(1 - power(beta2, step));
  dispatch_floating(param.dtype(), [&](auto t) {
    using T = decltype(t);
    AdamArgs<T> args{};
    args.param = param.data<T>();
    args.grad = grad.data<T>();
    args.m = m.data<T>();
    args.v = v.data<T>();
    args.beta1 = static_cast<T>(beta1);
    args.one_minus_beta1 = static_cast<T>(1 - beta1);
    args.beta2 = static_cast<T>(beta2);
    args.one_minus_beta2 = static_cast<T>(1 - beta2);
    args.epsilon = static_cast<T>(epsilon);
    args.rate = static_cast<T>(rate);
    args.root = static_cast<T>(root);
    args.weight_decay = static_cast<T>(decoupled ? 0 : weight_decay);
    args.shrink = static_cast<T>(decoupled ? 1 - lr * weight_decay : 1);
#if defined(SIXLOOP_HAS_CUDA)
    if (param.device() == Device::cuda) return cuda::adam(args, param.size());
#endif
    const auto kernel = select<Adam, T>();
    parallel_ranges(param.size(), kGrain, [&](int64_t begin, int64_t end) {
      AdamArgs<T> part = args;
      part.param += begin;
      part.grad += begin;
      part.m += begin;
      part.v += begin;
      kernel(part, end - begin);
    });
  });
}

void rmsprop_update(const Tensor& param, const Tensor& grad, const Tensor& square_avg, double lr, double rho,
                    double epsilon, double weight_decay) {
  check_floating("rmsprop_update", "param", param);
  check_like_param("rmsprop_update", param, "grad", grad);
  check_like_param("rmsprop_update", param, "square_avg", square_avg);
  check_not_negative("rmsprop_update", "lr", lr);
  check_share("rmsprop_update", "rho", rho);
  check_not_negative("rmsprop_update", "epsilon", epsilon);
  check_not_negative("rmsprop_update", "weight_decay", weight_decay);
  dispatch_floating(param.dtype(), [&](auto t) {
    using T = decltype(t);
    const RmspropArgs<T> args{
        param.data<T>(),     grad.data<T>(),          square_avg.data<T>(),    static_cast<T>(lr),
        static_cast<T>(rho), static_cast<T>(1 - rho), static_cast<T>(epsilon), static_cast<T>(weight_decay)};
#if defined(SIXLOOP_HAS_CUDA)
    if (param.device() == Device::cuda) return cuda::rmsprop(args, param.size());
#endif
    const auto kernel = select<Rmsprop, T>();
    parallel_ranges(param.size(), kGrain, [&](int64_t begin, int64_t end) {
      RmspropArgs<T> part = args;
      part.param += begin;
      part.grad += begin;
      part.square_avg += begin;
      kernel(part, end - begin);
    });
  });
}

}  // namespace sixloop
