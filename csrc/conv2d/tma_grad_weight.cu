#include "conv2d/tma_launch.h"

namespace sixloop::cuda {

bool tma_window_columns(const ProductSizes& g, WgmmaTile tile, const Windows<BFloat16>& x, const BFloat16* dy,
                        int64_t ld, int64_t images, const MmaSink<DenseRows>& sink) {
  constexpr int kBox = TmaWindowColumns::kBox;
  if (window_loads(x.run, tile, Reduction::over_pixels) != WindowLoads::tma) return false;
  const PFN_cuTensorMapEncodeTiled_v12000 encode = tma_encoder();
  TmaWindowColumns windows{};
  if (encode == nullptr || !tma_images(x, images, kBox, &windows.images, &windows.down, &windows.right)) return false;
  tma_operand(encode, mma_operand(dy, false, ld, g.n, g.k, g.n), g.k, g.batches, kBox, &windows.dy);
  const auto cut = [](int64_t value) { return static_cast<Index>(value); };
  windows.taps_w = cut(x.taps_w);
  windows.run = cut(x.run);
  windows.boxes_of_tap = cut(ceil_div(x.run, kBox));
  windows.boxes = cut(x.taps_h * x.taps_w) * windows.boxes_of_tap;
  windows.step = Place(kBox, cut(x.pixels_h), cut(x.pixels_w));
  ProductSizes sizes = g;
  sizes.m = int64_t{windows.boxes} * kBox;
  with_tma_shape(tile, [&](auto shape) { launch_tma<decltype(shape)>(sizes, windows, sink); });
  return true;
}

}  // namespace sixloop::cuda
