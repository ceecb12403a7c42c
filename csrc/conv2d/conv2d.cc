#include "conv2d/conv2d.h"

#include <algorithm>
#include <stdexcept>

#include "base/batch_invariant.h"
#include "base/own_memory.h"
#include "base/validate.h"
#include "conv2d/algorithms.h"
#include "conv2d/mma.h"
#include "conv2d/simt.h"
#include "cuda/dry_run.h"
#include "elementwise/elementwise.h"
#include "norm/norm.h"

namespace sixloop {
namespace {

const Kernel kKernels[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "conv2d/kernels.inc"
#undef SIXLOOP_KERNEL
};

constexpr const char* kAlgorithmNames[] = {"auto", "direct", "im2col", "winograd2x2", "winograd4x4", "implicit_gemm"};

void check_dtypes(const char* op, const char* name_a, const Tensor& a, const char* name_b, const Tensor& b) {
  check_floating_or_bfloat16(op, name_a, a);
  check_floating_or_bfloat16(op, name_b, b);
  check_same_dtype(op, name_a, a, name_b, b);
}

void check_rank4(const char* op, const char* arg, const Shape& shape, const char* layout) {
  if (shape.rank() != 4) {
    value_error("[", op, "] ", arg, " must have 4 dimensions ", layout, "; got ", shape.rank(), " in shape ", shape);
  }
}

const char* name_of(ConvWay way) {
  switch (way) {
    case ConvWay::depthwise:
      return "channel by channel";
    case ConvWay::planar:
      return "channel planes";
    case ConvWay::filter_rows:
      return "filter rows";
    case ConvWay::part_lanes:
      return "parts side by side";
    case ConvWay::turned:
      return "turned filters";
    case ConvWay::strips:
      return "product by strips";
    case ConvWay::pointers:
      return "pointers to pixels";
    case ConvWay::panels:
      return "packed windows";
    case ConvWay::turned_product:
      return "product of transposed channels";
    case ConvWay::turned_result:
      return "product with the channels exchanged";
    case ConvWay::product:
      return "matrix of windows";
    case ConvWay::winograd:
      return "transformed tiles";
  }
  throw std::logic_error("unknown way");
}

// Output pixels a side of Winograd's tile, 0 for other algorithms.
int64_t winograd_side(Conv2dAlgorithm algorithm) {
  return algorithm == Conv2dAlgorithm::winograd4x4 ? 4 : algorithm == Conv2dAlgorithm::winograd2x2 ? 2 : 0;
}

void check_tensor_core_algorithm(const char* op, Conv2dAlgorithm asked, DType dtype) {
  if (asked == Conv2dAlgorithm::automatic || asked == Conv2dAlgorithm::implicit_gemm) return;
  value_error("[", op, "] algorithm \"", name_of(asked), "\" has no kernel for ",
              dtype == DType::bfloat16 ? "bfloat16" : "precision \"tf32\"", "; use auto or implicit_gemm");
}

}  // namespace

Kernels Depthwise::kernels() { return {kKernels, sizeof kKernels / sizeof *kKernels}; }
Kernels DepthwiseGradWeight::kernels() { return Depthwise::kernels(); }
Kernels Planar::kernels() { return Depthwise::kernels(); }
Kernels LaneSums::kernels() { return Depthwise::kernels(); }
Kernels Winograd::kernels() { return Depthwise::kernels(); }
Kernels WinogradOf5x5::kernels() { return Depthwise::kernels(); }

Conv2dAlgorithm parse_conv2d_algorithm(const char* op, const std::string& name) {
  int i = 0;
  std::string valid;
  for (const char* candidate : kAlgorithmNames) {
    if (name == candidate) return static_cast<Conv2dAlgorithm>(i);
    valid += (i++ == 0 ? "" : ", ") + std::string(candidate);
  }
  value_error("[", op, "] unknown algorithm \"", name, "\"; valid: ", valid);
}

Conv2dPass parse_conv2d_pass(const char* op, const std::string& name) {
  constexpr const char* kNames[] = {"forward", "grad_input", "grad_weight"};
  for (int i = 0; i < 3; ++i) {
    if (name == kNames[i]) return static_cast<Conv2dPass>(i);
  }
  value_error("[", op, "] unknown pass \"", name, "\"; valid: forward, grad_input, grad_weight");
}

const char* name_of(Conv2dAlgorithm algorithm) { return kAlgorithmNames[static_cast<int>(algorithm)]; }

Conv2dAlgorithm select_algorithm(const char* op, Conv2dPass pass, const Conv2dParams& p, Conv2dAlgorithm asked,
                                 std::string* reason) {
  // Direct convolution beats im2col on every shape: it does the same arithmetic without writing the matrix.
  if (asked == Conv2dAlgorithm::automatic) return winograd_choice(pass, p, batch_invariant(), reason);
  if (asked == Conv2dAlgorithm::implicit_gemm) {
    value_error("[", op,
                "] algorithm \"implicit_gemm\" is for tensor cores, that is for bfloat16 arrays, or float32 ones "
                "with precision=\"tf32\", on cuda; use auto or direct");
  }
  const int64_t side = winograd_side(asked);
  const char* refusal = side > 0 ? winograd_refusal(p, side) : nullptr;
  if (refusal != nullptr) {
    value_error("[", op, "] algorithm \"", name_of(asked), "\" is for ", side == 2 ? "3x3 and 5x5" : "3x3",
                " filters with stride 1, dilation 1, groups 1 and padding of less than the filter's size; here ",
                refusal, "; use auto or direct");
  }
  if (reason != nullptr) *reason = "asked for";
  return asked;
}

Conv2dPlan plan_conv2d(const char* op, Conv2dPass pass, const Conv2dParams& p, Conv2dAlgorithm asked, DType dtype,
                       bool keep_filters) {
  Conv2dPlan plan{};
  plan.algorithm = select_algorithm(op, pass, p, asked, &plan.reason);
  const bool empty = std::min({p.n, p.oh, p.ow, p.o, p.c}) == 0;
  const WayPlan way = dispatch_floating(dtype, [&](auto t) -> WayPlan {
    using T = decltype(t);
    if (const int64_t side = winograd_side(plan.algorithm); side > 0) {
      if (!empty && keep_filters && pass == Conv2dPass::forward) plan.kept = winograd_kept<T>(p, side);
      if (!empty) plan.scratch = winograd_scratch<T>(pass, p, side, plan.kept > 0);
      return plan_winograd<T>(pass, p, side);
    }
    if (plan.algorithm == Conv2dAlgorithm::im2col) {
      if (!empty) plan.scratch = im2col_scratch<T>(pass, p);
      return plan_im2col<T>(pass, p);
    }
    if (!empty) plan.scratch = direct_scratch<T>(pass, p);
    return plan_direct<T>(pass, p);
  });
  plan.way = name_of(way.way);
  if (way.transform != nullptr) plan.kernels.push_back(way.transform);
  plan.kernels.push_back(way.kernel);
  return plan;
}

cuda::Plan plan_conv2d_on_cuda(const char* op, Conv2dPass pass, const Conv2dParams& p, Conv2dAlgorithm asked,
                               DType dtype, Precision precision, std::optional<cuda::Capability> capability) {
  cuda::DryRun run(op, capability);
  const Shape x_shape{p.n, p.h, p.w, p.c}, w_shape{p.window.kh, p.window.kw, p.c / p.groups, p.o};
  const Tensor x = run.array(x_shape, dtype), w = run.array(w_shape, dtype);
  const Tensor dy = run.array({p.n, p.oh, p.ow, p.o}, dtype);
  check_precision(op, precision, "x", x);
  Conv2dAlgorithm algorithm = Conv2dAlgorithm::implicit_gemm;
  std::string reason;
  if (on_tensor_cores(precision, x)) {
    check_tensor_core_algorithm(op, asked, dtype);
  } else {
    algorithm = select_algorithm(op, pass, p, asked, &reason);
  }
  const Tensor result =
      pass == Conv2dPass::forward ? conv2d(x, w, std::nullopt, p.window, p.groups, Activation::none, asked, precision)
      : pass == Conv2dPass::grad_input ? conv2d_grad_input(dy, w, x_shape, p.window, p.groups, asked, precision)
                                       : conv2d_grad_weight(x, dy, w_shape, p.window, p.groups, asked, precision);
  return run.plan(result, name_of(algorithm), std::move(reason));
}

Conv2dParams conv2d_params(const char* op, const Shape& x, const Shape& w, const Window& window, int64_t groups) {
  check_rank4(op, "x", x, "[N, H, W, C]");
  check_rank4(op, "weight", w, "[KH, KW, C / groups, O]");
  if (groups < 1) value_error("[", op, "] groups must be positive; got ", groups);
  const int64_t c = x[3];
  const int64_t o = w[3];
  if (c % groups != 0 || o % groups != 0 || c / groups != w[2]) {
    value_error("[", op, "] weight has ", w[2], " input channels per group, input has ", c, " with groups=", groups,
                ": expected C == groups * I and O divisible by groups; got input ", x, ", weight ", w);
  }
  const Extent out = output_extent(op, window, x[1], x[2]);
  return {x[0], x[1], x[2], c, out.h, out.w, o, groups, window};
}

namespace {

Conv2dParams forward_params(const char* op, const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias,
                            const Window& window, int64_t groups, Precision precision) {
  check_rank4(op, "x", x.shape(), "[N, H, W, C]");
  check_rank4(op, "weight", w.shape(), "[KH, KW, C / groups, O]");
  check_dtypes(op, "x", x, "weight", w);
  check_precision(op, precision, "x", x);
  const Conv2dParams p = conv2d_params(op, x.shape(), w.shape(), window, groups);
  if (bias) {
    check_bias_dtype(op, "x", x, *bias);
    check_vector(op, "bias", *bias, p.o, "output channel");
  }
  return p;
}

}  // namespace

Tensor conv2d(const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias, const Window& window, int64_t groups,
              Activation activation, Conv2dAlgorithm algorithm, Precision precision,
              const std::optional<Tensor>& residual, bool keep_filters) {
  const Conv2dParams p = forward_params("conv2d", x, w, bias, window, groups, precision);
  if (residual) {
    check_same_dtype("conv2d", "x", x, "residual", *residual);
    check_shape("conv2d", "residual", *residual, {p.n, p.oh, p.ow, p.o});
  }
  Tensor y = Tensor::empty({p.n, p.oh, p.ow, p.o}, x.dtype(), x.device());
#if defined(SIXLOOP_HAS_CUDA)
  if (on_tensor_cores(precision, x)) {
    check_tensor_core_algorithm("conv2d", algorithm, x.dtype());
    if (y.size() > 0) {
      cuda::mma_conv2d(p, x, w, bias ? &*bias : nullptr, residual ? &*residual : nullptr, activation, y);
    }
    return y;
  }
#endif
  if (residual) {
    // These kernels have no other sum behind the bias.
    const Tensor z =
        conv2d(x, w, bias, window, groups, Activation::none, algorithm, precision, std::nullopt, keep_filters);
    return add(z, *residual, activation);
  }
  const Conv2dAlgorithm chosen = select_algorithm("conv2d", Conv2dPass::forward, p, algorithm);
  if (y.size() == 0) return y;
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    cuda::conv2d(p, chosen, x, w, bias ? &*bias : nullptr, activation, y);
    return y;
  }
#endif
  OwnMemory* const memory = keep_filters ? memory_of(w) : nullptr;
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const Epilogue<T> epilogue{bias ? bias->data<T>() : nullptr, activation};
    if (chosen == Conv2dAlgorithm::im2col) {
      im2col_forward(p, x.data<T>(), w.data<T>(), epilogue, y.data<T>());
    } else if (const int64_t side = winograd_side(chosen); side > 0) {
      winograd_forward(p, side, x.data<T>(), w.data<T>(), epilogue, y.data<T>(), memory);
    } else {
      direct_forward(p, x.data<T>(), w.data<T>(), epilogue, y.data<T>());
    }
  });
  return y;
}

