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

void check_counts(const char* op, const Tensors& params, const char* name, const Tensors& others) {
  if (others.size() != params.size()) {
    value_error("[", op, "] expected one ", name, " for each param; got ", params.size(), " and ", others.size());
  }
}

const double* checked(const char* op, const LiveNumbers& live) {
  if (!live) return nullptr;
  if (live->device() != Device::cuda || live->dtype() != DType::float64 || live->size() != 4) {
    value_error("[", op, "] live numbers are 4 float64 on cuda; got ", name_of(live->dtype()), " of shape ",
                live->shape(), " on ", name_of(live->device()));
  }
  return live->data<double>();
}

// Updates the arrays of each dtype. args_of(i, T{}) are those of array i; on the CPU advance(args, begin) lets them
// begin there; on_cuda(args, sizes) takes all arrays of a dtype.
template <class Kind, class ArgsOf, class Advance, class OnCuda>
void update_all(const Tensors& params, ArgsOf args_of, Advance advance, [[maybe_unused]] OnCuda on_cuda) {
  const auto of_dtype = [&](auto t) {
    using T = decltype(t);
    using Args = decltype(args_of(0, t));
#if defined(SIXLOOP_HAS_CUDA)
    if (!params.empty() && params[0].device() == Device::cuda) {
      std::vector<Args> all;
      std::vector<int64_t> sizes;
      for (size_t i = 0; i < params.size(); ++i) {
        // An empty array has no address, which is how SgdArgs says that there is no velocity.
        if (params[i].dtype() != DTypeOf<T>::value || params[i].size() == 0) continue;
        all.push_back(args_of(i, t));
        sizes.push_back(params[i].size());
      }
      return on_cuda(all, sizes);
    }
#endif
    const auto kernel = select<Kind, T>();
    for (size_t i = 0; i < params.size(); ++i) {
      if (params[i].dtype() != DTypeOf<T>::value) continue;
      const Args args = args_of(i, t);
      parallel_ranges(params[i].size(), kGrain, [&](int64_t begin, int64_t end) {
        Args part = args;
        part.param += begin;
        part.grad += begin;
        advance(part, begin);
        kernel(part, end - begin);
      });
    }
  };
  of_dtype(float{});
  of_dtype(double{});
}

}  // namespace

Kernels Sgd::kernels() { return all_rows(); }
Kernels Adam::kernels() { return all_rows(); }
Kernels Rmsprop::kernels() { return all_rows(); }

void sgd_update(const Tensors& params, const Tensors& grads, const std::optional<Tensors>& velocities, double lr,
                double momentum, bool nesterov, double weight_decay, const LiveNumbers& live) {
  constexpr const char* op = "sgd_update";
  check_counts(op, params, "grad", grads);
  if (velocities) check_counts(op, params, "velocity", *velocities);
  for (size_t i = 0; i < params.size(); ++i) {
    check_floating(op, "param", params[i]);
    check_like_param(op, params[i], "grad", grads[i]);
    if (velocities) check_like_param(op, params[i], "velocity", (*velocities)[i]);
  }
  check_not_negative(op, "lr", lr);
  check_not_negative(op, "momentum", momentum);
  check_not_negative(op, "weight_decay", weight_decay);
  if (momentum != 0 && !velocities)
    value_error("[", op, "] momentum needs velocity; got momentum ", momentum, " and None");
  if (nesterov && momentum == 0) value_error("[", op, "] nesterov needs momentum above 0; got ", momentum);
  [[maybe_unused]] const double* const numbers = checked(op, live);
  update_all<Sgd>(
      params,
      [&](size_t i, auto t) {
        using T = decltype(t);
        return SgdArgs<T>{params[i].data<T>(),
                          grads[i].data<T>(),
                          momentum != 0 ? (*velocities)[i].data<T>() : nullptr,
                          static_cast<T>(lr),
                          static_cast<T>(momentum),
                          static_cast<T>(weight_decay),
                          nesterov};
      },
      [](auto& part, int64_t begin) {
        if (part.velocity != nullptr) part.velocity += begin;
      },
      [&](const auto& args, const auto& sizes) { cuda::sgd(args, sizes, numbers); });
}

