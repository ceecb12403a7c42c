#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>

#include "conv2d/algorithms.h"
#include "conv2d/geometry.h"

namespace sixloop {
int64_t pixel_parts(int64_t pixels, int64_t result_bytes) {
  // Shorter sums are more accurate and give more tasks; each part costs a buffer of the result's size.
  constexpr int64_t kPixelsPerPart = 2048;
  constexpr int64_t kMaxParts = 16;
  constexpr int64_t kBufferBytes = 32 << 20;
  const int64_t affordable = kBufferBytes / std::max<int64_t>(result_bytes, 1);
  return std::max<int64_t>(1, std::min({kMaxParts, pixels / kPixelsPerPart, affordable}));
}

bool is_product(const Conv2dParams& p) {
  const Window& win = p.window;
  return p.groups == 1 && win.kh == 1 && win.kw == 1 && win.stride_h == 1 && win.stride_w == 1 && win.pad_top == 0 &&
         win.pad_bottom == 0 && win.pad_left == 0 && win.pad_right == 0;
}

std::vector<Phase> phases(const Conv2dParams& p) {
  struct Axis {
    int64_t first, count;
    std::vector<std::pair<int64_t, int64_t>> taps;  // filter offset, shift
  };
  const auto split = [](int64_t size, int64_t k, int64_t stride, int64_t dilation, int64_t before) {
    std::vector<Axis> axes;
    for (int64_t first = 0; first < std::min(stride, size); ++first) {
      Axis axis{first, (size - first + stride - 1) / stride, {}};
      for (int64_t i = 0; i < k; ++i) {
        const int64_t distance = first + before - i * dilation;
        if (distance % stride == 0) axis.taps.emplace_back(i, distance / stride);
      }
      axes.push_back(std::move(axis));
    }
    return axes;
  };
  const Window& win = p.window;
  std::vector<Phase> result;
  for (const Axis& rows : split(p.h, win.kh, win.stride_h, win.dilation_h, win.pad_top)) {
    for (const Axis& columns : split(p.w, win.kw, win.stride_w, win.dilation_w, win.pad_left)) {
      Phase phase{rows.first, rows.count, columns.first, columns.count, {}};
      for (const auto& [kh, shift_h] : rows.taps) {
        for (const auto& [kw, shift_w] : columns.taps) phase.taps.push_back({kh, kw, shift_h, shift_w});
      }
      result.push_back(std::move(phase));
    }
  }
  return result;
}

namespace {

template <class T>
bool all_finite(const T* values, int64_t count) {
  // x - x is NaN where x is not finite; without an early end compilers make vectors of the loop.
  constexpr int64_t kChunk = 256;
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    int bad = 0;
    for (int64_t i = begin; i < std::min(count, begin + kChunk); ++i) bad |= values[i] - values[i] != T{0};
    if (bad != 0) return false;
  }
  return true;
}

// Forward where the channels' vectors are full, or the weights not finite.
template <class T>
WayPlan plan_forward_by_rows(const Conv2dParams& p) {
  const Kernel& of_row = select_few_channels<T>(p);
  if (few_channels_forward_pays(of_row, p)) return {ConvWay::filter_rows, &of_row};
  const Kernel& strip = select_row<GemmStrip, T>();
  const int64_t pixels = p.n * p.oh * p.ow;
  if (is_product(p) && strips_pay<T>(strip, pixels, 1, p.c, p.o)) return {ConvWay::strips, &strip};
  return {ConvWay::pointers, &select_tile<GemmRows, T>(pixels, p.o / p.groups)};
}

// How forward reads x.
WindowTaps taps_of(const WayPlan& plan) {
  return plan.way == ConvWay::filter_rows ? WindowTaps::rows : WindowTaps::automatic;
}

}  // namespace

template <class T>
WayPlan plan_direct_forward(const Conv2dParams& p) {
  if (is_depthwise(p)) return {ConvWay::depthwise, &select_row<Depthwise, T>()};
  if (planar_forward_pays(p)) return {ConvWay::planar, &select_planar<T>(p.o, p.oh, p.ow)};
  return plan_forward_by_rows<T>(p);
}

