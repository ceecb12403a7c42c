#include "conv2d/simt_grouped.h"

namespace sixloop::cuda {
namespace {

constexpr int kThreads = 128;
// 80 registers for a thread: without the hint ptxas spills to fit in more.
constexpr int kBlocks = 6;

unsigned blocks_for(int64_t threads) { return static_cast<unsigned>(ceil_div(threads, kThreads)); }
__device__ __forceinline__ int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

template <class T, class Rows>
__device__ __forceinline__ T finished(const Sink<T, Rows>& sink, Wide<T> sum, int64_t channel) {
  using V = Lane<Wide<T>>;
  V value{sum};
  if (sink.bias != nullptr) value = value + V{sink.bias[channel]};
  if (sink.relu) value = V::max(V::zero(), value);
  return T(value.v);
}

// `all` channels of the result in groups of `columns`.
template <class T, class Rows>
__global__ void __launch_bounds__(kThreads, kBlocks)
    element_kernel(Windows<T> windows, Filters<T> filters, int64_t pixels, int64_t columns, int64_t all,
                   Sink<T, Rows> sink) {
  using V = Lane<Wide<T>>;
  const int64_t id = thread_number();
  const int64_t pixel = id / all, channel = id % all;
  if (pixel >= pixels) return;
  const int64_t group = channel / columns, n = channel % columns;
  const Digits at(pixel, windows.pixels_h, windows.pixels_w);
  const T* const x = windows.data + group * windows.run;
  const T* const w = filters.data + group * filters.group_step + n * filters.step_n;
  V sum = V::zero();
  for (int64_t i = 0; i < windows.taps_h; ++i) {
    const int64_t r = windows.row(at.middle, i);
    for (int64_t j = 0; j < windows.taps_w; ++j) {
      const int64_t s = windows.column(at.low, j);
      const T* const from = windows.inside(r, s) ? x + windows.image(at.high) + windows.offset(r, s) : nullptr;
      const T* const weight = w + filters.offset(i, j);
      for (int64_t k = 0; k < windows.run; ++k) {
        const Wide<T> value = from != nullptr ? Wide<T>(from[k]) : Wide<T>(0);
        sum = V::fma({value}, {Wide<T>(weight[k * filters.step_k])}, sum);
      }
    }
  }
  sink.data[sink.rows(pixel) + channel] = finished(sink, sum.v, channel);
}

// One channel in a group: neighbouring channels are neighbours in memory, and W of them go together.
template <int W, class T, class Rows>
__global__ void __launch_bounds__(kThreads, kBlocks)
    depthwise_kernel(Windows<T> windows, Filters<T> filters, int64_t pixels, int64_t channels, Sink<T, Rows> sink) {
  using V = Lane<Wide<T>>;
  struct Run {
    T v[W];
    __device__ __forceinline__ void load(const T* p) {
      if constexpr (W == 1) {
        v[0] = *p;
      } else {
        const Pack<T> pack = load_pack(p);
#pragma unroll
        for (int c = 0; c < W; ++c) v[c] = pack.v[c];
      }
    }
  };
  const int64_t id = thread_number();
  const int64_t pixel = id / (channels / W), channel = id % (channels / W) * W;
  if (pixel >= pixels) return;
  const Digits at(pixel, windows.pixels_h, windows.pixels_w);
  Wide<T> sum[W] = {};
  for (int64_t i = 0; i < windows.taps_h; ++i) {
    const int64_t r = windows.row(at.middle, i);
    for (int64_t j = 0; j < windows.taps_w; ++j) {
      const int64_t s = windows.column(at.low, j);
      Run x = {}, w;
      if (windows.inside(r, s)) x.load(windows.data + windows.image(at.high) + windows.offset(r, s) + channel);
      w.load(filters.data + filters.offset(i, j) + channel);
#pragma unroll
      for (int c = 0; c < W; ++c) {
        sum[c] = V::fma({Wide<T>(x.v[c])}, {Wide<T>(w.v[c])}, {sum[c]}).v;
      }
    }
  }
  T* const to = sink.data + sink.rows(pixel) + channel;
  if constexpr (W == 1) {
    *to = finished(sink, sum[0], channel);
  } else {
    Pack<T> pack;
#pragma unroll
    for (int c = 0; c < W; ++c) pack.v[c] = finished(sink, sum[c], channel + c);
    store_pack(pack, to);
  }
}

// Thread (part, row (i, j, k), o).
template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks)
    grad_weight_kernel(Windows<T> windows, const T* dy, int64_t pixels, int64_t columns, int64_t all, int64_t parts,
                       int64_t part_pixels, Wide<T>* sums) {
  using V = Lane<Wide<T>>;
  const int64_t id = thread_number();
  const int64_t rows = windows.taps_h * windows.taps_w * windows.run;
  const int64_t o = id % all, row = id / all % rows, part = id / all / rows;
  if (part >= parts) return;
  const Digits element(row, windows.taps_w, windows.run);
  const T* const x = windows.data + o / columns * windows.run + element.low;
  const int64_t begin = part * part_pixels;
  const int64_t end = pixels < begin + part_pixels ? pixels : begin + part_pixels;
  Digits at(begin, windows.pixels_h, windows.pixels_w);
  V sum = V::zero();
  // The loads of several pixels are on their way at the same time.
  constexpr int kAhead = 4;
  for (int64_t pixel = begin; pixel < end; pixel += kAhead) {
    Wide<T> left[kAhead], right[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      const int64_t r = windows.row(at.middle, element.high), s = windows.column(at.low, element.middle);
      const bool live = pixel + a < end;
      left[a] = live && windows.inside(r, s) ? Wide<T>(x[windows.image(at.high) + windows.offset(r, s)]) : Wide<T>(0);
      right[a] = live ? Wide<T>(dy[(pixel + a) * all + o]) : Wide<T>(0);
      at.next(windows.pixels_h, windows.pixels_w);
    }
#pragma unroll
    for (int a = 0; a < kAhead; ++a) {
      if (pixel + a < end) sum = V::fma({left[a]}, {right[a]}, sum);
    }
  }
  sums[id] = sum.v;
}

}  // namespace

