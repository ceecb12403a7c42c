// The algorithms of simt.cu, and how their kernels gather what lies under a window. They are called with their
// namespace, as cuda::direct_forward(): the CPU's have the same names and arguments.
#pragma once

#include "conv2d/algorithms.h"
#include "gemm/simt_product.h"

namespace sixloop::cuda {

// Functions <algorithm>_<pass>() as in conv2d/algorithms.h. An epilogue here ends with relu or nothing.
template <class T>
struct BiasRelu {
  const T* bias = nullptr;
  bool relu = false;
};

template <class T>
void direct_forward(const Conv2dParams& p, const T* x, const T* w, const BiasRelu<T>& epilogue, T* y);
template <class T>
void direct_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx);
template <class T>
void direct_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw);

template <class T>
void im2col_forward(const Conv2dParams& p, const T* x, const T* w, const BiasRelu<T>& epilogue, T* y);
template <class T>
void im2col_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx);
template <class T>
void im2col_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw);
template <class T>
void write_windows(const Conv2dParams& p, const T* x, int64_t group, T* col);
template <class T>
void add_col2im(const Conv2dParams& p, const T* col, int64_t group, T* x);

template <class T>
void winograd_forward(const Conv2dParams& p, int64_t side, const T* x, const T* w, const BiasRelu<T>& epilogue, T* y);
template <class T>
void winograd_grad_input(const Conv2dParams& p, int64_t side, const T* dy, const T* w, T* dx);
template <class T>
void winograd_grad_weight(const Conv2dParams& p, int64_t side, const T* x, const T* dy, T* dw);

// Uninitialised memory for `size` elements until the end of the scope, in the stream's order.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t size) : tensor_(Tensor::empty({size}, DTypeOf<T>::value, Device::cuda)) {}
  T* get() const { return tensor_.template data<T>(); }

 private:
  Tensor tensor_;
};

// dw[i] = the sum of element i of `parts` arrays that follow each other, in order.
template <class T>
struct PartSum {
  const T* sums;
  int64_t parts, size;
  __device__ T operator()(int64_t i, T first) const {
    for (int64_t part = 1; part < parts; ++part) first += sums[part * size + i];
    return first;
  }
};
template <class T>
void add_parts(const T* sums, int64_t parts, int64_t size, T* dw) {
  map(PartSum<T>{sums, parts, size}, dw, size, sums);
}

// A number of three digits: (image, row, column) of a pixel, or (filter row, filter column, channel) of a step.
template <class Index>
struct DigitsOf {
  Index high, middle, low;

  DigitsOf() = default;
  SIXLOOP_HD DigitsOf(int64_t value, Index middles, Index lows)
      : high(static_cast<Index>(value / lows / middles)),
        middle(static_cast<Index>(value / lows % middles)),
        low(static_cast<Index>(value % lows)) {}

  __device__ __forceinline__ void add(const DigitsOf& by, Index middles, Index lows) {
    low += by.low;
    middle += by.middle;
    high += by.high;
    if (low >= lows) {
      low -= lows;
      ++middle;
    }
    if (middle >= middles) {
      middle -= middles;
      ++high;
    }
  }
  __device__ __forceinline__ void next(Index middles, Index lows) {
    if (++low < lows) return;
    low = 0;
    if (++middle < middles) return;
    middle = 0;
    ++high;
  }
};
using Digits = DigitsOf<int64_t>;

// Windows over the images of data [n, h, w, c]: pixel (ph, pw) of pixels_h x pixels_w and filter offset (i, j) of
// taps_h x taps_w meet at row ph * step_h + base_h + i * tap_h, columns alike. Outside the image are zeros. A window
// has `run` channels at each offset, those of group g from channel g * run on.
template <class T, class Index = int64_t>
struct Windows {
  const T* data;
  Index h, w, c;
  Index pixels_h, pixels_w;
  Index step_h, step_w, base_h, base_w, tap_h, tap_w;
  Index taps_h, taps_w, run;
  bool packs;  // every run begins where packs may be loaded, and is made of them

  int64_t steps() const { return int64_t{taps_h} * taps_w * run; }

  __device__ __forceinline__ Index row(Index ph, Index i) const { return ph * step_h + base_h + i * tap_h; }
  __device__ __forceinline__ Index column(Index pw, Index j) const { return pw * step_w + base_w + j * tap_w; }
  __device__ __forceinline__ bool inside(Index r, Index s) const { return r >= 0 && r < h && s >= 0 && s < w; }
  // In an image, and where image n begins.
  __device__ __forceinline__ Index offset(Index r, Index s) const { return (r * w + s) * c; }
  __device__ __forceinline__ int64_t image(int64_t n) const { return n * h * w * c; }
};

// The windows of the forward pass and of the weight gradient.
template <class T>
Windows<T> windows_of(const Conv2dParams& p, const T* x) {
  const Window& win = p.window;
  const int64_t run = p.c / p.groups;
  return {x,
          p.h,
          p.w,
          p.c,
          p.oh,
          p.ow,
          win.stride_h,
          win.stride_w,
          -win.pad_top,
          -win.pad_left,
          win.dilation_h,
          win.dilation_w,
          win.kh,
          win.kw,
          run,
          run % Pack<T>::N == 0 && aligned_for_packs(x)};
}

// What the input gradient needs of one phase of the stride: its pixels' windows over dy, where the pixels lie in dx,
// and which filter offset (kh, kw) window offset (i, j) is: kh = first_kh + i * step_kh.
template <class T>
struct PhaseWindows {
  Windows<T> windows;
  int64_t first_h, first_w;
  int64_t first_kh, step_kh, first_kw, step_kw;
};
// kh and kw ascend, or with `turned` descend; then there is one phase.
template <class T>
std::vector<PhaseWindows<T>> phase_windows(const Conv2dParams& p, const T* dy, bool turned);

// Where the pixels of a phase lie in dx.
struct PhaseRows {
  int64_t pixels_h, pixels_w;
  int64_t first_h, first_w, stride_h, stride_w;
  int64_t h, w, c;
  __device__ __forceinline__ int64_t operator()(int64_t r) const {
    const Digits at(r, pixels_h, pixels_w);
    return ((at.high * h + first_h + at.middle * stride_h) * w + first_w + at.low * stride_w) * c;
  }
};
template <class T>
PhaseRows phase_rows(const Conv2dParams& p, const PhaseWindows<T>& phase) {
  return {phase.windows.pixels_h,
          phase.windows.pixels_w,
          phase.first_h,
          phase.first_w,
          p.window.stride_h,
          p.window.stride_w,
          p.h,
          p.w,
          p.c};
}

}  // namespace sixloop::cuda