template <class T>
void direct_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y) {
  WayPlan plan = plan_direct_forward<T>(p);
  if (plan.way == ConvWay::depthwise) return depthwise_forward(p, x, w, epilogue, y);
  if (plan.way == ConvWay::planar) {
    if (all_finite(w, p.window.kh * p.window.kw * p.c * p.o)) return planar_forward(p, x, w, epilogue, y);
    plan = plan_forward_by_rows<T>(p);
  }
  const Kernel& kernel = *plan.kernel;
  const int64_t columns = p.o / p.groups;
  for (int64_t group = 0; group < p.groups; ++group) {
    const Windows<T> windows(x, p, group, taps_of(plan));
    if (plan.way == ConvWay::filter_rows) return few_channels_forward(kernel, p, windows, w, epilogue, y);
    MatrixB<T> b;
    b.kc = windows.run();
    b.n = columns;
    b.ld = p.o;
    for (int64_t tap = 0; tap < windows.taps(); ++tap) {
      b.tap_data.push_back(w + tap * windows.run() * p.o + group * columns);
    }
    Epilogue<T> part = epilogue;
    if (part.bias != nullptr) part.bias += group * columns;
    T* out = y + group * columns;
    if (plan.way == ConvWay::strips) return gemm_by_strips(kernel, p.n * p.oh * p.ow, x, p.c, b, epilogue, y);
    gemm_rows_loops(p.n * p.oh * p.ow, b, part, false, [&](int64_t row, int64_t count, int64_t mr, const T** a, T** c) {
      windows.pointers(row, count, mr, a);
      for (int64_t i = 0; i < count; ++i) c[i] = out + (row + i) * p.o;
    });
  }
}

namespace {

// With stride 1 the input gradient is a convolution of dy with the filters turned by 180 degrees. That pays where
// dy has few channels, since such a convolution reads whole filter rows at once.
bool turned_filters_pay(const Conv2dParams& p) {
  const Window& win = p.window;
  const int64_t reach_h = win.dilation_h * (win.kh - 1);
  const int64_t reach_w = win.kw - 1;
  return win.stride_h == 1 && win.stride_w == 1 && win.dilation_w == 1 && p.groups == 1 && win.kw > 1 && p.o <= 16 &&
         std::max(win.pad_top, win.pad_bottom) <= reach_h && std::max(win.pad_left, win.pad_right) <= reach_w;
}

Conv2dParams turned_convolution(const Conv2dParams& p) {
  const Window& win = p.window;
  Conv2dParams q{p.n, p.oh, p.ow, p.o, p.h, p.w, p.c, 1, win};
  const int64_t reach_h = win.dilation_h * (win.kh - 1);
  const int64_t reach_w = win.kw - 1;
  q.window.pad_top = reach_h - win.pad_top;
  q.window.pad_bottom = reach_h - win.pad_bottom;
  q.window.pad_left = reach_w - win.pad_left;
  q.window.pad_right = reach_w - win.pad_right;
  return q;
}

template <class T>
void grad_input_by_turned_filters(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  const Window& win = p.window;
  const int64_t offsets = win.kh * win.kw;
  Buffer<T> turned(offsets * p.o * p.c);
  const Kernel& turn = select_row<GemmTranspose, T>();
  for (int64_t k = 0; k < offsets; ++k) {
    transpose_by(turn, w + (offsets - 1 - k) * p.c * p.o, p.o, p.c, p.o, turned.get() + k * p.o * p.c, p.c);
  }
  direct_forward(turned_convolution(p), dy, turned.get(), Epilogue<T>{}, dx);
}

}  // namespace