Conv2dStatistics conv2d_statistics(const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias,
                                   const Window& window, int64_t groups, Conv2dAlgorithm algorithm,
                                   Precision precision) {
  constexpr const char* op = "conv2d_statistics";
  const Conv2dParams p = forward_params(op, x, w, bias, window, groups, precision);
  Conv2dStatistics out;
#if defined(SIXLOOP_HAS_CUDA)
  if (on_tensor_cores(precision, x)) {
    check_tensor_core_algorithm(op, algorithm, x.dtype());
    out.y = Tensor::empty({p.n, p.oh, p.ow, p.o}, x.dtype(), x.device());
    if (out.y.size() > 0) {
      out.mean = Tensor::empty({p.o}, DType::float32, x.device());
      out.variance = Tensor::empty({p.o}, DType::float32, x.device());
      const Tensor* const b = bias ? &*bias : nullptr;
      if (cuda::mma_conv2d_statistics(p, x, w, b, out.y, out.mean, out.variance)) return out;
    }
  }
#endif
  if (!on_tensor_cores(precision, x)) {
    (void)select_algorithm(op, Conv2dPass::forward, p, algorithm);  // throws in this op's name
    out.y = conv2d(x, w, bias, window, groups, Activation::none, algorithm);
  }
  // What batch_norm computes on its way.
  const DType computed = x.dtype() == DType::bfloat16 ? DType::float32 : x.dtype();
  const Tensor zeros = Tensor::zeros({p.o}, computed, x.device());
  const BatchNorm norm = batch_norm(out.y, zeros, zeros, std::nullopt, std::nullopt, 1.0, Activation::none);
  out.mean = norm.mean;
  out.variance = norm.variance;
  return out;
}

