#include "pool2d/pool2d.h"

#include <algorithm>
#include <type_traits>

#include "base/allocator.h"
#include "base/error.h"
#include "base/rows.h"
#include "base/validate.h"
#include "pool2d/simt.h"

namespace sixloop {
namespace {

constexpr const char* kLayout = "[N, H, W, C]";
constexpr int64_t kMaxNumbered = int64_t{1} << 24;
constexpr int64_t kMaxIndexed = 256;
// The last vector of a pixel may reach this far beyond it.
constexpr int64_t kSpare = 16;

void check_rank4(const char* op, const char* arg, const Shape& shape) {
  if (shape.rank() != 4) {
    value_error("[", op, "] ", arg, " must have 4 dimensions ", kLayout, "; got ", shape.rank(), " in shape ", shape);
  }
}

void check_indexed(const char* op, const Window& window) {
  check_window(op, window);
  if (window.kh * window.kw > kMaxIndexed) {
    value_error("[", op, "] indices are bytes: a window has at most ", kMaxIndexed, " cells; got window (", window.kh,
                ", ", window.kw, ")");
  }
}

Window whole_image(const char* op, const Shape& x) {
  check_rank4(op, "x", x);
  Window window;
  window.kh = window.stride_h = x[1];
  window.kw = window.stride_w = x[2];
  return window;
}

// indices: null, or where the kind's indices go, as many as results.
template <class Kind>
Tensor pool(const Tensor& x, const Window& window, Tensor* indices = nullptr) {
  const char* op = indices != nullptr ? MaxPool2d::name : Kind::name;
  check_rank(op, "x", x, 4, kLayout);
  check_floating_or_bfloat16(op, "x", x);
  const Shape shape = pool2d_output_shape(op, x.shape(), window);
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  if (indices != nullptr) *indices = Tensor::empty(shape, DType::uint8, x.device());
  if (y.size() == 0) return y;
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    if constexpr (std::is_same_v<Kind, AvgPool2d>) {
      cuda::avg_pool2d(x, window, y);
    } else {
      cuda::max_pool2d(x, window, y, indices);
    }
    return y;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const Shape& in = x.shape();
    uint8_t* numbers = indices != nullptr ? indices->data<uint8_t>() : nullptr;
    const PoolArgs<T> args{x.data<T>(), y.data<T>(), in[0], in[1], in[2], in[3], shape[1], shape[2], window, numbers};
    const auto kernel = select<Kind, T>();
    const int64_t row_cost = std::min(window.kh, in[1]) * in[2] * in[3];
    parallel_rows(in[0] * shape[1], row_cost, [&](int64_t begin, int64_t end) { kernel(args, begin, end); });
  });
  return y;
}

// Rows of dx in one unit: about 64 KiB of scratch, and so many rows that the windows which two units share
// (and both evaluate) are few.
int64_t unit_rows(const Window& window, int64_t h, int64_t out_row_bytes) {
  const int64_t out_rows = std::clamp<int64_t>(65536 / out_row_bytes, 2, 16);
  const int64_t rows = std::max(out_rows * window.stride_h, 8 * (window.kh - window.stride_h));
  const int64_t whole = (rows + window.stride_h - 1) / window.stride_h * window.stride_h;
  return std::min(whole, h);
}

// x, indices: null where the kind has none.
template <class Kind>
Tensor pool_grad(const Tensor& dy, const Tensor* x, const Tensor* indices, const Shape& in, const Window& window) {
  const char* op = Kind::name;
  check_rank4(op, x != nullptr ? "x" : "x_shape", in);
  check_floating_or_bfloat16(op, "dy", dy);
  const Shape out = pool2d_output_shape(op, in, window);
  check_shape(op, "dy", dy, out);
  if (indices != nullptr) {
    if (indices->dtype() != DType::uint8) {
      type_error("[", op, "] indices must be uint8, as max_pool2d returns them; got ", name_of(indices->dtype()));
    }
    check_shape(op, "indices", *indices, out);
  }
  Tensor dx = Tensor::empty(in, dy.dtype(), dy.device());
  if (dx.size() == 0) return dx;
#if defined(SIXLOOP_HAS_CUDA)
  if (dy.device() == Device::cuda) {
    if constexpr (std::is_same_v<Kind, AvgPool2dGrad>) {
      cuda::avg_pool2d_grad(dy, window, dx);
    } else {
      cuda::max_pool2d_grad(dy, x, indices, window, dx);
    }
    return dx;
  }
#endif
  dispatch_floating(dy.dtype(), [&](auto t) {
    using T = decltype(t);
    const int64_t out_row = out[2] * out[3];
    const int64_t block = unit_rows(window, in[1], out_row * static_cast<int64_t>(sizeof(T)));
    const int64_t units = (in[1] + block - 1) / block;
    PoolGradArgs<T> args{};
    args.dy = dy.data<T>();
    args.x = x != nullptr ? x->data<T>() : nullptr;
    args.dx = dx.data<T>();
    args.n = in[0], args.h = in[1], args.w = in[2], args.c = in[3];
    args.oh = out[1], args.ow = out[2];
    args.window = window;
    args.block = block;
    args.units_per_image = units;
    args.indices = indices != nullptr ? indices->data<uint8_t>() : nullptr;
    const auto kernel = select<Kind, T>();
    const int64_t scratch_rows = std::min(out[1], (block + window.kh - 2) / window.stride_h + 1);
    parallel_rows(in[0] * units, block * in[2] * in[3], [&](int64_t begin, int64_t end) {
      Buffer<T> scratch(indices != nullptr ? 0 : scratch_rows * out_row + kSpare);
      kernel(args, begin, end, scratch.get());
    });
  });
  return dx;
}

}  // namespace

