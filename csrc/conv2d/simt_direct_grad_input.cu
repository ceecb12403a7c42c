#include <numeric>

#include "conv2d/simt_direct.h"

namespace sixloop::cuda {
namespace {

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
#pragma unroll
      for (int p = 0; p < Share::kPacks; ++p) {
        gather(share.held[p], f.packs, at, f.taps_w, f.run, [&](const Place& k) { return find(p, k); });
      }
      at.add(f.step, f.taps_w, f.run);
    }
  };
};

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
void direct_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  const int64_t columns = p.c / p.groups;
  if (is_product(p)) {
    Sink<T, DenseRows> sink{};
    sink.data = dx;
    sink.rows = {p.c};
    sink.packs = packs_of(dx, p.c, columns);
    const int64_t pixels = p.n * p.h * p.w;
    return multiply({pixels, p.c, p.o}, matrix<true>(dy, p.o, pixels), matrix<true>(w, p.o, p.c), sink);
  }
  const bool turned = plan_direct_grad_input<T>(p).way == ConvWay::turned;
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

#define SIXLOOP_INSTANTIATE(T)                                                              \
  template std::vector<PhaseWindows<T>> phase_windows(const Conv2dParams&, const T*, bool); \
  template void direct_grad_input(const Conv2dParams&, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE
template std::vector<PhaseWindows<BFloat16>> phase_windows(const Conv2dParams&, const BFloat16*, bool);

}  // namespace sixloop::cuda