Tensor conv2d_grad_input(const Tensor& dy, const Tensor& w, const Shape& x_shape, const Window& window, int64_t groups,
                         Conv2dAlgorithm algorithm, Precision precision) {
  constexpr const char* op = "conv2d_grad_input";
  check_rank4(op, "dy", dy.shape(), "[N, OH, OW, O]");
  check_dtypes(op, "dy", dy, "weight", w);
  check_precision(op, precision, "dy", dy);
  const Conv2dParams p = conv2d_params(op, x_shape, w.shape(), window, groups);
  check_shape(op, "dy", dy, {p.n, p.oh, p.ow, p.o});
  Tensor dx = Tensor::empty(x_shape, dy.dtype(), dy.device());
#if defined(SIXLOOP_HAS_CUDA)
  if (on_tensor_cores(precision, dy)) {
    check_tensor_core_algorithm(op, algorithm, dy.dtype());
    if (dx.size() > 0) cuda::mma_conv2d_grad_input(p, dy, w, dx);
    return dx;
  }
#endif
  const Conv2dAlgorithm chosen = select_algorithm(op, Conv2dPass::grad_input, p, algorithm);
  if (dx.size() == 0) return dx;
#if defined(SIXLOOP_HAS_CUDA)
  if (dy.device() == Device::cuda) {
    cuda::conv2d_grad_input(p, chosen, dy, w, dx);
    return dx;
  }
#endif
  dispatch_floating(dy.dtype(), [&](auto t) {
    using T = decltype(t);
    if (chosen == Conv2dAlgorithm::im2col) {
      im2col_grad_input(p, dy.data<T>(), w.data<T>(), dx.data<T>());
    } else if (const int64_t side = winograd_side(chosen); side > 0) {
      winograd_grad_input(p, side, dy.data<T>(), w.data<T>(), dx.data<T>());
    } else {
      direct_grad_input(p, dy.data<T>(), w.data<T>(), dx.data<T>());
    }
  });
  return dx;
}

