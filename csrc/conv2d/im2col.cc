#include <algorithm>
#include <cstring>

#include "conv2d/algorithms.h"
#include "conv2d/geometry.h"

namespace sixloop {
namespace {

// Elements of the matrix that one task writes.
constexpr int64_t kGrain = 16384;

template <class T>
MatrixB<T> group_weights(const Conv2dParams& p, const T* w, int64_t group, int64_t steps) {
  const int64_t columns = p.o / p.groups;
  MatrixB<T> b;
  b.tap_data = {w + group * columns};
  b.kc = steps;
  b.n = columns;
  b.ld = p.o;
  return b;
}

int64_t window_size(const Conv2dParams& p) { return Shape{p.window.kh, p.window.kw, p.c / p.groups}.size(); }

}  // namespace

template <class T>
void write_windows(const Conv2dParams& p, const T* x, int64_t group, T* col, int64_t ld) {
  const Windows<T> windows(x, p, group);
  const int64_t row = windows.taps() * windows.run();
  parallel_ranges(
      p.n * p.oh * p.ow, std::max<int64_t>(1, kGrain / std::max<int64_t>(row, 1)), [&](int64_t begin, int64_t end) {
        for (int64_t tap = 0; tap < windows.taps(); ++tap) {
          windows.copy(begin, end - begin, tap, 0, windows.run(), col + begin * ld + tap * windows.run(), ld);
        }
        if (ld > row) {
          for (int64_t i = begin; i < end; ++i) std::fill(col + i * ld + row, col + (i + 1) * ld, T{0});
        }
      });
}

template <class T>
void add_col2im(const Conv2dParams& p, const T* col, int64_t group, T* x) {
  const int64_t channels = p.c / p.groups;
  const int64_t row = window_size(p);
  const std::vector<Phase> all = phases(p);
  for (const Phase& phase : all) {
    parallel_ranges(p.n * phase.count_h * phase.count_w, std::max<int64_t>(1, kGrain / std::max<int64_t>(row, 1)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t pixel = begin; pixel < end; ++pixel) {
                        const int64_t i_w = pixel % phase.count_w;
                        const int64_t i_h = pixel / phase.count_w % phase.count_h;
                        const int64_t n = pixel / (phase.count_w * phase.count_h);
                        const int64_t h = phase.first_h + i_h * p.window.stride_h;
                        const int64_t column = phase.first_w + i_w * p.window.stride_w;
                        T* out = x + ((n * p.h + h) * p.w + column) * p.c + group * channels;
                        std::fill(out, out + channels, T{0});
                        for (const Phase::Tap& tap : phase.taps) {
                          const int64_t oh = i_h + tap.shift_h;
                          const int64_t ow = i_w + tap.shift_w;
                          if (oh < 0 || oh >= p.oh || ow < 0 || ow >= p.ow) continue;
                          const T* in =
                              col + ((n * p.oh + oh) * p.ow + ow) * row + (tap.kh * p.window.kw + tap.kw) * channels;
                          for (int64_t c = 0; c < channels; ++c) out[c] += in[c];
                        }
                      }
                    });
  }
}

template <class T>
WayPlan plan_im2col(Conv2dPass pass, const Conv2dParams& p) {
  const int64_t pixels = p.n * p.oh * p.ow;
  const int64_t outputs = p.o / p.groups;
  switch (pass) {
    case Conv2dPass::forward:
      return {ConvWay::product, &select_tile<GemmRows, T>(pixels, outputs)};
    case Conv2dPass::grad_input:
      return {ConvWay::product, &select_tile<GemmRows, T>(pixels, window_size(p))};
    case Conv2dPass::grad_weight:
      return {ConvWay::product, &select_tile<GemmPanel, T>(window_size(p), outputs)};
  }
  throw std::logic_error("unknown pass");
}