template <class T>
WayPlan plan_direct_grad_input(const Conv2dParams& p) {
  if (is_depthwise(p)) return {ConvWay::depthwise, &select_row<Depthwise, T>()};
  if (turned_filters_pay(p)) return {ConvWay::turned, plan_direct_forward<T>(turned_convolution(p)).kernel};
  const Kernel& strip = select_row<GemmStrip, T>();
  if (is_product(p) && strips_pay<T>(strip, p.n * p.h * p.w, 1, p.o, p.c)) return {ConvWay::strips, &strip};
  // The first phase of the stride has the most pixels.
  const int64_t pixels = p.n * ceil_div(p.h, p.window.stride_h) * ceil_div(p.w, p.window.stride_w);
  return {ConvWay::pointers, &select_tile<GemmRows, T>(pixels, p.c / p.groups)};
}

template <class T>
void direct_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  const WayPlan plan = plan_direct_grad_input<T>(p);
  if (plan.way == ConvWay::depthwise) return depthwise_grad_input(p, dy, w, dx);
  if (plan.way == ConvWay::turned) return grad_input_by_turned_filters(p, dy, w, dx);
  const Kernel& kernel = *plan.kernel;
  const int64_t steps = p.o / p.groups;
  const int64_t columns = p.c / p.groups;
  Buffer<T> zeros(std::max<int64_t>(steps, 1));
  std::fill(zeros.get(), zeros.get() + steps, T{0});
  for (const Phase& phase : phases(p)) {
    const int64_t taps = static_cast<int64_t>(phase.taps.size());
    for (int64_t group = 0; group < p.groups; ++group) {
      MatrixB<T> b;
      b.kc = steps;
      b.n = columns;
      b.ld = p.o;
      b.transposed = true;
      for (const Phase::Tap& tap : phase.taps) {
        b.tap_data.push_back(w + (tap.kh * p.window.kw + tap.kw) * columns * p.o + group * steps);
      }
      const T* in = dy + group * steps;
      T* out = dx + group * columns;
      if (plan.way == ConvWay::strips) {
        return gemm_by_strips(kernel, p.n * p.h * p.w, dy, p.o, b, Epilogue<T>{}, dx);
      }
      gemm_rows_loops(p.n * phase.count_h * phase.count_w, b, Epilogue<T>{}, false,
                      [&](int64_t row, int64_t count, int64_t mr, const T** a, T** c) {
                        int64_t i_w = row % phase.count_w;
                        int64_t i_h = row / phase.count_w % phase.count_h;
                        int64_t n = row / (phase.count_w * phase.count_h);
                        for (int64_t i = 0; i < count; ++i) {
                          const T** pointer = a + i / mr * taps * mr + i % mr;
                          for (const Phase::Tap& tap : phase.taps) {
                            const int64_t oh = i_h + tap.shift_h;
                            const int64_t ow = i_w + tap.shift_w;
                            const bool inside = oh >= 0 && oh < p.oh && ow >= 0 && ow < p.ow;
                            *pointer = inside ? in + ((n * p.oh + oh) * p.ow + ow) * p.o : zeros.get();
                            pointer += mr;
                          }
                          const int64_t h = phase.first_h + i_h * p.window.stride_h;
                          const int64_t column = phase.first_w + i_w * p.window.stride_w;
                          c[i] = out + ((n * p.h + h) * p.w + column) * p.c;
                          if (++i_w == phase.count_w) {
                            i_w = 0;
                            if (++i_h == phase.count_h) {
                              i_h = 0;
                              ++n;
                            }
                          }
                        }
                      });
    }
  }
}

// Rows of dy of so many channels share sets of the caches, and so do the rows of the result: then x is transposed, and
// dy is a right matrix as it lies. 256 to 1024 and 512 to 2048 channels are 10% to 15% faster so, fewer are not. The
// parts come one after the other: with many of them the threads would meet too often.
constexpr int64_t kFarChannels = 1024;
constexpr int64_t kTurnedChannels = 64;
constexpr int64_t kTurnedParts = 4;

// dw [C, O] = x^T dy for a 1x1 filter, pixels being the steps: a product of the transposed x as in forward, part by
// part.
template <class T>
struct TurnedProduct {
  int64_t pixels;
  int64_t parts, part_steps;
  int64_t ld;  // of the transposed rows: whole lines and one more, so that rows spread over the cache sets
  int64_t sums_size;