template <class T, class Rows>
void grouped_windows(const Conv2dParams& p, const Windows<T>& windows, const Filters<T>& filters, int64_t pixels,
                     int64_t columns, const Sink<T, Rows>& sink) {
  const int64_t all = columns * p.groups;
  if (!is_depthwise(p)) {
    SIXLOOP_LAUNCH((element_kernel<T, Rows>), blocks_for(pixels * all), kThreads, 0, current_stream(), windows, filters,
                   pixels, columns, all, sink);
    return;
  }
  constexpr int W = Pack<T>::N;
  if (all % W == 0 && aligned_for_packs(windows.data, filters.data, sink.data)) {
    SIXLOOP_LAUNCH((depthwise_kernel<W, T, Rows>), blocks_for(pixels * (all / W)), kThreads, 0, current_stream(),
                   windows, filters, pixels, all, sink);
  } else {
    SIXLOOP_LAUNCH((depthwise_kernel<1, T, Rows>), blocks_for(pixels * all), kThreads, 0, current_stream(), windows,
                   filters, pixels, all, sink);
  }
}

template <class T>
void grouped_grad_weight(const Conv2dParams& p, const Windows<T>& windows, const T* dy, int64_t pixels, int64_t parts,
                         int64_t part_pixels, Wide<T>* sums) {
  SIXLOOP_LAUNCH(grad_weight_kernel<T>, blocks_for(parts * windows.steps() * p.o), kThreads, 0, current_stream(),
                 windows, dy, pixels, p.o / p.groups, p.o, parts, part_pixels, sums);
}

#define SIXLOOP_INSTANTIATE(T)                                                                                   \
  template void grouped_windows(const Conv2dParams&, const Windows<T>&, const Filters<T>&, int64_t, int64_t,     \
                                const Sink<T, DenseRows>&);                                                      \
  template void grouped_windows(const Conv2dParams&, const Windows<T>&, const Filters<T>&, int64_t, int64_t,     \
                                const Sink<T, PhaseRows>&);                                                      \
  template void grouped_grad_weight(const Conv2dParams&, const Windows<T>&, const T*, int64_t, int64_t, int64_t, \
                                    Wide<T>*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
SIXLOOP_INSTANTIATE(BFloat16)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop::cuda
