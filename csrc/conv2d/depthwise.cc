#include <algorithm>
#include <stdexcept>

#include "conv2d/algorithms.h"
#include "conv2d/geometry.h"

namespace sixloop {
namespace {

// Pixels of one kernel call: their pointers fit into the first-level cache.
constexpr int64_t kPixels = 64;
// Pixels of one task.
constexpr int64_t kTaskPixels = 256;

// Runs the kernel over pixels [0, count); fill(first, pixels, a, y) writes the pointers to the taps
// of pixels [first, first + pixels), pixel by pixel, and their output rows.
template <class T, class Fill>
void depthwise_loops(int64_t count, int64_t taps, int64_t channels, const T* w, const Epilogue<T>& epilogue,
                     const Fill& fill) {
  const auto kernel = select<Depthwise, T>();
  parallel_for(ceil_div(count, kTaskPixels), [&](int64_t task) {
    Buffer<const T*> a(kPixels * std::max<int64_t>(taps, 1));
    T* y[kPixels];
    const int64_t end = std::min(count, (task + 1) * kTaskPixels);
    for (int64_t begin = task * kTaskPixels; begin < end; begin += kPixels) {
      const int64_t pixels = std::min(kPixels, end - begin);
      fill(begin, pixels, a.get(), y);
      const bool relu = epilogue.activation == Activation::relu;
      kernel({pixels, taps, channels, a.get(), w, epilogue.bias, relu, y});
      if (!relu && epilogue.activation != Activation::none) {
        for (int64_t i = 0; i < pixels; ++i) apply_activation(y[i], channels, epilogue.activation);
      }
    }
  });
}

// The same convolution seen as one group: its taps are filter offsets, their runs all channels.
Conv2dParams all_channels(const Conv2dParams& p) {
  Conv2dParams whole = p;
  whole.groups = 1;
  return whole;
}

}  // namespace

template <class T>
void depthwise_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y) {
  const Conv2dParams whole = all_channels(p);
  const Windows<T> windows(x, whole, 0, WindowTaps::offsets);
  depthwise_loops(p.n * p.oh * p.ow, windows.taps(), p.c, w, epilogue,
                  [&](int64_t pixel, int64_t count, const T** a, T** rows) {
                    windows.pointers(pixel, count, 1, a);
                    for (int64_t i = 0; i < count; ++i) rows[i] = y + (pixel + i) * p.c;
                  });
}

template <class T>
void depthwise_grad_input(const Conv2dParams& p, const T* dy, const T* w, T* dx) {
  Buffer<T> zeros(p.c);
  std::fill(zeros.get(), zeros.get() + p.c, T{0});
  for (const Phase& phase : phases(p)) {
    const int64_t taps = static_cast<int64_t>(phase.taps.size());
    Buffer<T> live(std::max<int64_t>(taps, 1) * p.c);
    for (int64_t i = 0; i < taps; ++i) {
      const Phase::Tap& tap = phase.taps[static_cast<size_t>(i)];
      const T* row = w + (tap.kh * p.window.kw + tap.kw) * p.c;
      std::copy(row, row + p.c, live.get() + i * p.c);
    }
    depthwise_loops(p.n * phase.count_h * phase.count_w, taps, p.c, live.get(), Epilogue<T>{},
                    [&](int64_t first, int64_t count, const T** a, T** rows) {
                      for (int64_t pixel = first; pixel < first + count; ++pixel) {
                        const int64_t i_w = pixel % phase.count_w;
                        const int64_t i_h = pixel / phase.count_w % phase.count_h;
                        const int64_t n = pixel / (phase.count_w * phase.count_h);
                        for (const Phase::Tap& tap : phase.taps) {
                          const int64_t oh = i_h + tap.shift_h;
                          const int64_t ow = i_w + tap.shift_w;
                          const bool inside = oh >= 0 && oh < p.oh && ow >= 0 && ow < p.ow;
                          *a++ = inside ? dy + ((n * p.oh + oh) * p.ow + ow) * p.c : zeros.get();
                        }
                        const int64_t h = phase.first_h + i_h * p.window.stride_h;
                        const int64_t column = phase.first_w + i_w * p.window.stride_w;
                        *rows++ = dx + ((n * p.h + h) * p.w + column) * p.c;
                      }
                    });
  }
}

template <class T>
void depthwise_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw) {
  const Conv2dParams whole = all_channels(p);
  const Windows<T> windows(x, whole, 0, WindowTaps::offsets);
  const int64_t taps = windows.taps();
  const int64_t pixels = p.n * p.oh * p.ow;
  const int64_t parts = pixel_parts(pixels, taps * p.c * static_cast<int64_t>(sizeof(T)));
  const int64_t part_pixels = ceil_div(pixels, parts);
  const auto kernel = select<DepthwiseGradWeight, T>();
  Buffer<T> sums(parts * taps * p.c);
  std::fill(sums.get(), sums.get() + parts * taps * p.c, T{0});
  parallel_for(parts * taps, [&](int64_t task) {
    const int64_t tap = task % taps;
    const int64_t end = std::min(pixels, (task / taps + 1) * part_pixels);
    const T* a[kPixels];
    for (int64_t begin = task / taps * part_pixels; begin < end; begin += kPixels) {
      const int64_t count = std::min(kPixels, end - begin);
      windows.tap_pointers(begin, count, tap, a);
      kernel(count, p.c, a, dy + begin * p.c, p.c, sums.get() + task * p.c);
    }
  });
  const int64_t size = taps * p.c;
  for (int64_t i = 0; i < size; ++i) {
    T sum = sums[i];
    for (int64_t part = 1; part < parts; ++part) sum += sums[part * size + i];
    dw[i] = sum;
  }
}

template <class T>
int64_t depthwise_scratch(Conv2dPass pass, const Conv2dParams& p) {
  const int64_t taps = p.window.kh * p.window.kw;
  const int64_t zeros = buffer_bytes<T>(p.c);
  const auto tasks = [](int64_t pixels, int64_t reached) {
    return task_bytes(ceil_div(pixels, kTaskPixels), buffer_bytes<T*>(kPixels * std::max<int64_t>(reached, 1)));
  };
  switch (pass) {
    case Conv2dPass::forward:
      return zeros + tasks(p.n * p.oh * p.ow, taps);
    case Conv2dPass::grad_input: {
      int64_t most = 0;
      for (const Phase& phase : phases(p)) {
        const int64_t reached = static_cast<int64_t>(phase.taps.size());
        most = std::max(most, buffer_bytes<T>(std::max<int64_t>(reached, 1) * p.c) +
                                  tasks(p.n * phase.count_h * phase.count_w, reached));
      }
      return zeros + most;
    }
    case Conv2dPass::grad_weight:
      return zeros +
             buffer_bytes<T>(pixel_parts(p.n * p.oh * p.ow, taps * p.c * static_cast<int64_t>(sizeof(T))) * taps * p.c);
  }
  throw std::logic_error("unknown pass");
}

#define SIXLOOP_INSTANTIATE(T)                                                                      \
  template int64_t depthwise_scratch<T>(Conv2dPass, const Conv2dParams&);                           \
  template void depthwise_forward(const Conv2dParams&, const T*, const T*, const Epilogue<T>&, T*); \
  template void depthwise_grad_input(const Conv2dParams&, const T*, const T*, T*);                  \
  template void depthwise_grad_weight(const Conv2dParams&, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