  explicit TurnedProduct(const Conv2dParams& p) : pixels(p.n * p.oh * p.ow) {
    parts = pixel_parts(pixels, p.c * p.o * static_cast<int64_t>(sizeof(T)));
    part_steps = ceil_div(pixels, parts);
    constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
    ld = (ceil_div(pixels, kLine) + 1) * kLine;
    sums_size = parts > 1 ? parts * p.c * p.o : 0;
  }
};

template <class T>
bool turning_pays(const Conv2dParams& p) {
  return is_product(p) && p.o >= kFarChannels && p.o > p.c && p.c >= kTurnedChannels &&
         TurnedProduct<T>(p).parts <= kTurnedParts;
}

template <class T>
void product_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw) {
  const TurnedProduct<T> product(p);
  Buffer<T> turned(p.c * product.ld);
  parallel_transpose(x, p.c, product.pixels, p.c, turned.get(), product.ld);
  std::optional<Buffer<T>> sums;
  if (product.sums_size > 0) sums.emplace(product.sums_size);
  for (int64_t part = 0; part < product.parts; ++part) {
    const int64_t begin = part * product.part_steps;
    T* out = sums ? sums->get() + part * p.c * p.o : dw;
    MatrixB<T> b;
    b.tap_data = {dy + begin * p.o};
    b.kc = std::min(product.part_steps, product.pixels - begin);
    b.n = p.o;
    b.ld = p.o;
    gemm_rows_loops(p.c, b, Epilogue<T>{}, false, [&](int64_t row, int64_t count, int64_t, const T** a, T** c) {
      for (int64_t i = 0; i < count; ++i) {
        a[i] = turned.get() + (row + i) * product.ld + begin;
        c[i] = out + (row + i) * p.o;
      }
    });
  }
  if (sums) add_parts(product.parts, p.c, p.o, static_cast<const T*>(sums->get()), dw, p.o);
}

// Whether dw's transpose, dy^T x, takes fewer cycles: with 512 to 112 or 24 channels, tiles of x's channels have
// columns to spare and tiles of dy's have none. Writing dw takes some, too: 128 to 512 channels, where 0.8% are saved,
// are 3% slower so, and 512 to 112, where it is 1.2%, 11% faster.
template <class T>
bool turned_result_pays(const Conv2dParams& p) {
  constexpr double kGain = 0.99;
  const auto cycles = [](int64_t m, int64_t n) { return product_cycles(select_tile<GemmPanel, T>(m, n), m, n); };
  return is_product(p) && cycles(p.o, p.c) < kGain * cycles(p.c, p.o);
}

// dy^T x as the product of a transposed left matrix, whose result becomes dw.
template <class T>
void turned_grad_weight(const Conv2dParams& p, const T* x, const T* dy, int64_t parts, T* dw) {
  MatrixB<T> b;
  b.tap_data = {x};
  b.kc = p.n * p.oh * p.ow;
  b.n = p.c;
  b.ld = p.c;
  Buffer<T> turned(p.o * p.c);
  gemm_panel_loops(p.o, TransposedA<T>{dy, p.o}, b, Epilogue<T>{}, turned.get(), p.c, parts);
  parallel_transpose(static_cast<const T*>(turned.get()), p.c, p.o, p.c, dw, p.o);
}

// The windows of an image as the left matrix of gemm_panel_loops().
template <class T>
struct WindowColumns {
  const Windows<T>& windows;
  const T* data = nullptr;
  int64_t ld = 0;

  bool in_place() const { return false; }
  void pack(GemmPack::Fn<T>* kernel, int64_t row, int64_t rows, int64_t k, int64_t steps, int64_t mr,
            int64_t panel_size, T* panels) const {
    windows.pack(kernel, k, steps, row, rows, mr, panel_size, panels);
  }
};

