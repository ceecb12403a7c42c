// The algorithms of conv2d.cc. Arrays are dense and not empty; every function writes all of its last argument.
#pragma once

#include <string>
#include <vector>

#include "base/own_memory.h"
#include "conv2d/conv2d.h"
#include "conv2d/geometry.h"
#include "gemm/loops.h"

namespace sixloop {

// The ways of direct convolution, which all give the same bits, and the matrix products that im2col and Winograd make.
enum class ConvWay {
  depthwise,
  planar,
  filter_rows,
  part_lanes,
  turned,
  strips,
  pointers,
  panels,
  turned_product,
  turned_result,
  product,
  winograd
};

// The way that an algorithm takes, the same for all groups, and its kernels: by shape alone.
struct WayPlan {
  ConvWay way;
  const Kernel* kernel;
  const Kernel* transform = nullptr;  // of Winograd's tiles
};

// The functions <algorithm>_scratch() tell the bytes that a pass takes from the allocator besides its result, at most,
// with the present number of threads.

// direct.cc: the input is read through pointers, no matrix is written. These decide what the functions below do, but
// for ConvWay::planar, which also needs finite weights.
template <class T>
WayPlan plan_direct_forward(const Conv2dParams& p);
template <class T>
WayPlan plan_direct_grad_input(const Conv2dParams& p);
template <class T>
WayPlan plan_direct_grad_weight(const Conv2dParams& p);
template <class T>
WayPlan plan_direct(Conv2dPass pass, const Conv2dParams& p);
template <class T>
void direct_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y);
template <class T>
int64_t direct_scratch(Conv2dPass pass, const Conv2dParams& p);
// A 1x1 convolution whose pixels are the rows of a matrix.
bool is_product(const Conv2dParams& p);
// Input pixels are taken by their phase: those with the same remainder of the stride meet the same filter
// offsets, so no multiplication by the zeros between strided outputs is done.
template <class T>
void direct_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx);
// The sum over output pixels is cut into parts by shape alone, which are added in order.
template <class T>
void direct_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw);

// depthwise.cc: one input and one output channel per group.
inline bool is_depthwise(const Conv2dParams& p) { return p.groups > 1 && p.groups == p.c && p.o == p.c; }
template <class T>
void depthwise_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y);
template <class T>
void depthwise_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx);
template <class T>
void depthwise_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw);

template <class T>
int64_t depthwise_scratch(Conv2dPass pass, const Conv2dParams& p);

// planar.cc: direct convolution with stride 1 and so few channels that their vectors would be mostly empty.
bool planar_forward_pays(const Conv2dParams& p);
// The kernel that spends the fewest cycles on the output rows of one image.
template <class T>
const Kernel& select_planar(int64_t channels, int64_t oh, int64_t ow);
// For finite weights: filter rows that meet only padding are left out, and 0 times infinity is NaN.
template <class T>
void planar_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y);

template <class T>
int64_t planar_scratch(const Conv2dParams& p);

// few_channels.cc: direct convolution where a window is a few filter rows of a padded copy, Windows::filter_rows().
// Forward takes all output channels of a few pixels together with a GemmStrip kernel, image lines behind each other.
// The bits are those of direct_forward() and direct_grad_weight().
template <class T>
const Kernel& select_few_channels(const Conv2dParams& p);
bool few_channels_forward_pays(const Kernel& strip, const Conv2dParams& p);
template <class T>
void few_channels_forward(const Kernel& strip, const Conv2dParams& p, const Windows<T>& windows, const T* w,
                          const Epilogue<T>& epilogue, T* y);
template <class T>
void few_channels_grad_weight(const Conv2dParams& p, const Windows<T>& windows, const T* dy, T* dw);

template <class T>
int64_t few_channels_grad_weight_scratch(const Conv2dParams& p);

// part_lanes.cc: the same weight gradient where output channels would leave most of a vector empty. The parts of the
// sum over pixels, kPartLanes of them and each of whole images, are the vectors' lanes.
template <class T>
bool part_lanes_pay(const Conv2dParams& p);
template <class T>
void part_lanes_grad_weight(const Conv2dParams& p, const Windows<T>& windows, const T* dy, T* dw);

template <class T>
int64_t part_lanes_scratch(const Conv2dParams& p);

// im2col.cc: the matrix of windows is written, then multiplied.
template <class T>
WayPlan plan_im2col(Conv2dPass pass, const Conv2dParams& p);
template <class T>
void im2col_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y);
template <class T>
void im2col_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx);
template <class T>
void im2col_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw);
template <class T>
int64_t im2col_scratch(Conv2dPass pass, const Conv2dParams& p);
// The windows of one group: n * oh * ow rows of kh * kw * c / groups elements, ld apart, zeros between.
template <class T>
void write_windows(const Conv2dParams& p, const T* x, int64_t group, T* col, int64_t ld);
template <class T>
void add_col2im(const Conv2dParams& p, const T* col, int64_t group, T* x);

// winograd.cc: F(side x side, 3 x 3) for side 2 and 4, and F(2 x 2, 5 x 5). Null, or why a convolution cannot be done
// so.
const char* winograd_refusal(const Conv2dParams& p, int64_t side);
// The tile that pays, or direct convolution. any_batch: whatever the batch size. The rule that decided goes to *reason,
// unless it is null.
Conv2dAlgorithm winograd_choice(Conv2dPass pass, const Conv2dParams& p, bool any_batch, std::string* reason);
// The transform and the product's kernel.
template <class T>
WayPlan plan_winograd(Conv2dPass pass, const Conv2dParams& p, int64_t side);
// memory: that of w, where transformed filters may be kept beside it; or null.
template <class T>
void winograd_forward(const Conv2dParams& p, int64_t side, const T* x, const T* w, const Epilogue<T>& epilogue, T* y,
                      OwnMemory* memory);
template <class T>
void winograd_grad_input(const Conv2dParams& p, int64_t side, const T* dy, const T* w, T* dx);
template <class T>
void winograd_grad_weight(const Conv2dParams& p, int64_t side, const T* x, const T* dy, T* dw);

// kept: with filters that are kept, which take winograd_kept() bytes.
template <class T>
int64_t winograd_scratch(Conv2dPass pass, const Conv2dParams& p, int64_t side, bool kept);
template <class T>
int64_t winograd_kept(const Conv2dParams& p, int64_t side);

// The input pixels of one phase of the stride, and the filter offsets that reach them.
struct Phase {
  int64_t first_h, count_h;  // input rows first_h, first_h + stride_h, ...
  int64_t first_w, count_w;
  struct Tap {
    int64_t kh, kw;
    int64_t shift_h, shift_w;  // output row of the i-th input row of the phase: i + shift_h; may lie outside
  };
  std::vector<Tap> taps;  // kh, then kw ascending
};
std::vector<Phase> phases(const Conv2dParams& p);

// Parts that a sum over all output pixels is cut into.
int64_t pixel_parts(int64_t pixels, int64_t result_bytes);

}  // namespace sixloop
