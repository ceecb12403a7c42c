#include "conv2d/simt.h"

#include "conv2d/simt_algorithms.h"
#include "elementwise/simt.h"

namespace sixloop::cuda {
namespace {

// 0 for other algorithms.
int64_t winograd_side(Conv2dAlgorithm algorithm) {
  return algorithm == Conv2dAlgorithm::winograd4x4 ? 4 : algorithm == Conv2dAlgorithm::winograd2x2 ? 2 : 0;
}

}  // namespace

void conv2d(const Conv2dParams& p, Conv2dAlgorithm algorithm, const Tensor& x, const Tensor& w, const Tensor* bias,
            Activation activation, const Tensor& y) {
  dispatch_floating(y.dtype(), [&](auto t) {
    using T = decltype(t);
    const BiasRelu<T> epilogue{bias != nullptr ? bias->data<T>() : nullptr, activation == Activation::relu};
    const T* const from = x.data<T>();
    const T* const filters = w.data<T>();
    if (const int64_t side = winograd_side(algorithm); side > 0) {
      cuda::winograd_forward(p, side, from, filters, epilogue, y.data<T>());
    } else if (algorithm == Conv2dAlgorithm::im2col) {
      cuda::im2col_forward(p, from, filters, epilogue, y.data<T>());
    } else {
      cuda::direct_forward(p, from, filters, epilogue, y.data<T>());
    }
  });
  // Others are a pass of their own: all of them in the kernels would cost registers.
  if (activation != Activation::none && activation != Activation::relu) {
    activate(y, activation, default_alpha(activation), y);
  }
}

void conv2d_grad_input(const Conv2dParams& p, Conv2dAlgorithm algorithm, const Tensor& dy, const Tensor& w,
                       const Tensor& dx) {
  dispatch_floating(dx.dtype(), [&](auto t) {
    using T = decltype(t);
    const T* const from = dy.data<T>();
    const T* const filters = w.data<T>();
    if (const int64_t side = winograd_side(algorithm); side > 0) {
      cuda::winograd_grad_input(p, side, from, filters, dx.data<T>());
    } else if (algorithm == Conv2dAlgorithm::im2col) {
      cuda::im2col_grad_input(p, from, filters, dx.data<T>());
    } else {
      cuda::direct_grad_input(p, from, filters, dx.data<T>());
    }
  });
}

void conv2d_grad_weight(const Conv2dParams& p, Conv2dAlgorithm algorithm, const Tensor& x, const Tensor& dy,
                        const Tensor& dw) {
  dispatch_floating(dw.dtype(), [&](auto t) {
    using T = decltype(t);
    const T* const from = x.data<T>();
    const T* const gradient = dy.data<T>();
    if (const int64_t side = winograd_side(algorithm); side > 0) {
      cuda::winograd_grad_weight(p, side, from, gradient, dw.data<T>());
    } else if (algorithm == Conv2dAlgorithm::im2col) {
      cuda::im2col_grad_weight(p, from, gradient, dw.data<T>());
    } else {
      cuda::direct_grad_weight(p, from, gradient, dw.data<T>());
    }
  });
}

void im2col(const Conv2dParams& p, const Tensor& x, const Tensor& col) {
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    cuda::write_windows(p, static_cast<const T*>(x.data<T>()), 0, col.data<T>());
  });
}

void col2im(const Conv2dParams& p, const Tensor& col, const Tensor& x) {
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    cuda::add_col2im(p, static_cast<const T*>(col.data<T>()), 0, x.data<T>());
  });
}

}  // namespace sixloop::cuda