template <class T>
WayPlan plan_direct_grad_weight(const Conv2dParams& p) {
  if (is_depthwise(p)) return {ConvWay::depthwise, &select_row<DepthwiseGradWeight, T>()};
  const int64_t rows = p.window.kh * p.window.kw * (p.c / p.groups);
  if (part_lanes_pay<T>(p)) return {ConvWay::part_lanes, &select_row<LaneSums, T>()};
  if (reads_filter_rows(p)) return {ConvWay::filter_rows, &select_tile<GemmColumns, T>(rows, p.o)};
  if (turning_pays<T>(p)) {
    return {ConvWay::turned_product, &select_tile<GemmRows, T>(p.c, p.o)};
  }
  if (turned_result_pays<T>(p)) return {ConvWay::turned_result, &select_tile<GemmPanel, T>(p.o, p.c)};
  return {ConvWay::panels, &select_tile<GemmPanel, T>(rows, p.o / p.groups)};
}

template <class T>
void direct_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw) {
  const ConvWay way = plan_direct_grad_weight<T>(p).way;
  if (way == ConvWay::depthwise) return depthwise_grad_weight(p, x, dy, dw);
  if (way == ConvWay::turned_product) return product_grad_weight(p, x, dy, dw);
  const int64_t columns = p.o / p.groups;
  const int64_t pixels = p.n * p.oh * p.ow;
  for (int64_t group = 0; group < p.groups; ++group) {
    const Windows<T> windows(x, p, group);
    if (way == ConvWay::part_lanes) return part_lanes_grad_weight(p, windows, dy, dw);
    if (way == ConvWay::filter_rows) return few_channels_grad_weight(p, windows, dy, dw);
    const int64_t rows = windows.taps() * windows.run();
    MatrixB<T> b;
    b.tap_data = {dy + group * columns};
    b.kc = pixels;
    b.n = columns;
    b.ld = p.o;
    const int64_t parts = pixel_parts(pixels, rows * columns * static_cast<int64_t>(sizeof(T)));
    T* out = dw + group * columns;
    if (way == ConvWay::turned_result) {
      turned_grad_weight(p, x, dy, parts, dw);
    } else if (is_product(p)) {
      gemm_panel_loops(rows, TransposedA<T>{x, p.c}, b, Epilogue<T>{}, out, p.o, parts);
    } else {
      gemm_panel_loops(rows, WindowColumns<T>{windows}, b, Epilogue<T>{}, out, p.o, parts);
    }
  }
}

template <class T>
WayPlan plan_direct(Conv2dPass pass, const Conv2dParams& p) {
  return pass == Conv2dPass::forward      ? plan_direct_forward<T>(p)
         : pass == Conv2dPass::grad_input ? plan_direct_grad_input<T>(p)
                                          : plan_direct_grad_weight<T>(p);
}