Tensor conv2d_grad_weight(const Tensor& x, const Tensor& dy, const Shape& w_shape, const Window& window, int64_t groups,
                          Conv2dAlgorithm algorithm, Precision precision) {
  constexpr const char* op = "conv2d_grad_weight";
  check_rank4(op, "x", x.shape(), "[N, H, W, C]");
  check_rank4(op, "dy", dy.shape(), "[N, OH, OW, O]");
  check_dtypes(op, "x", x, "dy", dy);
  check_precision(op, precision, "x", x);
  const Conv2dParams p = conv2d_params(op, x.shape(), w_shape, window, groups);
  check_shape(op, "dy", dy, {p.n, p.oh, p.ow, p.o});
#if defined(SIXLOOP_HAS_CUDA)
  if (on_tensor_cores(precision, x)) {
    check_tensor_core_algorithm(op, algorithm, x.dtype());
    if (dy.size() == 0) return Tensor::zeros(w_shape, x.dtype(), x.device());
    Tensor dw = Tensor::empty(w_shape, x.dtype(), x.device());
    if (dw.size() > 0) cuda::mma_conv2d_grad_weight(p, x, dy, dw);
    return dw;
  }
#endif
  const Conv2dAlgorithm chosen = select_algorithm(op, Conv2dPass::grad_weight, p, algorithm);
  if (dy.size() == 0) return Tensor::zeros(w_shape, x.dtype(), x.device());  // the sum over no pixels
  Tensor dw = Tensor::empty(w_shape, x.dtype(), x.device());
  if (dw.size() == 0) return dw;
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    cuda::conv2d_grad_weight(p, chosen, x, dy, dw);
    return dw;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    if (chosen == Conv2dAlgorithm::im2col) {
      im2col_grad_weight(p, x.data<T>(), dy.data<T>(), dw.data<T>());
    } else if (const int64_t side = winograd_side(chosen); side > 0) {
      winograd_grad_weight(p, side, x.data<T>(), dy.data<T>(), dw.data<T>());
    } else {
      direct_grad_weight(p, x.data<T>(), dy.data<T>(), dw.data<T>());
    }
  });
  return dw;
}

