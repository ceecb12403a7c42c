#include "conv2d/simt_algorithms.h"

namespace sixloop::cuda {
namespace {

constexpr int kThreads = 128;
// 64 registers for a thread: without the hint ptxas spills to fit in more.
constexpr int kBlocks = 8;

// A thread has a pack of elements of a window, `lines` packs in each.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    windows_kernel(Windows<T> windows, int64_t pixels, int64_t steps, bool packs, T* col) {
  constexpr int W = Pack<T>::N;
  const int64_t id = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t lines = ceil_div(steps, W);
  const int64_t pixel = id / lines, k = id % lines * W;
  if (pixel >= pixels) return;
  const Digits at(pixel, windows.pixels_h, windows.pixels_w);
  Digits step(k, windows.taps_w, windows.run);
  const auto find = [&]() -> const T* {
    const int64_t r = windows.row(at.middle, step.high), s = windows.column(at.low, step.middle);
    return windows.inside(r, s) ? windows.data + windows.image(at.high) + windows.offset(r, s) + step.low : nullptr;
  };
  T* const to = col + pixel * steps + k;
  if (packs) {
    const T* const from = find();
    store_pack(from != nullptr ? load_pack(from) : Pack<T>{}, to);
    return;
  }
  for (int j = 0; j < W && k + j < steps; ++j) {
    const T* const from = find();
    to[j] = from != nullptr ? *from : T(0);
    step.next(windows.taps_w, windows.run);
  }
}

// A thread has one element of x. Here `windows` is over the pixels of `col`, whose windows have `steps` elements;
// offset (i, j) is filter offset `first` + i * step_i + j * step_j, in elements of a window.
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    col2im_kernel(Windows<T> windows, int64_t pixels, int64_t steps, int64_t channels, int64_t first, int64_t step_i,
                  int64_t step_j, PhaseRows rows, T* x) {
  using V = Lane<T>;
  const int64_t id = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t pixel = id / channels, channel = id % channels;
  if (pixel >= pixels) return;
  const Digits at(pixel, windows.pixels_h, windows.pixels_w);
  V sum = V::zero();
  for (int64_t i = 0; i < windows.taps_h; ++i) {
    const int64_t r = windows.row(at.middle, i);
    for (int64_t j = 0; j < windows.taps_w; ++j) {
      const int64_t s = windows.column(at.low, j);
      if (!windows.inside(r, s)) continue;
      const int64_t place = (at.high * windows.h + r) * windows.w + s;
      sum = sum + V{windows.data[place * steps + first + i * step_i + j * step_j + channel]};
    }
  }
  x[rows(pixel) + channel] = sum.v;
}

template <class T>
Sink<T, DenseRows> sink_of_columns(T* out, int64_t ld, int64_t part_step = 0, const BiasRelu<T>& epilogue = {}) {
  Sink<T, DenseRows> sink{};
  sink.data = out;
  sink.rows = {ld};
  sink.part_step = part_step;
  sink.bias = epilogue.bias;
  sink.relu = epilogue.relu;
  sink.packs = ld % Pack<T>::N == 0 && part_step % Pack<T>::N == 0 && aligned_for_packs(out);
  return sink;
}

}  // namespace

template <class T>
void write_windows(const Conv2dParams& p, const T* x, int64_t group, T* col) {
  const Windows<T> windows = windows_of(p, x + group * (p.c / p.groups));
  const int64_t pixels = p.n * p.oh * p.ow, steps = windows.steps();
  const auto blocks = static_cast<unsigned>(ceil_div(pixels * ceil_div(steps, Pack<T>::N), kThreads));
  if (blocks == 0) return;
  SIXLOOP_LAUNCH(windows_kernel<T>, blocks, kThreads, 0, current_stream(), windows, pixels, steps,
                 windows.packs && aligned_for_packs(col), col);
}