Kernels PoolKernels::kernels() {
  static const Kernel rows[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "pool2d/kernels.inc"
#undef SIXLOOP_KERNEL
  };
  return {rows, sizeof rows / sizeof *rows};
}

Shape pool2d_output_shape(const char* op, const Shape& x, const Window& window) {
  check_rank4(op, "x", x);
  check_window(op, window);
  if (window.dilation_h != 1 || window.dilation_w != 1) {
    value_error("[", op, "] a pooling window has no dilation; got (", window.dilation_h, ", ", window.dilation_w, ")");
  }
  if (window.pad_top >= window.kh || window.pad_bottom >= window.kh || window.pad_left >= window.kw ||
      window.pad_right >= window.kw) {
    value_error("[", op,
                "] padding must be smaller than the window, so that no window lies wholly in it; got "
                "padding ((",
                window.pad_top, ", ", window.pad_bottom, "), (", window.pad_left, ", ", window.pad_right,
                ")), window (", window.kh, ", ", window.kw, ")");
  }
  const Extent out = output_extent(op, window, x[1], x[2]);
  return {x[0], out.h, out.w, x[3]};
}

Tensor max_pool2d(const Tensor& x, const Window& window) { return pool<MaxPool2d>(x, window); }

std::pair<Tensor, Tensor> max_pool2d_indices(const Tensor& x, const Window& window) {
  check_indexed(MaxPool2d::name, window);
  Tensor indices;
  Tensor y = pool<MaxPool2dIndices>(x, window, &indices);
  return {std::move(y), std::move(indices)};
}

Tensor avg_pool2d(const Tensor& x, const Window& window) { return pool<AvgPool2d>(x, window); }

Tensor max_pool2d_grad(const Tensor& dy, const Tensor& x, const Window& window) {
  constexpr const char* op = MaxPool2dGrad::name;
  check_rank(op, "x", x, 4, kLayout);
  check_floating_or_bfloat16(op, "x", x);
  check_same_dtype(op, "dy", dy, "x", x);
  check_window(op, window);
  if (window.kh * window.kw > kMaxNumbered) {
    value_error("[", op, "] a window has at most ", kMaxNumbered, " cells; got window (", window.kh, ", ", window.kw,
                ")");
  }
  return pool_grad<MaxPool2dGrad>(dy, &x, nullptr, x.shape(), window);
}

Tensor max_pool2d_grad(const Tensor& dy, const Shape& x_shape, const Tensor& indices, const Window& window) {
  check_indexed(MaxPool2dGrad::name, window);
  return pool_grad<MaxPool2dGrad>(dy, nullptr, &indices, x_shape, window);
}

Tensor avg_pool2d_grad(const Tensor& dy, const Shape& x_shape, const Window& window) {
  return pool_grad<AvgPool2dGrad>(dy, nullptr, nullptr, x_shape, window);
}

Tensor global_avg_pool2d(const Tensor& x) {
  constexpr const char* op = "global_avg_pool2d";
  check_rank(op, "x", x, 4, kLayout);
  check_floating_or_bfloat16(op, "x", x);
  const Tensor y = pool<AvgPool2d>(x, whole_image(op, x.shape()));
  return y.reshape({x.shape()[0], x.shape()[3]});
}

Tensor global_avg_pool2d_grad(const Tensor& dy, const Shape& x_shape) {
  constexpr const char* op = "global_avg_pool2d_grad";
  check_floating_or_bfloat16(op, "dy", dy);
  const Window window = whole_image(op, x_shape);
  check_shape(op, "dy", dy, {x_shape[0], x_shape[3]});
  return pool_grad<AvgPool2dGrad>(dy.reshape({x_shape[0], 1, 1, x_shape[3]}), nullptr, nullptr, x_shape, window);
}

}  // namespace sixloop
