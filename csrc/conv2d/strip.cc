#include <algorithm>

#include "conv2d/algorithms.h"

namespace sixloop {

template <class T>
bool strip_forward_pays(const Conv2dParams& p, const Windows<T>& windows) {
  // In steps of a tile: what a tile costs besides its steps, in a strip and in a product of row pointers.
  constexpr int64_t kStripCost = 4;
  constexpr int64_t kRowsCost = 20;
  if (!windows.filter_rows()) return false;
  const int64_t mr = select_row<Strip, T>().facts.mr;
  const int64_t steps = windows.taps() * windows.run();
  // The last tile of a row computes some of its pixels again.
  return p.ow >= mr && ceil_div(p.ow, mr) * mr * (steps + kStripCost) <= p.ow * (steps + kRowsCost);
}

template <class T>
void strip_forward(const Conv2dParams& p, const Windows<T>& windows, const T* w, const Epilogue<T>& epilogue, T* y) {
  const Kernel& row = select_row<Strip, T>();
  const auto kernel = function_of<Strip, T>(row);
  const int64_t nr = row.facts.nr;
  const int64_t panels = ceil_div(p.o, nr);
  MatrixB<T> b;
  b.tap_data = {w};
  b.kc = windows.taps() * windows.run();
  b.n = p.o;
  b.ld = p.o;
  Buffer<T> packed(panels * b.steps() * nr);
  pack_b(b, KBlock{0, 1, 0, b.kc}, 0, p.o, nr, b.steps() * nr, packed.get());
  const PaddedBias<T> bias(epilogue.bias, p.o, panels * nr);
  const bool relu = epilogue.activation == Activation::relu;
  parallel_for(p.n * p.oh, [&](int64_t task) {
    T* out = y + task * p.ow * p.o;
    kernel({p.ow, p.o, windows.taps(), windows.run(), windows.row(task / p.oh, task % p.oh), p.window.stride_w * p.c,
            p.window.dilation_h * windows.row_length(), packed.get(), bias.at(0), relu, out});
    if (!relu && epilogue.activation != Activation::none) apply_activation(out, p.ow * p.o, epilogue.activation);
  });
}

#define SIXLOOP_INSTANTIATE(T)                                              \
  template bool strip_forward_pays(const Conv2dParams&, const Windows<T>&); \
  template void strip_forward(const Conv2dParams&, const Windows<T>&, const T*, const Epilogue<T>&, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
