#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <numeric>

#include "conv2d/simt_algorithms.h"
#include "conv2d/simt_grouped.h"

namespace sixloop::cuda {
namespace {

// Indices in an image and in the filters fit into 32 bits, which halves the registers that they take. kLimit leaves
// room for a sum of two, and for a pixel that is not there.
using Index = int;
using Place = DigitsOf<Index>;
constexpr int64_t kLimit = int64_t{1} << 29;
constexpr Index kOutside = -(1 << 30);

template <class T>
bool is_small(const Windows<T>& w, int64_t images, int64_t filter_size) {
  // A step may run ahead of the last one by a block's steps.
  constexpr int64_t kAhead = 16;
  const auto small = [](std::initializer_list<int64_t> values) {
    return std::all_of(values.begin(), values.end(), [](int64_t value) { return std::abs(value) < kLimit; });
  };
  // No factor exceeds 2^31, so that a product of two does not overflow; (h * w) and c come one after the other.
  return small({images, filter_size, w.h * w.w, w.c, w.run, w.pixels_h * w.step_h, w.pixels_w * w.step_w, w.base_h,
                w.base_w, w.tap_h, w.tap_w, w.taps_h, w.taps_w}) &&
         small(
             {w.h * w.w * w.c, (w.taps_h + kAhead) * w.tap_h, (w.taps_w + kAhead) * w.tap_w, w.pixels_h * w.pixels_w});
}

template <class T>
Windows<T, Index> shortened(const Windows<T>& w) {
  const auto cut = [](int64_t value) { return static_cast<Index>(value); };
  // Windows without offsets or channels have no steps, but a position in them is computed.
  return {w.data,
          cut(w.h),
          cut(w.w),
          cut(w.c),
          cut(w.pixels_h),
          cut(w.pixels_w),
          cut(w.step_h),
          cut(w.step_w),
          cut(w.base_h),
          cut(w.base_w),
          cut(w.tap_h),
          cut(w.tap_w),
          cut(w.taps_h),
          cut(std::max<int64_t>(w.taps_w, 1)),
          cut(std::max<int64_t>(w.run, 1)),
          w.packs};
}

// Left operand of the forward pass and of the input gradient: row x is a pixel's window, step k is (i, j, channel).
template <class T>
struct WindowRows {
  static constexpr bool kTurned = true;
  Windows<T, Index> windows;
  int64_t pixels;
  Place step = {};  // from one load to the next

  template <class Share>
  void prepare() {
    step = Place(Share::BK, windows.taps_w, windows.run);
  }

  template <class Share>
  struct Loader {
    static constexpr int kPacks = Share::kPacks;
    const WindowRows& operand;
    const Windows<T, Index>& w;
    const T* group;
    Place at;
    Index image[kPacks], row[kPacks], column[kPacks];

    __device__ __forceinline__ Loader(const WindowRows& rows, int64_t batch, int64_t x, int64_t k, int64_t)
        : operand(rows), w(rows.windows), group(w.data + batch * w.run), at(k + Share::along(), w.taps_w, w.run) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        const int64_t pixel = x + Share::line() + p * Share::kLinesApart;
        const Place place(pixel, w.pixels_h, w.pixels_w);
        image[p] = place.high;
        row[p] = pixel < operand.pixels ? w.row(place.middle, 0) : kOutside;
        column[p] = w.column(place.low, 0);
      }
    }

    // The element of step k in the window of pack p, or null.
    __device__ __forceinline__ const T* find(int p, const Place& k) const {
      const Index r = row[p] + k.high * w.tap_h, s = column[p] + k.middle * w.tap_w;
      if (k.high >= w.taps_h || !w.inside(r, s)) return nullptr;
      return group + w.image(image[p]) + (w.offset(r, s) + k.low);
    }

    __device__ __forceinline__ void load(Share& share) {
      constexpr int W = Share::W;
      if (w.packs) {
#pragma unroll
        for (int p = 0; p < kPacks; ++p) {
          const T* const from = find(p, at);
          share.held[p] = from != nullptr ? load_pack(from) : Pack<T>{};
        }
      } else {
        Place k = at;
#pragma unroll
        for (int j = 0; j < W; ++j) {
#pragma unroll
          for (int p = 0; p < kPacks; ++p) {
            const T* const from = find(p, k);
            share.held[p].v[j] = from != nullptr ? *from : T(0);
          }
          k.next(w.taps_w, w.run);
        }
      }
      at.add(operand.step, w.taps_w, w.run);
    }
  };
};