std::array<double, 3> adam_numbers(int64_t step, double lr, double beta1, double beta2, double weight_decay,
                                   bool decoupled) {
  return {lr / (1 - power(beta1, step)), 1 / std::sqrt(1 - power(beta2, step)), decoupled ? 1 - lr * weight_decay : 1};
}

void adam_update(const Tensors& params, const Tensors& grads, const Tensors& ms, const Tensors& vs, int64_t step,
                 double lr, double beta1, double beta2, double epsilon, double weight_decay, bool decoupled,
                 const LiveNumbers& live) {
  constexpr const char* op = "adam_update";
  check_counts(op, params, "grad", grads);
  check_counts(op, params, "m", ms);
  check_counts(op, params, "v", vs);
  for (size_t i = 0; i < params.size(); ++i) {
    check_floating(op, "param", params[i]);
    check_like_param(op, params[i], "grad", grads[i]);
    check_like_param(op, params[i], "m", ms[i]);
    check_like_param(op, params[i], "v", vs[i]);
  }
  if (step < 1) value_error("[", op, "] step counts from 1; got ", step);
  check_not_negative(op, "lr", lr);
  check_share(op, "beta1", beta1);
  check_share(op, "beta2", beta2);
  check_not_negative(op, "epsilon", epsilon);
  check_not_negative(op, "weight_decay", weight_decay);
  [[maybe_unused]] const double* const numbers = checked(op, live);
  const std::array<double, 3> now = adam_numbers(step, lr, beta1, beta2, weight_decay, decoupled);
  update_all<Adam>(
      params,
      [&](size_t i, auto t) {
        using T = decltype(t);
        AdamArgs<T> args{};
        args.param = params[i].data<T>();
        args.grad = grads[i].data<T>();
        args.m = ms[i].data<T>();
        args.v = vs[i].data<T>();
        args.beta1 = static_cast<T>(beta1);
        args.one_minus_beta1 = static_cast<T>(1 - beta1);
        args.beta2 = static_cast<T>(beta2);
        args.one_minus_beta2 = static_cast<T>(1 - beta2);
        args.epsilon = static_cast<T>(epsilon);
        args.rate = static_cast<T>(now[0]);
        args.root = static_cast<T>(now[1]);
        args.weight_decay = static_cast<T>(decoupled ? 0 : weight_decay);
        args.shrink = static_cast<T>(now[2]);
        return args;
      },
      [](auto& part, int64_t begin) {
        part.m += begin;
        part.v += begin;
      },
      [&](const auto& args, const auto& sizes) { cuda::adam(args, sizes, numbers); });
}

void rmsprop_update(const Tensors& params, const Tensors& grads, const Tensors& square_avgs, double lr, double rho,
                    double epsilon, double weight_decay, const LiveNumbers& live) {
  constexpr const char* op = "rmsprop_update";
  check_counts(op, params, "grad", grads);
  check_counts(op, params, "square_avg", square_avgs);
  for (size_t i = 0; i < params.size(); ++i) {
    check_floating(op, "param", params[i]);
    check_like_param(op, params[i], "grad", grads[i]);
    check_like_param(op, params[i], "square_avg", square_avgs[i]);
  }
  check_not_negative(op, "lr", lr);
  check_share(op, "rho", rho);
  check_not_negative(op, "epsilon", epsilon);
  check_not_negative(op, "weight_decay", weight_decay);
  [[maybe_unused]] const double* const numbers = checked(op, live);
  update_all<Rmsprop>(
      params,
      [&](size_t i, auto t) {
        using T = decltype(t);
        return RmspropArgs<T>{params[i].data<T>(),     grads[i].data<T>(),          square_avgs[i].data<T>(),
                              static_cast<T>(lr),      static_cast<T>(rho),         static_cast<T>(1 - rho),
                              static_cast<T>(epsilon), static_cast<T>(weight_decay)};
      },
      [](auto& part, int64_t begin) { part.square_avg += begin; },
      [&](const auto& args, const auto& sizes) { cuda::rmsprop(args, sizes, numbers); });
}

}  // namespace sixloop
