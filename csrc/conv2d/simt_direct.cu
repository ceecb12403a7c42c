#include <numeric>

#include "conv2d/simt_algorithms.h"
#include "conv2d/simt_grouped.h"

namespace sixloop::cuda {
namespace {

__device__ __forceinline__ int64_t at_least_one(int64_t n) { return n > 0 ? n : 1; }

// Left operand of the forward pass and of the input gradient: row x is a pixel's window, step k is (i, j, channel).
template <class T>
struct WindowRows {
  static constexpr bool kTurned = true;
  Windows<T> windows;
  int64_t pixels;

  template <class Share>
  struct Loader {
    static constexpr int kPacks = Share::kPacks;
    const Windows<T>& w;
    Digits at, step;
    const T* image[kPacks];  // null beyond the last pixel
    int64_t row[kPacks], column[kPacks];

    __device__ __forceinline__ Loader(const WindowRows& operand, int64_t batch, int64_t x, int64_t k, int64_t)
        : w(operand.windows),
          at(k + Share::along(), at_least_one(w.taps_w), at_least_one(w.run)),
          step(Share::BK, at_least_one(w.taps_w), at_least_one(w.run)) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        const int64_t pixel = x + Share::line() + p * Share::kLinesApart;
        const Digits place(pixel, w.pixels_h, w.pixels_w);
        image[p] = pixel < operand.pixels ? w.data + w.offset(place.high, 0, 0) + batch * w.run : nullptr;
        row[p] = w.row(place.middle, 0);
        column[p] = w.column(place.low, 0);
      }
    }

    // The image's element under offset (i, j) of pack p, or null.
    __device__ __forceinline__ const T* find(int p, const Digits& k) const {
      const int64_t r = row[p] + k.high * w.tap_h, s = column[p] + k.middle * w.tap_w;
      if (image[p] == nullptr || k.high >= w.taps_h || !w.inside(r, s)) return nullptr;
      return image[p] + (r * w.w + s) * w.c + k.low;
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
        Digits k = at;
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
      at.add(step, w.taps_w, w.run);
    }
  };
};

// Left operand of the weight gradient: row x is (i, j, channel), step k is a pixel.
template <class T>
struct WindowColumns {
  static constexpr bool kTurned = false;
  Windows<T> windows;

  template <class Share>
  struct Loader {
    const Windows<T>& w;
    Digits element;      // (i, j, channel) of the thread's packs
    Digits pixel, step;  // of the next pack
    int64_t k, k_end;
    const T* group;

    __device__ __forceinline__ Loader(const WindowColumns& operand, int64_t batch, int64_t x, int64_t k0, int64_t end)
        : w(operand.windows),
          element(x + Share::along(), w.taps_w, w.run),
          pixel(k0 + Share::line(), w.pixels_h, w.pixels_w),
          step(Share::kLinesApart, w.pixels_h, w.pixels_w),
          k(k0 + Share::line()),
          k_end(end),
          group(w.data + batch * w.run) {}

    __device__ __forceinline__ const T* find(const Digits& e) const {
      const int64_t r = w.row(pixel.middle, e.high), s = w.column(pixel.low, e.middle);
      if (k >= k_end || e.high >= w.taps_h || !w.inside(r, s)) return nullptr;
      return group + w.offset(pixel.high, r, s) + e.low;
    }

    __device__ __forceinline__ void load(Share& share) {
      constexpr int W = Share::W;
#pragma unroll
      for (int p = 0; p < Share::kPacks; ++p) {
        if (w.packs) {
          const T* const from = find(element);
          share.held[p] = from != nullptr ? load_pack(from) : Pack<T>{};
        } else {
          Digits e = element;
#pragma unroll
          for (int j = 0; j < W; ++j) {
            const T* const from = find(e);
            share.held[p].v[j] = from != nullptr ? *from : T(0);
            e.next(w.taps_w, w.run);
          }
        }
        pixel.add(step, w.pixels_h, w.pixels_w);
        k += Share::kLinesApart;
      }
    }
  };
};

// Right operand of the input gradient: column x is an input channel, step k is (i, j, output channel).
template <class T>
struct FilterColumns {
  static constexpr bool kTurned = true;
  Filters<T> filters;
  int64_t taps_h, taps_w, run;
  int64_t x_end;
  bool packs;

  template <class Share>
  struct Loader {
    const FilterColumns& f;
    const T* group;
    int64_t x;
    Digits at, step;

