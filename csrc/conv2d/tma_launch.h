// What the files of tma_windows() are made of.
#pragma once

#include "conv2d/tma_windows.h"

namespace sixloop::cuda {

// The images of the windows; false where there is no such map.
bool tma_images(const ProductSizes& g, const Windows<BFloat16>& x, int box_pixels, CUtensorMap* map, TmaAxis* down,
                TmaAxis* right);

template <bool kTurnedFilters, class Rows>
bool tma_windows(const ProductSizes& g, WgmmaTile tile, const Windows<BFloat16>& x, const TmaFilters& w,
                 const MmaSink<Rows>& sink) {
  if (g.batches > 1 || window_loads(x.run, tile) != WindowLoads::tma) return false;
  const PFN_cuTensorMapEncodeTiled_v12000 encode = tma_encoder();
  TmaWindows<kTurnedFilters> windows{};
  if (encode == nullptr || !tma_images(g, x, Tma128x256::BM, &windows.images, &windows.down, &windows.right)) {
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
  const auto launch = [&](auto shape) {
    using Shape = decltype(shape);
    windows.filters = tma_operand(encode, right, x.run, filters, kTurnedFilters ? Shape::BN : 64);
    launch_tma<Shape>(sizes, windows, sink);
  };
  switch (tile) {
    case WgmmaTile::m128n256:
      launch(Tma128x256{});
      break;
    case WgmmaTile::m128n128:
      launch(Tma128x128{});
      break;
    case WgmmaTile::m128n64:
    case WgmmaTile::m64n64:
      launch(Tma128x64{});
      break;
  }
  return true;
}

}  // namespace sixloop::cuda