template <class T>
void add_col2im(const Conv2dParams& p, const T* col, int64_t group, T* x) {
  const int64_t channels = p.c / p.groups;
  const int64_t steps = p.window.kh * p.window.kw * channels;
  for (const PhaseWindows<T>& phase : phase_windows(p, col, false)) {
    const int64_t pixels = p.n * phase.windows.pixels_h * phase.windows.pixels_w;
    const int64_t row = p.window.kw * channels;
    SIXLOOP_LAUNCH(col2im_kernel<T>, static_cast<unsigned>(ceil_div(pixels * channels, kThreads)), kThreads, 0,
                   current_stream(), phase.windows, pixels, steps, channels,
                   phase.first_kh * row + phase.first_kw * channels, phase.step_kh * row, phase.step_kw * channels,
                   phase_rows(p, phase), x + group * channels);
  }
}

template <class T>
void im2col_forward(const Conv2dParams& p, const T* x, const T* w, const BiasRelu<T>& epilogue, T* y) {
  const int64_t steps = p.window.kh * p.window.kw * (p.c / p.groups);
  const int64_t rows = p.n * p.oh * p.ow, columns = p.o / p.groups;
  const Scratch<T> col(Shape{rows, steps}.size());
  for (int64_t group = 0; group < p.groups; ++group) {
    cuda::write_windows(p, x, group, col.get());
    BiasRelu<T> part = epilogue;
    if (part.bias != nullptr) part.bias += group * columns;
    multiply({rows, columns, steps}, matrix<true>(static_cast<const T*>(col.get()), steps, rows),
             matrix<false>(w + group * columns, p.o, columns), sink_of_columns(y + group * columns, p.o, 0, part));
  }
}

template <class T>
void im2col_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  const int64_t terms = p.o / p.groups;
  const int64_t rows = p.n * p.oh * p.ow, columns = p.window.kh * p.window.kw * (p.c / p.groups);
  const Scratch<T> col(Shape{rows, columns}.size());
  for (int64_t group = 0; group < p.groups; ++group) {
    if (rows * columns > 0) {
      multiply({rows, columns, terms}, matrix<true>(dy + group * terms, p.o, rows),
               matrix<true>(w + group * terms, p.o, columns), sink_of_columns(col.get(), columns));
    }
    cuda::add_col2im(p, static_cast<const T*>(col.get()), group, dx);
  }
}

template <class T>
void im2col_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw) {
  const int64_t rows = p.window.kh * p.window.kw * (p.c / p.groups), columns = p.o / p.groups;
  const int64_t pixels = p.n * p.oh * p.ow;
  const int64_t parts = pixel_parts(pixels, rows * columns * static_cast<int64_t>(sizeof(T)));
  const int64_t size = rows * p.o;
  const Scratch<T> col(Shape{pixels, rows}.size());
  const Scratch<T> sums(parts > 1 ? parts * size : 0);
  T* const out = parts > 1 ? sums.get() : dw;
  for (int64_t group = 0; group < p.groups; ++group) {
    cuda::write_windows(p, x, group, col.get());
    multiply({rows, columns, pixels, 1, parts, ceil_div(pixels, parts)},
             matrix<false>(static_cast<const T*>(col.get()), rows, rows),
             matrix<false>(dy + group * columns, p.o, columns), sink_of_columns(out + group * columns, p.o, size));
  }
  if (parts > 1) add_parts(static_cast<const T*>(sums.get()), parts, size, dw);
}

#define SIXLOOP_INSTANTIATE(T)                                                                   \
  template void write_windows(const Conv2dParams&, const T*, int64_t, T*);                       \
  template void add_col2im(const Conv2dParams&, const T*, int64_t, T*);                          \
  template void im2col_forward(const Conv2dParams&, const T*, const T*, const BiasRelu<T>&, T*); \
  template void im2col_grad_input(const Conv2dParams&, const T*, const T*, T*);                  \
  template void im2col_grad_weight(const Conv2dParams&, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop::cuda
