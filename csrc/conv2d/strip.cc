#include <algorithm>

#include "conv2d/algorithms.h"

namespace sixloop {

template <class T>
bool strip_forward_pays(const Conv2dParams& p, const Windows<T>& windows) {
  // In steps of a tile: what a tile costs besides its steps, in a strip and in a product of row pointers.
  constexpr int64_t kStripCost = 4;
  constexpr int64_t kRowsCost = 20;
  if (!windows.filter_rows()) return false;
  const int64_t mr = select_row<GemmStrip, T>().facts.mr;
  const int64_t steps = windows.taps() * windows.run();
  // The last tile of a row computes some of its pixels again.
  return p.ow >= mr && ceil_div(p.ow, mr) * mr * (steps + kStripCost) <= p.ow * (steps + kRowsCost);
}

template <class T>
void strip_forward(const Conv2dParams& p, const Windows<T>& windows, const T* w, const Epilogue<T>& epilogue, T* y) {
  MatrixB<T> b;
  b.tap_data = {w};
  b.kc = windows.taps() * windows.run();
  b.n = p.o;
  b.ld = p.o;
  gemm_strip_loops(p.n * p.oh, windows.taps(), windows.run(), p.window.stride_w * p.c,
                   p.window.dilation_h * windows.row_length(), b, epilogue,
                   [&](int64_t i) { return Strip<T>{p.ow, windows.row(i / p.oh, i % p.oh), y + i * p.ow * p.o}; });
}

#define SIXLOOP_INSTANTIATE(T)                                              \
  template bool strip_forward_pays(const Conv2dParams&, const Windows<T>&); \
  template void strip_forward(const Conv2dParams&, const Windows<T>&, const T*, const Epilogue<T>&, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