namespace {

// The right matrix of one group, without data.
template <class T>
MatrixB<T> right_matrix(int64_t taps, int64_t kc, int64_t n, int64_t ld, bool transposed = false) {
  MatrixB<T> b;
  b.tap_data.resize(static_cast<size_t>(taps));
  b.kc = kc;
  b.n = n;
  b.ld = ld;
  b.transposed = transposed;
  return b;
}

template <class T>
int64_t forward_scratch(const Conv2dParams& p) {
  const WayPlan plan = plan_direct_forward<T>(p);
  if (plan.way == ConvWay::planar) return planar_scratch<T>(p);
  const Window& win = p.window;
  const int64_t windows = buffer_bytes<T>(Windows<T>::storage_size(p, taps_of(plan)));
  const int64_t steps = win.kh * win.kw * (p.c / p.groups);
  if (plan.way == ConvWay::filter_rows || plan.way == ConvWay::strips) {
    return windows + strips_scratch(*plan.kernel, right_matrix<T>(1, steps, p.o, p.o),
                                    plan.way == ConvWay::strips && p.n * p.oh * p.ow <= kMostRows);
  }
  const int64_t taps = reads_filter_rows(p) ? win.kh : win.kh * win.kw;
  const MatrixB<T> b = right_matrix<T>(taps, steps / taps, p.o / p.groups, p.o);
  return windows + RowsCut<T>(p.n * p.oh * p.ow, b, false).scratch();
}

template <class T>
int64_t grad_input_scratch(const Conv2dParams& p) {
  const WayPlan plan = plan_direct_grad_input<T>(p);
  if (plan.way == ConvWay::turned) {
    return buffer_bytes<T>(p.window.kh * p.window.kw * p.o * p.c) + forward_scratch<T>(turned_convolution(p));
  }
  const int64_t steps = p.o / p.groups;
  const int64_t columns = p.c / p.groups;
  int64_t most = 0;
  for (const Phase& phase : phases(p)) {
    const MatrixB<T> b = right_matrix<T>(static_cast<int64_t>(phase.taps.size()), steps, columns, p.o, true);
    const int64_t rows = p.n * phase.count_h * phase.count_w;
    most = std::max(most, plan.way == ConvWay::strips ? strips_scratch(*plan.kernel, b, rows <= kMostRows)
                                                      : RowsCut<T>(rows, b, false).scratch());
  }
  return buffer_bytes<T>(std::max<int64_t>(steps, 1)) + most;
}

template <class T>
int64_t grad_weight_scratch(const Conv2dParams& p) {
  const ConvWay way = plan_direct_grad_weight<T>(p).way;
  if (way == ConvWay::part_lanes) return part_lanes_scratch<T>(p);
  if (way == ConvWay::filter_rows) return few_channels_grad_weight_scratch<T>(p);
  const int64_t pixels = p.n * p.oh * p.ow;
  const int64_t rows = p.window.kh * p.window.kw * (p.c / p.groups);
  const int64_t columns = p.o / p.groups;
  const int64_t parts = pixel_parts(pixels, rows * columns * static_cast<int64_t>(sizeof(T)));
  if (way == ConvWay::turned_product) {
    const TurnedProduct<T> product(p);
    const MatrixB<T> b = right_matrix<T>(1, product.part_steps, p.o, p.o);
    return buffer_bytes<T>(p.c * product.ld) + buffer_bytes<T>(product.sums_size) + RowsCut<T>(p.c, b, false).scratch();
  }
  if (way == ConvWay::turned_result) {
    const bool in_place = TransposedA<T>{nullptr, p.o}.in_place();
    return buffer_bytes<T>(p.o * p.c) +
           PanelCut<T>(p.o, right_matrix<T>(1, pixels, p.c, p.c), parts, in_place).scratch();
  }
  const bool in_place = is_product(p) && TransposedA<T>{nullptr, p.c}.in_place();
  return buffer_bytes<T>(Windows<T>::storage_size(p)) +
         PanelCut<T>(rows, right_matrix<T>(1, pixels, columns, p.o), parts, in_place).scratch();
}

}  // namespace

template <class T>
int64_t direct_scratch(Conv2dPass pass, const Conv2dParams& p) {
  if (is_depthwise(p)) return depthwise_scratch<T>(pass, p);
  return pass == Conv2dPass::forward      ? forward_scratch<T>(p)
         : pass == Conv2dPass::grad_input ? grad_input_scratch<T>(p)
                                          : grad_weight_scratch<T>(p);
}

#define SIXLOOP_INSTANTIATE(T)                                                                   \
  template WayPlan plan_direct<T>(Conv2dPass, const Conv2dParams&);                              \
  template int64_t direct_scratch<T>(Conv2dPass, const Conv2dParams&);                           \
  template WayPlan plan_direct_forward<T>(const Conv2dParams&);                                  \
  template WayPlan plan_direct_grad_input<T>(const Conv2dParams&);                               \
  template WayPlan plan_direct_grad_weight<T>(const Conv2dParams&);                              \
  template void direct_forward(const Conv2dParams&, const T*, const T*, const Epilogue<T>&, T*); \
  template void direct_grad_input(const Conv2dParams&, const T*, const T*, T*);                  \
  template void direct_grad_weight(const Conv2dParams&, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