template <class T>
void im2col_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y) {
  const int64_t steps = window_size(p);
  const int64_t rows = p.n * p.oh * p.ow;
  const int64_t columns = p.o / p.groups;
  Buffer<T> col(Shape{rows, steps}.size());
  for (int64_t group = 0; group < p.groups; ++group) {
    write_windows(p, x, group, col.get(), steps);
    Epilogue<T> part = epilogue;
    if (part.bias != nullptr) part.bias += group * columns;
    T* out = y + group * columns;
    gemm_rows_loops(rows, group_weights(p, w, group, steps), part, false,
                    [&](int64_t row, int64_t count, int64_t, const T** a, T** c) {
                      for (int64_t i = 0; i < count; ++i) {
                        a[i] = col.get() + (row + i) * steps;
                        c[i] = out + (row + i) * p.o;
                      }
                    });
  }
}

template <class T>
void im2col_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  const int64_t steps = p.o / p.groups;
  const int64_t rows = p.n * p.oh * p.ow;
  const int64_t columns = window_size(p);
  Buffer<T> col(std::max<int64_t>(1, Shape{rows, columns}.size()));
  for (int64_t group = 0; group < p.groups; ++group) {
    MatrixB<T> b;
    b.tap_data = {w + group * steps};
    b.kc = steps;
    b.n = columns;
    b.ld = p.o;
    b.transposed = true;
    gemm_rows_loops(rows, b, Epilogue<T>{}, false, [&](int64_t row, int64_t count, int64_t, const T** a, T** c) {
      for (int64_t i = 0; i < count; ++i) {
        a[i] = dy + (row + i) * p.o + group * steps;
        c[i] = col.get() + (row + i) * columns;
      }
    });
    add_col2im(p, col.get(), group, dx);
  }
}

template <class T>
void im2col_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw) {
  const int64_t rows = window_size(p);
  const int64_t pixels = p.n * p.oh * p.ow;
  const int64_t columns = p.o / p.groups;
  Buffer<T> col(std::max<int64_t>(1, Shape{pixels, rows}.size()));
  for (int64_t group = 0; group < p.groups; ++group) {
    write_windows(p, x, group, col.get(), rows);
    MatrixB<T> b;
    b.tap_data = {dy + group * columns};
    b.kc = pixels;
    b.n = columns;
    b.ld = p.o;
    const int64_t parts = pixel_parts(pixels, rows * columns * static_cast<int64_t>(sizeof(T)));
    gemm_panel_loops(rows, TransposedA<T>{col.get(), rows}, b, Epilogue<T>{}, dw + group * columns, p.o, parts);
  }
}

template <class T>
int64_t im2col_scratch(Conv2dPass pass, const Conv2dParams& p) {
  const int64_t steps = window_size(p);
  const int64_t rows = p.n * p.oh * p.ow;
  const int64_t matrix = buffer_bytes<T>(std::max<int64_t>(1, Shape{rows, steps}.size()));
  MatrixB<T> b = group_weights<T>(p, nullptr, 0, steps);
  int64_t product = 0;
  if (pass == Conv2dPass::forward) {
    product = RowsCut<T>(rows, b, false).scratch();
  } else if (pass == Conv2dPass::grad_input) {
    b.kc = p.o / p.groups;
    b.n = steps;
    b.transposed = true;
    return matrix + RowsCut<T>(rows, b, false).scratch();
  } else {
    b.kc = rows;
    const int64_t parts = pixel_parts(rows, steps * b.n * static_cast<int64_t>(sizeof(T)));
    product = PanelCut<T>(steps, b, parts, TransposedA<T>{nullptr, steps}.in_place()).scratch();
  }
  return matrix + std::max(product, buffer_bytes<T>(Windows<T>::storage_size(p)));
}

#define SIXLOOP_INSTANTIATE(T)                                                                   \
  template int64_t im2col_scratch<T>(Conv2dPass, const Conv2dParams&);                           \
  template WayPlan plan_im2col<T>(Conv2dPass, const Conv2dParams&);                              \
  template void write_windows(const Conv2dParams&, const T*, int64_t, T*, int64_t);              \
  template void add_col2im(const Conv2dParams&, const T*, int64_t, T*);                          \
  template void im2col_forward(const Conv2dParams&, const T*, const T*, const Epilogue<T>&, T*); \
  template void im2col_grad_input(const Conv2dParams&, const T*, const T*, T*);                  \
  template void im2col_grad_weight(const Conv2dParams&, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
