// Two-dimensional convolution (cross-correlation, as all deep-learning libraries have it) and its gradients.
//
//     y[n, oh, ow, o] = activation(bias[o] + residual[n, oh, ow, o] + sum over kh, kw, i of
//         x[n, oh * stride_h - pad_top + kh * dilation_h, ow * stride_w - pad_left + kw * dilation_w, g * I + i]
//         * w[kh, kw, i, o])                               g = o / (O / groups), I = C / groups
//
// x is [N, H, W, C], w [KH, KW, I, O], y [N, OH, OW, O]; elements outside x count as zero.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/kernel.h"
#include "base/tensor.h"
#include "base/window.h"
#include "elementwise/activation.h"
#include "gemm/precision.h"

namespace sixloop {

namespace cuda {  // cuda/dry_run.h
struct Plan;
struct Capability;
}  // namespace cuda

// All sizes of one convolution, checked.
struct Conv2dParams {
  int64_t n, h, w, c;
  int64_t oh, ow, o;
  int64_t groups;
  Window window;
};

enum class Conv2dAlgorithm { automatic, direct, im2col, winograd2x2, winograd4x4, implicit_gemm };
enum class Conv2dPass { forward, grad_input, grad_weight };

// Throws for an unknown name and lists the valid ones.
Conv2dAlgorithm parse_conv2d_algorithm(const char* op, const std::string& name);
Conv2dPass parse_conv2d_pass(const char* op, const std::string& name);
const char* name_of(Conv2dAlgorithm algorithm);

// What `automatic` stands for, except on tensor cores: a pure function of the shape. Throws where the algorithm asked
// for does not apply. The rule that decided goes to *reason, unless it is null.
Conv2dAlgorithm select_algorithm(const char* op, Conv2dPass pass, const Conv2dParams& params, Conv2dAlgorithm asked,
                                 std::string* reason = nullptr);

// What a convolution does, for people; by the functions that decide it.
struct Conv2dPlan {
  Conv2dAlgorithm algorithm;
  std::string reason;  // why this algorithm
  const char* way;     // how it goes about
  std::vector<const Kernel*> kernels;
  int64_t scratch;  // bytes from the allocator besides the result, at most, with the present number of threads
  int64_t kept;     // bytes that stay for the next call: with keep_filters, which is for the forward pass
};
Conv2dPlan plan_conv2d(const char* op, Conv2dPass pass, const Conv2dParams& params, Conv2dAlgorithm asked, DType dtype,
                       bool keep_filters = false);

// The same on a GPU, which need not be here: by a dry run of the pass.
cuda::Plan plan_conv2d_on_cuda(const char* op, Conv2dPass pass, const Conv2dParams& params, Conv2dAlgorithm asked,
                               DType dtype, Precision precision, std::optional<cuda::Capability> capability);

// Checks shapes in the order rank, positive sizes, divisibility, derived sizes.
Conv2dParams conv2d_params(const char* op, const Shape& x, const Shape& w, const Window& window, int64_t groups);

// keep_filters: the form of the filters that the kernels read may be kept beside w's own memory for the next call.
Tensor conv2d(const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias, const Window& window, int64_t groups,
              Activation activation, Conv2dAlgorithm algorithm, Precision precision = Precision::fp32,
              const std::optional<Tensor>& residual = std::nullopt, bool keep_filters = false);
struct Conv2dStatistics {
  Tensor y, mean, variance;
};
// conv2d, and each output channel's mean and biased variance, as batch_norm has them: float32 where x is bfloat16.
Conv2dStatistics conv2d_statistics(const Tensor& x, const Tensor& w, const std::optional<Tensor>& bias,
                                   const Window& window, int64_t groups, Conv2dAlgorithm algorithm,
                                   Precision precision = Precision::fp32);
Tensor conv2d_grad_input(const Tensor& dy, const Tensor& w, const Shape& x_shape, const Window& window, int64_t groups,
                         Conv2dAlgorithm algorithm, Precision precision = Precision::fp32);
Tensor conv2d_grad_weight(const Tensor& x, const Tensor& dy, const Shape& w_shape, const Window& window, int64_t groups,
                          Conv2dAlgorithm algorithm, Precision precision = Precision::fp32);

// [N, OH, OW, KH * KW * C]: row (n, oh, ow) has the elements under that window, zeros for padding.
Tensor im2col(const Tensor& x, const Window& window);
// The adjoint of im2col: every element of x_shape is the sum of its copies in `col`, kh and kw ascending.
Tensor col2im(const Tensor& col, const Shape& x_shape, const Window& window);

// One pixel row of a depthwise convolution: y[p][c] = bias[c] + sum over t of a[p * taps + t][c] * w[t * channels + c],
// t ascending, one fused multiply-add each, for 0 <= c < channels. bias may be null; relu as in gemm/microkernel.h.
template <class T>
struct DepthwiseTile {
  int64_t pixels;
  int64_t taps;
  int64_t channels;
  const T* const* a;
  const T* w;
  const T* bias;
  bool relu;
  T* const* y;
};

struct Depthwise {
  static constexpr const char* name = "depthwise";
  template <class T>
  using Fn = void(const DepthwiseTile<T>&);
  static Kernels kernels();
};

// sum[c] += sum over p of a[p][c] * dy[p * ld + c], p ascending, one fused multiply-add each.
struct DepthwiseGradWeight {
  static constexpr const char* name = "depthwise_grad_weight";
  template <class T>
  using Fn = void(int64_t pixels, int64_t channels, const T* const* a, const T* dy, int64_t ld, T* sum);
  static Kernels kernels();
};

// Convolution of channel planes with stride 1 and few output channels. Its vectors of N lanes, NR in all, run along an
// image row, or each along a row of its own:
//     y[o * NR + v * N + j] = bias[o] + sum over s ascending of w[s * MR + o] * x[offsets[s] + v * x_step + j]
// for 0 <= o < MR, 0 <= v < NR / N, 0 <= j < N. bias may be null; relu as in gemm/microkernel.h.
template <class T>
struct PlanarTile {
  int64_t steps;
  const T* w;
  const T* x;
  int64_t x_step;
  const int64_t* offsets;
  const T* bias;
  bool relu;
  T* y;
};

struct Planar {
  static constexpr const char* name = "planar";
  template <class T>
  using Fn = void(const PlanarTile<T>&);
  static Kernels kernels();
};

// Parts of a weight gradient's sum over pixels, one in each of kPartLanes lanes: for 0 <= i < live_rows <= MR,
// 0 <= j < live_columns <= NR and each lane l
//     c[i * ldc + j * kPartLanes + l] += sum over r < rows, k < run of
//         a[r * a_row + k * a_step + i * kPartLanes + l] * b[(r * run + k) * b_step + j * kPartLanes + l]
// r, k ascending, each step one fused multiply-add. a and b are defined up to MR and NR; nothing else of c is touched.
constexpr int64_t kPartLanes = 16;

template <class T>
struct LaneSumsArgs {
  int64_t rows;
  int64_t run;
  const T* a;
  int64_t a_row;
  int64_t a_step;
  const T* b;
  int64_t b_step;
  int64_t live_rows;
  int64_t live_columns;
  T* c;
  int64_t ldc;
};

struct LaneSums {
  static constexpr const char* name = "lane_sums";
  template <class T>
  using Fn = void(const LaneSumsArgs<T>&);
  static Kernels kernels();
};

// One tile of Winograd's convolution F(MR x MR, 3 x 3), which has (MR + 2)^2 products for each channel.
//
// input, filter, grad_output: pixels[i] of the tile, the filter or the tile of dy have `channels` elements each;
// product i goes to products + i * step. output, grad_filter: the other way, to results[i], with bias and relu as in
// gemm/microkernel.h. The matrices are those of winograd_lines-inl.h.
//
// Kernels of 4x4 also take tiles of fewer rows and columns, at the edges of an image: pixels and results are numbered
// as in a whole tile, and of the products only those are read and written that is_winograd_product() names.
enum class WinogradTransform { input, filter, output, grad_output, grad_filter };

template <class T>
struct WinogradTile {
  WinogradTransform transform;
  int64_t channels;
  const T* const* pixels;
  T* const* results;
  T* products;
  int64_t step;
  const T* bias;
  bool relu;
  // What the next tile's `pixels` or `results` are, to be fetched meanwhile; or null.
  const T* const* next;
  // Outputs of the tile: MR, or fewer in input, output and grad_output of a kernel of 4x4.
  int64_t rows, columns;
};

// Whether a line of `outputs` <= 4 outputs of F(4, 3) has product i, of its six.
constexpr bool is_winograd_product(int64_t i, int64_t outputs) { return i <= outputs || i == 5; }

struct Winograd {
  static constexpr const char* name = "winograd";
  template <class T>
  using Fn = void(const WinogradTile<T>&);
  static Kernels kernels();
};

// The same for 5 x 5 filters: F(MR x MR, 5 x 5), which has (MR + 4)^2 products.
struct WinogradOf5x5 {
  static constexpr const char* name = "winograd5x5";
  template <class T>
  using Fn = Winograd::Fn<T>;
  static Kernels kernels();
};

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "conv2d/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