Tensor im2col(const Tensor& x, const Window& window) {
  check_rank("im2col", "x", x, 4, "[N, H, W, C]");
  check_floating("im2col", "x", x);
  const Extent out = output_extent("im2col", window, x.shape()[1], x.shape()[2]);
  const int64_t c = x.shape()[3];
  const Conv2dParams p{x.shape()[0], x.shape()[1], x.shape()[2], c, out.h, out.w, 1, 1, window};
  Tensor col = Tensor::empty({p.n, p.oh, p.ow, Shape{window.kh, window.kw, c}.size()}, x.dtype(), x.device());
  if (col.size() == 0) return col;
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    cuda::im2col(p, x, col);
    return col;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    write_windows(p, x.data<T>(), 0, col.data<T>(), col.shape()[3]);
  });
  return col;
}

Tensor col2im(const Tensor& col, const Shape& x_shape, const Window& window) {
  check_rank("col2im", "col", col, 4, "[N, OH, OW, KH * KW * C]");
  check_rank4("col2im", "x_shape", x_shape, "(N, H, W, C)");
  check_floating("col2im", "col", col);
  const Extent out = output_extent("col2im", window, x_shape[1], x_shape[2]);
  const int64_t c = x_shape[3];
  const Conv2dParams p{x_shape[0], x_shape[1], x_shape[2], c, out.h, out.w, 1, 1, window};
  check_shape("col2im", "col", col, {p.n, p.oh, p.ow, Shape{window.kh, window.kw, c}.size()});
  Tensor x = Tensor::empty(x_shape, col.dtype(), col.device());
  if (x.size() == 0) return x;
#if defined(SIXLOOP_HAS_CUDA)
  if (col.device() == Device::cuda) {
    cuda::col2im(p, col, x);
    return x;
  }
#endif
  dispatch_floating(col.dtype(), [&](auto t) {
    using T = decltype(t);
    add_col2im(p, col.data<T>(), 0, x.data<T>());
  });
  return x;
}

}  // namespace sixloop
