#include "conv2d/mma.h"

#include <algorithm>
#include <limits>

#include "conv2d/mma_algorithms.h"
#include "conv2d/simt_grouped.h"
#include "elementwise/simt.h"

namespace sixloop::cuda {
namespace {

// Groups of fewer channels in a row of the result leave most of a tile empty. Kernels without tensor cores do them, and
// what does not fit into 32 bits.
template <class T>
bool without_tensor_cores(const Conv2dParams& p, int64_t columns, const Windows<T>& windows, int64_t pixels) {
  constexpr int64_t kFewChannels = 16;
  const int64_t filter_size = p.window.kh * p.window.kw * (p.c / p.groups);  // below 2^62: it is part of an array's
  if (p.groups > 1 && columns / p.groups < kFewChannels) {
    note_reason("groups of fewer than 16 channels");
    return true;
  }
  const bool is_large = pixels > std::numeric_limits<Index>::max() / 2 ||
                        !is_small(windows, p.n, filter_size < kLimit && p.o < kLimit ? filter_size * p.o : kLimit);
  if (is_large) note_reason("beyond 32 bits");
  return is_large;
}

// A product of dense matrices: no window reaches over another pixel.
bool is_dense_product(const Conv2dParams& p) {
  const Window& w = p.window;
  return w.kh == 1 && w.kw == 1 && w.stride_h == 1 && w.stride_w == 1 && w.pad_top == 0 && w.pad_bottom == 0 &&
         w.pad_left == 0 && w.pad_right == 0;
}

constexpr int kThreads = 256;

// Rows of `length` elements become rows of `padded`, a multiple of a chunk, zeros behind. A thread has a chunk.
template <class T>
__global__ void __launch_bounds__(kThreads)
    pad_rows_kernel(const T* from, int64_t rows, int64_t length, int64_t padded, T* to) {
  constexpr int W = Pack<T>::N;
  const int64_t id = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t row = id / (padded / W), i = id % (padded / W) * W;
  if (row >= rows) return;
  Pack<T> pack;
#pragma unroll
  for (int j = 0; j < W; ++j) pack.v[j] = i + j < length ? from[row * length + i + j] : T{};
  store_pack(pack, to + row * padded + i);
}
// The other way.
template <class T>
__global__ void __launch_bounds__(kThreads)
    crop_rows_kernel(const T* from, int64_t rows, int64_t length, int64_t padded, T* to) {
  const int64_t id = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (id < rows * length) to[id] = from[id / length * padded + id % length];
}

template <class T>
Tensor padded_rows(const T* from, int64_t rows, int64_t length, int64_t padded) {
  const Tensor to = Tensor::empty({rows, padded}, DTypeOf<T>::value, Device::cuda);
  const auto blocks = static_cast<unsigned>(ceil_div(to.size(), int64_t{kThreads} * Pack<T>::N));
  SIXLOOP_LAUNCH(pad_rows_kernel<T>, blocks, kThreads, 0, current_stream(), from, rows, length, padded, to.data<T>());
  return to;
}

// Input channels that are not whole chunks of 16 bytes take the slowest loads, one element each. A copy with channels
// of zeros costs a pass over the input instead; one or two channels, with which most of a chunk would be zeros, go
// without.
template <class T>
int64_t padded_channels(const Conv2dParams& p) {
  constexpr int64_t kChunk = Pack<T>::N, kFewest = 3;
  return p.groups == 1 && p.c >= kFewest ? ceil_div(p.c, kChunk) * kChunk : p.c;
}

// moments: as MmaSink has them, or null. Whether they were computed.
template <class T>
bool forward(const Conv2dParams& p, const T* x, const T* w, const Tensor* bias, const Tensor* residual, bool relu,
             float2* moments, const Tensor& y) {
  if (const int64_t c = padded_channels<T>(p); c != p.c) {
    Conv2dParams wide = p;
    wide.c = c;
    const Tensor wide_x = padded_rows(x, p.n * p.h * p.w, p.c, c);
    const Tensor wide_w = padded_rows(w, p.window.kh * p.window.kw, p.c * p.o, c * p.o);
    return forward<T>(wide, wide_x.data<T>(), wide_w.data<T>(), bias, residual, relu, moments, y);
  }
  const int64_t pixels = p.n * p.oh * p.ow, columns = p.o / p.groups;
  const Windows<T> windows = windows_of(p, x);
  if (without_tensor_cores(p, p.o, windows, pixels)) {
    const int64_t tap = windows.run * p.o;
    Sink<T, DenseRows> sink{};
    sink.data = y.data<T>();
    sink.rows = {p.o};
    Tensor wide;
    if (bias != nullptr && bias->dtype() != DType::float32) {
      wide = Tensor::empty(bias->shape(), DType::float32, Device::cuda);
      cast(*bias, wide);
      bias = &wide;
    }
    sink.bias = bias != nullptr ? bias->data<float>() : nullptr;
    sink.relu = relu && residual == nullptr;
    grouped_windows(p, windows, Filters<T>{w, 0, p.window.kw * tap, tap, p.o, 1, columns}, pixels, columns, sink);
    if (residual != nullptr) add(y, *residual, relu ? Activation::relu : Activation::none, y);
    return false;
  }
  const ProductSizes g{pixels, columns, windows.steps(), p.groups};
  // Dense products of still more steps are made in parts.
  constexpr int64_t kMostSteps = int64_t{1} << 24;
  if (g.k > kMostSteps) moments = nullptr;
  const MmaResult to{float_or_bf16(&y),       p.o,    columns, y.size(), float_or_bf16(bias), columns, relu,
                     float_or_bf16(residual), moments};
  if (is_dense_product(p)) {
    mma_matrices(g, mma_operand(x, true, p.c, pixels, g.k, g.k), mma_operand(w, false, p.o, columns, g.k, columns), to,
                 false);
  } else {
    mma_forward(g, windows, w, p.o, to);
  }
  return moments != nullptr;
}

template <class T>
void grad_input(const Conv2dParams& p, const T* dy, const T* w, const Tensor& dx) {
  const int64_t columns = p.c / p.groups, tap = columns * p.o, row = p.window.kw * tap;
  const MmaResult to{float_or_bf16(&dx), p.c, columns, dx.size()};
  for (const PhaseWindows<T>& phase : phase_windows(p, dy, false)) {
    const Windows<T>& windows = phase.windows;
    const int64_t pixels = p.n * windows.pixels_h * windows.pixels_w;
    const int64_t first = phase.first_kh * row + phase.first_kw * tap;
    if (without_tensor_cores(p, p.c, windows, pixels)) {
      Sink<T, PhaseRows> sink{};
      sink.data = dx.data<T>();
      sink.rows = phase_rows(p, phase);
      grouped_windows(p, windows, Filters<T>{w, first, phase.step_kh * row, phase.step_kw * tap, 1, p.o, windows.run},
                      pixels, columns, sink);
      continue;
    }
    const ProductSizes g{pixels, columns, windows.steps(), p.groups};
    if (is_dense_product(p)) {
      mma_matrices(g, mma_operand(dy, true, p.o, pixels, g.k, g.k), mma_operand(w, true, p.o, columns, g.k, g.k), to,
                   false);
      continue;
    }
    const auto cut = [](int64_t value) { return static_cast<Index>(value); };
    const Windows<T, Index> small = shortened(windows);
    const MmaFilters<T> filters{w,
                                cut(first),
                                cut(phase.step_kh * row),
                                cut(phase.step_kw * tap),
                                cut(p.o),
                                small.run,
                                small.taps_h,
                                small.taps_w,
                                small.run,
                                cut(columns)};
    const Window& win = p.window;
    const MmaPhaseRows rows{win.stride_h == 1 && win.stride_w == 1,
                            small.pixels_h,
                            small.pixels_w,
                            (phase.first_h * p.w + phase.first_w) * p.c,
                            win.stride_h * p.w * p.c,
                            win.stride_w * p.c,
                            p.h * p.w * p.c,
                            p.c};
    mma_grad_input(g, windows, filters, rows, to);
  }
}

template <class T>
void grad_weight(const Conv2dParams& p, const T* x, const T* dy, const Tensor& dw) {
  if (const int64_t c = padded_channels<T>(p); c != p.c) {
    Conv2dParams wide = p;
    wide.c = c;
    const int64_t taps = p.window.kh * p.window.kw;
    const Tensor wide_x = padded_rows(x, p.n * p.h * p.w, p.c, c);
    const Tensor wide_dw = Tensor::empty({taps, c * p.o}, dw.dtype(), Device::cuda);
    grad_weight<T>(wide, wide_x.data<T>(), dy, wide_dw);
    SIXLOOP_LAUNCH(crop_rows_kernel<T>, static_cast<unsigned>(ceil_div(dw.size(), kThreads)), kThreads, 0,
                   current_stream(), static_cast<const T*>(wide_dw.data<T>()), taps, p.c * p.o, c * p.o, dw.data<T>());
    return;
  }
  const int64_t pixels = p.n * p.oh * p.ow, columns = p.o / p.groups;
  const Windows<T> windows = windows_of(p, x);
  const ProductSizes g{windows.steps(), columns, pixels, p.groups};
  const MmaResult to{float_or_bf16(&dw), p.o, columns, dw.size()};
  if (without_tensor_cores(p, p.o, windows, pixels)) {
    // A thread has an element of a part: more parts than the CPU's, since depthwise filters have few elements.
    constexpr int64_t kMostParts = 1024;
    const MmaLimits& limits = kMmaLimitsHere;
    const int64_t parts =
        std::max<int64_t>(1, std::min({pixels / limits.least_part_k, limits.workspace / dw.size(), kMostParts}));
    const Tensor sums = Tensor::empty({parts, dw.size()}, DType::float32, Device::cuda);
    grouped_grad_weight(p, windows, dy, pixels, parts, ceil_div(pixels, parts), sums.data<float>());
    return add_mma_parts(sums.data<float>(), parts, to);
  }
  if (is_dense_product(p)) {
    return mma_matrices(g, mma_operand(x, false, p.c, g.m, pixels, g.m),
                        mma_operand(dy, false, p.o, columns, pixels, columns), to, true);
  }
  mma_grad_weight(g, windows, dy, p.o, p.n, to);
}

// Calls f with a value of the result's type, which is that of the factors.
template <class F>
void with_factor(const Tensor& result, const F& f) {
  result.dtype() == DType::bfloat16 ? f(BFloat16{}) : f(float{});
}

}  // namespace

void mma_conv2d(const Conv2dParams& p, const Tensor& x, const Tensor& w, const Tensor* bias, const Tensor* residual,
                Activation activation, const Tensor& y) {
  const bool relu = activation == Activation::relu;
  with_factor(y, [&](auto t) {
    using T = decltype(t);
    forward<T>(p, x.data<T>(), w.data<T>(), bias, residual, relu, nullptr, y);
  });
  // Others are a pass of their own, over rounded results: all of them in the kernels would cost registers.
  if (activation != Activation::none && !relu) activate(y, activation, default_alpha(activation), y);
}

bool mma_conv2d_statistics(const Conv2dParams& p, const Tensor& x, const Tensor& w, const Tensor* bias, const Tensor& y,
                           const Tensor& mean, const Tensor& variance) {
  const int64_t rows = p.n * p.oh * p.ow;
  const Tensor memory = Tensor::empty({ceil_div(rows, int64_t{kMomentRows}), p.o, 2}, DType::float32, Device::cuda);
  auto* const moments = reinterpret_cast<float2*>(memory.data<float>());
  bool computed = false;
  with_factor(y, [&](auto t) {
    using T = decltype(t);
    computed = forward<T>(p, x.data<T>(), w.data<T>(), bias, nullptr, false, moments, y);
  });
  if (computed) merge_statistics(moments, rows, p.o, mean.data<float>(), variance.data<float>());
  return computed;
}

void mma_conv2d_grad_input(const Conv2dParams& p, const Tensor& dy, const Tensor& w, const Tensor& dx) {
  with_factor(dx, [&](auto t) {
    using T = decltype(t);
    grad_input<T>(p, dy.data<T>(), w.data<T>(), dx);
  });
}

void mma_conv2d_grad_weight(const Conv2dParams& p, const Tensor& x, const Tensor& dy, const Tensor& dw) {
  with_factor(dw, [&](auto t) {
    using T = decltype(t);
    grad_weight<T>(p, x.data<T>(), dy.data<T>(), dw);
  });
}

}  // namespace sixloop::cuda