    __device__ __forceinline__ Loader(const FilterColumns& operand, int64_t batch, int64_t x0, int64_t k, int64_t)
        : f(operand),
          group(f.filters.data + batch * f.filters.group_step),
          x(x0 + Share::line()),
          at(k + Share::along(), at_least_one(f.taps_w), at_least_one(f.run)),
          step(Share::BK, at_least_one(f.taps_w), at_least_one(f.run)) {}

    __device__ __forceinline__ void load(Share& share) {
      constexpr int W = Share::W;
      if (f.packs) {
        const T* const from = group + f.filters.offset(at.high, at.middle) + at.low;
#pragma unroll
        for (int p = 0; p < Share::kPacks; ++p) {
          const int64_t column = x + p * Share::kLinesApart;
          const bool there = column < f.x_end && at.high < f.taps_h;
          share.held[p] = there ? load_pack(from + column * f.filters.step_n) : Pack<T>{};
        }
      } else {
        Digits k = at;
#pragma unroll
        for (int j = 0; j < W; ++j) {
#pragma unroll
          for (int p = 0; p < Share::kPacks; ++p) {
            const int64_t column = x + p * Share::kLinesApart;
            const bool there = column < f.x_end && k.high < f.taps_h;
            share.held[p].v[j] =
                there ? group[f.filters.offset(k.high, k.middle) + k.low + column * f.filters.step_n] : T(0);
          }
          k.next(f.taps_w, f.run);
        }
      }
      at.add(step, f.taps_w, f.run);
    }
  };
};

// The largest tile that leaves enough blocks; a narrow one for few channels. Every tile gives the same bits.
template <bool kWide, class T, class Left, class Right, class Rows>
void launch_convolution(const ProductSizes& g, const Left& left, const Right& right, const Sink<T, Rows>& sink) {
  if (g.n <= 16 && product_blocks(g, 64, 16) >= kEnoughBlocks) {
    return launch_product<Tile<T, 64, 16, sizeof(T) == 4 ? 16 : 8, 1, 1>>(g, left, right, sink);
  }
  if constexpr (kWide && std::is_same_v<T, float>) {
    if (product_blocks(g, 128, 64) >= kEnoughBlocks) {
      return launch_product<Tile<T, 128, 64, 16, 2, 1>>(g, left, right, sink);
    }
  }
  if (product_blocks(g, 64, 64) >= kEnoughBlocks) {
    return launch_product<Tile<T, 64, 64, 16, 1, 1>>(g, left, right, sink);
  }
  launch_product<Tile<T, 32, 32, 8, 1, 1>>(g, left, right, sink);
}

// Groups with fewer channels than this in a row of the result have kernels of their own.
constexpr int64_t kFewChannels = 16;
bool by_elements(const Conv2dParams& p, int64_t columns) { return p.groups > 1 && columns / p.groups < kFewChannels; }

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
  if (by_elements(p, p.o)) {
    const int64_t tap = windows.run * p.o;
    return grouped_windows(p, windows, Filters<T>{w, 0, p.window.kw * tap, tap, p.o, 1, columns}, pixels, columns,
                           sink);
  }
  const ProductSizes g{pixels, columns, windows.steps(), p.groups};
  launch_convolution<true>(g, WindowRows<T>{windows, pixels}, matrix<false>(w, p.o, columns, columns), sink);
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
    if (by_elements(p, p.c)) {
      grouped_windows(p, windows, filters, pixels, columns, sink);
      continue;
    }
    const ProductSizes g{pixels, columns, windows.steps(), p.groups};
    const FilterColumns<T> right{filters,     windows.taps_h, windows.taps_w,
                                 windows.run, columns,        packs_of(w, p.o, windows.run)};
    launch_convolution<true>(g, WindowRows<T>{windows, pixels}, right, sink);
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
  if (by_elements(p, p.o)) {
    grouped_grad_weight(p, windows, dy, pixels, parts, part, out);
  } else {
    Sink<T, DenseRows> sink{};
    sink.data = out;
    sink.rows = {p.o};
    sink.batch_step = columns;
    sink.part_step = size;
    sink.packs = packs_of(out, p.o, columns) && size % Pack<T>::N == 0;
    const ProductSizes g{rows, columns, pixels, p.groups, parts, part};
    launch_convolution<false>(g, WindowColumns<T>{windows}, matrix<false>(dy, p.o, columns, columns), sink);
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
