#include "conv2d/simt_direct.h"

namespace sixloop::cuda {

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
  if (is_product(p)) {
    return multiply({pixels, p.o, p.c}, matrix<true>(x, p.c, pixels), matrix<false>(w, p.o, p.o), sink);
  }
  if (by_elements(p, p.o, windows)) {
    const int64_t tap = windows.run * p.o;
    return grouped_windows(p, windows, Filters<T>{w, 0, p.window.kw * tap, tap, p.o, 1, columns}, pixels, columns,
                           sink);
  }
  const ProductSizes g{pixels, columns, windows.steps(), p.groups};
  launch_convolution<true>(g, WindowRows<T>{shortened(windows), pixels}, matrix<false>(w, p.o, columns, columns), sink);
}

#define SIXLOOP_INSTANTIATE(T) \
  template void direct_forward(const Conv2dParams&, const T*, const T*, const BiasRelu<T>&, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop::cuda
