// What the files of tma_windows() are made of.
#pragma once

#include "conv2d/tma_windows.h"

namespace sixloop::cuda {

// The images of the windows; false where there is no such map.
bool tma_images(const Windows<BFloat16>& x, int64_t images, int box_pixels, CUtensorMap* map, TmaAxis* down,
                TmaAxis* right);

// Calls launch(shape) with a value of the shape's type.
template <class Launch>
void with_tma_shape(WgmmaTile tile, const Launch& launch) {
  switch (tile) {
    case WgmmaTile::m128n256:
      return launch(Tma128x256{});
    case WgmmaTile::m128n128:
      return launch(Tma128x128{});
    case WgmmaTile::m128n64:
    case WgmmaTile::m64n64:
      return launch(Tma128x64{});
  }
}

template <bool kTurnedFilters, class Rows>
bool tma_windows(const ProductSizes& g, WgmmaTile tile, const Windows<BFloat16>& x, const TmaFilters& w,
                 const MmaSink<Rows>& sink) {
  if (g.batches > 1 || window_loads(x.run, tile, Reduction::over_channels) != WindowLoads::tma) return false;
  const PFN_cuTensorMapEncodeTiled_v12000 encode = tma_encoder();
  TmaWindows<kTurnedFilters> windows{};
  const int64_t images = g.m / (x.pixels_h * x.pixels_w);
  if (encode == nullptr || !tma_images(x, images, Tma128x256::BM, &windows.images, &windows.down, &windows.right)) {
    return false;
  }
  const auto cut = [](int64_t value) { return static_cast<Index>(value); };
  windows.taps_w = cut(x.taps_w);
  windows.run = cut(x.run);
  windows.filter = cut(w.first);
  windows.filter_i = cut(w.step_i);
  windows.filter_j = cut(w.step_j);
  const int64_t filters = w.first + (x.taps_h - 1) * w.step_i + (x.taps_w - 1) * w.step_j + 1;
  const MmaOperand<BFloat16> right{w.data, kTurnedFilters, kTurnedFilters ? x.run : g.n,
                                   g.n,    w.size,         Pack<BFloat16>::N};
  ProductSizes sizes = g;
  sizes.k = x.taps_h * x.taps_w * ceil_div(x.run, Tma128x256::BK) * Tma128x256::BK;
  with_tma_shape(tile, [&](auto shape) {
    using Shape = decltype(shape);
    tma_operand(encode, right, x.run, filters, kTurnedFilters ? Shape::BN : 64, &windows.filters);
    launch_tma<Shape>(sizes, windows, sink);
  });
  return true;
}

}  // namespace sixloop::cuda
