// Max and average pooling over windows of NHWC images, and their gradients.
//
// Padding counts as absent: a window is what of it lies inside the image, which is never nothing, since
// padding is smaller than the window. y[n, i, j, c] folds the cells of window (i, j) of x[n, :, :, c], row by row:
// the cells of a row from left to right, then the rows from top to bottom.
#pragma once

#include <utility>

#include "base/kernel.h"
#include "base/tensor.h"
#include "base/window.h"

namespace sixloop {

struct PoolKernels {
  static Kernels kernels();
};

// x [n, h, w, c]; y and indices [n, oh, ow, c], dense; any alignment.
template <class T>
struct PoolArgs {
  const T* x;
  T* y;
  int64_t n, h, w, c, oh, ow;
  Window window;
  uint8_t* indices = nullptr;
};

// Rows [begin, end) of the n * oh rows of y. The first of equal maxima wins (which of -0 and +0, that is);
// a window with a NaN gives NaN.
struct MaxPool2d : PoolKernels {
  static constexpr const char* name = "max_pool2d";
  template <class T>
  using Fn = void(const PoolArgs<T>& args, int64_t begin, int64_t end);
};

// As MaxPool2d, and into args.indices the number of each maximum: the cells of a window, with those in the padding,
// count row by row from 0. In a window with a NaN it is that of the first NaN. A window has at most 256 cells.
struct MaxPool2dIndices : PoolKernels {
  static constexpr const char* name = "max_pool2d_indices";
  template <class T>
  using Fn = void(const PoolArgs<T>& args, int64_t begin, int64_t end);
};

// Rows [begin, end) of the n * oh rows of y. Divides by the number of cells inside the image.
struct AvgPool2d : PoolKernels {
  static constexpr const char* name = "avg_pool2d";
  template <class T>
  using Fn = void(const PoolArgs<T>& args, int64_t begin, int64_t end);
};

// dy [n, oh, ow, c]; x and dx [n, h, w, c]; indices as MaxPool2dIndices makes them. For a maximum either x or indices
// is null, for the average both are. A unit is `block` rows of dx of one image,
// the last of an image fewer; block is a multiple of the stride unless it is h. Unit u belongs to image
// u / units_per_image. Every dx is gathered from the windows that cover it, in row-major order: no unit writes
// what another one does.
template <class T>
struct PoolGradArgs {
  const T* dy;
  const T* x;
  T* dx;
  int64_t n, h, w, c, oh, ow;
  Window window;
  int64_t block;
  int64_t units_per_image;
  const uint8_t* indices = nullptr;
};

// Units [begin, end). dy goes to the first maximum of its window, to the first NaN where there is one: found again from
// x, or taken from indices. scratch (not with indices): one T for each output of the windows that meet a unit, and 16
// more; a window has at most 2^24 cells, whose numbers float32 holds.
struct MaxPool2dGrad : PoolKernels {
  static constexpr const char* name = "max_pool2d_grad";
  template <class T>
  using Fn = void(const PoolGradArgs<T>& args, int64_t begin, int64_t end, T* scratch);
};

// Units [begin, end). dy / (cells inside) goes to every cell of its window. scratch as above.
struct AvgPool2dGrad : PoolKernels {
  static constexpr const char* name = "avg_pool2d_grad";
  template <class T>
  using Fn = void(const PoolGradArgs<T>& args, int64_t begin, int64_t end, T* scratch);
};

// The shape of the result for an input [N, H, W, C]; checks everything about the window.
Shape pool2d_output_shape(const char* op, const Shape& x, const Window& window);

Tensor max_pool2d(const Tensor& x, const Window& window);
// The maxima, and their numbers as bytes.
std::pair<Tensor, Tensor> max_pool2d_indices(const Tensor& x, const Window& window);
Tensor max_pool2d_grad(const Tensor& dy, const Tensor& x, const Window& window);
Tensor max_pool2d_grad(const Tensor& dy, const Shape& x_shape, const Tensor& indices, const Window& window);
Tensor avg_pool2d(const Tensor& x, const Window& window);
Tensor avg_pool2d_grad(const Tensor& dy, const Shape& x_shape, const Window& window);
// [N, H, W, C] -> [N, C]: average pooling with one window of H x W.
Tensor global_avg_pool2d(const Tensor& x);
Tensor global_avg_pool2d_grad(const Tensor& dy, const Shape& x_shape);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "pool2d/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