// Left operand of the weight gradient: row x is (i, j, channel), step k is a pixel.
template <class T>
struct WindowColumns {
  static constexpr bool kTurned = false;
  Windows<T, Index> windows;
  Index images;
  Place step = {};  // from one pack of a thread to its next

  template <class Share>
  void prepare() {
    step = Place(Share::kLinesApart, windows.pixels_h, windows.pixels_w);
  }

  template <class Share>
  struct Loader {
    const WindowColumns& operand;
    const Windows<T, Index>& w;
    const T* group;
    Place element;  // (i, j, channel) of the thread's packs
    Place pixel;    // of the next pack

    __device__ __forceinline__ Loader(const WindowColumns& columns, int64_t batch, int64_t x, int64_t k, int64_t)
        : operand(columns),
          w(columns.windows),
          group(w.data + batch * w.run),
          element(x + Share::along(), w.taps_w, w.run),
          pixel(k + Share::line(), w.pixels_h, w.pixels_w) {}

    // Pixels beyond the end of a part are there, too: they are not multiplied.
    __device__ __forceinline__ const T* find(const Place& e) const {
      if (pixel.high >= operand.images || e.high >= w.taps_h) return nullptr;
      const Index r = w.row(pixel.middle, e.high), s = w.column(pixel.low, e.middle);
      if (!w.inside(r, s)) return nullptr;
      return group + w.image(pixel.high) + (w.offset(r, s) + e.low);
    }

    __device__ __forceinline__ void load(Share& share) {
      constexpr int W = Share::W;
#pragma unroll
      for (int p = 0; p < Share::kPacks; ++p) {
        if (w.packs) {
          const T* const from = find(element);
          share.held[p] = from != nullptr ? load_pack(from) : Pack<T>{};
        } else {
          Place e = element;
#pragma unroll
          for (int j = 0; j < W; ++j) {
            const T* const from = find(e);
            share.held[p].v[j] = from != nullptr ? *from : T(0);
            e.next(w.taps_w, w.run);
          }
        }
        pixel.add(operand.step, w.pixels_h, w.pixels_w);
      }
    }
  };
};

// Right operand of the input gradient: column x is an input channel, step k is (i, j, output channel).
template <class T>
struct FilterColumns {
  static constexpr bool kTurned = true;
  const T* data;
  Index first, step_i, step_j, step_x, group_step;  // elements, as in Filters
  Index taps_h, taps_w, run;
  Index x_end;
  bool packs;
  Place step = {};

  template <class Share>
  void prepare() {
    step = Place(Share::BK, taps_w, run);
  }

  template <class Share>
  struct Loader {
    const FilterColumns& f;
    const T* group;
    int64_t x;
    Place at;

    __device__ __forceinline__ Loader(const FilterColumns& columns, int64_t batch, int64_t x0, int64_t k, int64_t)
        : f(columns),
          group(f.data + batch * f.group_step),
          x(x0 + Share::line()),
          at(k + Share::along(), f.taps_w, f.run) {}

    __device__ __forceinline__ const T* find(int p, const Place& k) const {
      const int64_t column = x + p * Share::kLinesApart;
      if (column >= f.x_end || k.high >= f.taps_h) return nullptr;
      return group +
             (f.first + k.high * f.step_i + k.middle * f.step_j + k.low + static_cast<Index>(column) * f.step_x);
    }

    __device__ __forceinline__ void load(Share& share) {
      constexpr int W = Share::W;
      if (f.packs) {
#pragma unroll
        for (int p = 0; p < Share::kPacks; ++p) {
          const T* const from = find(p, at);
          share.held[p] = from != nullptr ? load_pack(from) : Pack<T>{};
        }
      } else {
        Place k = at;
#pragma unroll
        for (int j = 0; j < W; ++j) {
#pragma unroll
          for (int p = 0; p < Share::kPacks; ++p) {
            const T* const from = find(p, k);
            share.held[p].v[j] = from != nullptr ? *from : T(0);
          }
          k.next(f.taps_w, f.run);
        }
      }
      at.add(f.step, f.taps_w, f.run);
    }
  };
};

// The largest tile that leaves enough blocks; a narrow one for few channels. Every tile gives the same bits.
template <bool kWide, class T, class Left, class Right, class Rows>
void launch_convolution(const ProductSizes& g, const Left& left, const Right& right, const Sink<T, Rows>& sink) {
  constexpr int kSteps = sizeof(T) == 4 ? 16 : 8;
  if (g.n <= 16 && product_blocks(g, 64, 16) >= kEnoughBlocks) {
    return launch_product<Tile<T, 64, 16, kSteps, 1, 1>>(g, left, right, sink);
  }
  if constexpr (kWide && std::is_same_v<T, float>) {
    if (product_blocks(g, 128, 64) >= kEnoughBlocks) {
      return launch_product<Tile<T, 128, 64, 16, 2, 1>>(g, left, right, sink);
    }
  }
  if (product_blocks(g, 64, 64) >= kEnoughBlocks) {
    return launch_product<Tile<T, 64, 64, kSteps, 1, 1>>(g, left, right, sink);
  }
  launch_product<Tile<T, 32, 32, 8, 1, 1>>(g, left, right, sink);
}

// Groups with fewer channels than this in a row of the result have kernels of their own, which also do what does not
// fit into 32 bits.
template <class T>
bool by_elements(const Conv2dParams& p, int64_t columns, const Windows<T>& windows) {
  constexpr int64_t kFewChannels = 16;
  const int64_t filter_size = p.window.kh * p.window.kw * (p.c / p.groups);  // below 2^62: it is part of an array's
  return (p.groups > 1 && columns / p.groups < kFewChannels) ||
         !is_small(windows, p.n, filter_size < kLimit && p.o < kLimit ? filter_size * p.o : kLimit);
}

template <class T>
bool packs_of(const T* data, int64_t ld, int64_t columns) {
  return ld % Pack<T>::N == 0 && columns % Pack<T>::N == 0 && aligned_for_packs(data);
}

struct PhaseAxis {
  int64_t first, count;
  int64_t taps, first_tap, step_tap;
  int64_t shift, shift_step;  // row of dy of the first pixel at the first offset; from one offset to the next
};

std::vector<PhaseAxis> phase_axis(int64_t size, int64_t k, int64_t stride, int64_t dilation, int64_t before,
                                  bool turned) {
  if (turned) return {{0, size, k, k - 1, -1, before - (k - 1) * dilation, dilation}};
  // Offsets that reach the same pixels lie this far apart.
  const int64_t period = stride / std::gcd(stride, dilation);
  std::vector<PhaseAxis> axes;
  for (int64_t first = 0; first < std::min(stride, size); ++first) {
    PhaseAxis axis{first, ceil_div(size - first, stride), 0, 0, period, 0, -(period * dilation / stride)};
    for (int64_t tap = 0; tap < std::min(k, period); ++tap) {
      const int64_t distance = first + before - tap * dilation;
      if (distance % stride != 0) continue;
      axis.taps = ceil_div(k - tap, period);
      axis.first_tap = tap;
      axis.shift = distance / stride;
      break;
    }
    axes.push_back(axis);
  }
  return axes;
}

}  // namespace

template <class T>
std::vector<PhaseWindows<T>> phase_windows(const Conv2dParams& p, const T* dy, bool turned) {
  const Window& win = p.window;
  const int64_t run = p.o / p.groups;
  std::vector<PhaseWindows<T>> result;
  for (const PhaseAxis& rows : phase_axis(p.h, win.kh, win.stride_h, win.dilation_h, win.pad_top, turned)) {
    for (const PhaseAxis& columns : phase_axis(p.w, win.kw, win.stride_w, win.dilation_w, win.pad_left, turned)) {
      PhaseWindows<T> phase;
      phase.windows = {dy,
                       p.oh,
                       p.ow,
                       p.o,
                       rows.count,
                       columns.count,
                       1,
                       1,
                       rows.shift,
                       columns.shift,
                       rows.shift_step,
                       columns.shift_step,
                       rows.taps,
                       columns.taps,
                       run,
                       run % Pack<T>::N == 0 && aligned_for_packs(dy)};
      phase.first_h = rows.first;
      phase.first_w = columns.first;
      phase.first_kh = rows.first_tap;
      phase.step_kh = rows.step_tap;
      phase.first_kw = columns.first_tap;
      phase.step_kw = columns.step_tap;
      result.push_back(phase);
    }
  }
  return result;
}

template <class T>
void direct_forward(const Conv2dParams& p, const T* x, const T* w, const BiasRelu<T>& epilogue, T* y) {
  const int64_t pixels = p.n * p.oh * p.ow, columns = p.o / p.groups;
  const Windows<T> windows = windows_of(p, x);
  Sink<T, DenseRows> sink{};
  sink.data = y;
  sink.rows = {p.o};
  sink.batch_step = sink.bias_step = columns;
  sink.bias = epilogue.bias;
  sink.relu = epilogue.relu;
  sink.packs = packs_of(y, p.o, columns);
  if (by_elements(p, p.o, windows)) {
    const int64_t tap = windows.run * p.o;
    return grouped_windows(p, windows, Filters<T>{w, 0, p.window.kw * tap, tap, p.o, 1, columns}, pixels, columns,
                           sink);
  }
  const ProductSizes g{pixels, columns, windows.steps(), p.groups};
  launch_convolution<true>(g, WindowRows<T>{shortened(windows), pixels}, matrix<false>(w, p.o, columns, columns), sink);
}

template <class T>
void direct_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  const bool turned = plan_direct_grad_input<T>(p).way == ConvWay::turned;
  const int64_t columns = p.c / p.groups;
  const int64_t tap = columns * p.o;
  for (const PhaseWindows<T>& phase : phase_windows(p, dy, turned)) {
    const Windows<T>& windows = phase.windows;
    const int64_t pixels = p.n * windows.pixels_h * windows.pixels_w;
    Sink<T, PhaseRows> sink{};
    sink.data = dx;
    sink.rows = phase_rows(p, phase);
    sink.batch_step = columns;
    sink.packs = packs_of(dx, p.c, columns);
    const int64_t row = p.window.kw * tap;
    const Filters<T> filters{
        w, phase.first_kh * row + phase.first_kw * tap, phase.step_kh * row, phase.step_kw * tap, 1, p.o, windows.run};
    if (by_elements(p, p.c, windows)) {
      grouped_windows(p, windows, filters, pixels, columns, sink);
      continue;
    }
    const ProductSizes g{pixels, columns, windows.steps(), p.groups};
    const Windows<T, Index> small = shortened(windows);
    FilterColumns<T> right{};
    right.data = w;
    right.first = static_cast<Index>(filters.first);
    right.step_i = static_cast<Index>(filters.step_i);
    right.step_j = static_cast<Index>(filters.step_j);
    right.step_x = static_cast<Index>(filters.step_n);
    right.group_step = static_cast<Index>(filters.group_step);
    right.taps_h = small.taps_h;
    right.taps_w = small.taps_w;
    right.run = small.run;
    right.x_end = static_cast<Index>(columns);
    right.packs = packs_of(w, p.o, windows.run);
    launch_convolution<true>(g, WindowRows<T>{small, pixels}, right, sink);
  }
}

template <class T>
void direct_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw) {
  const int64_t pixels = p.n * p.oh * p.ow, columns = p.o / p.groups;
  const Windows<T> windows = windows_of(p, x);
  const int64_t rows = windows.steps();
  // The CPU cuts the sum of one group, or of all channels of a depthwise convolution.
  const int64_t result = rows * (is_depthwise(p) ? p.c : columns);
  const int64_t parts = pixel_parts(pixels, result * static_cast<int64_t>(sizeof(T)));
  const int64_t part = ceil_div(pixels, parts), size = rows * p.o;
  const Scratch<T> sums(parts > 1 ? parts * size : 0);
  T* const out = parts > 1 ? sums.get() : dw;
  if (by_elements(p, p.o, windows)) {
    grouped_grad_weight(p, windows, dy, pixels, parts, part, out);
  } else {
    Sink<T, DenseRows> sink{};
    sink.data = out;
    sink.rows = {p.o};
    sink.batch_step = columns;
    sink.part_step = size;
    sink.packs = packs_of(out, p.o, columns) && size % Pack<T>::N == 0;
    const ProductSizes g{rows, columns, pixels, p.groups, parts, part};
    launch_convolution<false>(g, WindowColumns<T>{shortened(windows), static_cast<Index>(p.n)},
                              matrix<false>(dy, p.o, columns, columns), sink);
  }
  if (parts > 1) add_parts(static_cast<const T*>(sums.get()), parts, size, dw);
}

#define SIXLOOP_INSTANTIATE(T)                                                                   \
  template std::vector<PhaseWindows<T>> phase_windows(const Conv2dParams&, const T*, bool);      \
  template void direct_forward(const Conv2dParams&, const T*, const T*, const BiasRelu<T>&, T*); \
  template void direct_grad_input(const Conv2dParams&, const T*, const T*, T*);                  \
  template void direct_grad_weight(const Conv2dParams&, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop::cuda
