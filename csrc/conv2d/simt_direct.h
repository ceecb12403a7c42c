// Direct convolution: products of matrices whose left operand is windows, gathered as they are needed.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <initializer_list>

#include "conv2d/simt_algorithms.h"
#include "conv2d/simt_grouped.h"

namespace sixloop::cuda {

// Indices in an image and in the filters fit into 32 bits, which halves the registers that they take. kLimit leaves
// room for a sum of two, and for a pixel that is not there.
using Index = int;
using Place = DigitsOf<Index>;
constexpr int64_t kLimit = int64_t{1} << 29;
constexpr Index kOutside = -(1 << 30);

template <class T>
bool is_small(const Windows<T>& w, int64_t images, int64_t filter_size) {
  // A step may run ahead of the last one by a block's steps.
  constexpr int64_t kAhead = 32;
  const auto small = [](std::initializer_list<int64_t> values) {
    return std::all_of(values.begin(), values.end(), [](int64_t value) { return std::abs(value) < kLimit; });
  };
  // No factor exceeds 2^31, so that a product of two does not overflow; (h * w) and c come one after the other.
  return small({images, filter_size, w.h * w.w, w.c, w.run, w.pixels_h * w.step_h, w.pixels_w * w.step_w, w.base_h,
                w.base_w, w.tap_h, w.tap_w, w.taps_h, w.taps_w}) &&
         small(
             {w.h * w.w * w.c, (w.taps_h + kAhead) * w.tap_h, (w.taps_w + kAhead) * w.tap_w, w.pixels_h * w.pixels_w});
}

template <class T>
Windows<T, Index> shortened(const Windows<T>& w) {
  const auto cut = [](int64_t value) { return static_cast<Index>(value); };
  // Windows without offsets or channels have no steps, but a position in them is computed.
  return {w.data,
          cut(w.h),
          cut(w.w),
          cut(w.c),
          cut(w.pixels_h),
          cut(w.pixels_w),
          cut(w.step_h),
          cut(w.step_w),
          cut(w.base_h),
          cut(w.base_w),
          cut(w.tap_h),
          cut(w.tap_w),
          cut(w.taps_h),
          cut(std::max<int64_t>(w.taps_w, 1)),
          cut(std::max<int64_t>(w.run, 1)),
          w.packs};
}

// Fills a pack of a share: find(k) is where the element of step k lies, or null where there is a zero. The first one's
// is `at`; with `packs` all of them lie together.
template <class T, class Find>
__device__ __forceinline__ void gather(Pack<T>& pack, bool packs, Place at, Index middles, Index lows,
                                       const Find& find) {
  if (packs) {
    const T* const from = find(at);
    pack = from != nullptr ? load_pack(from) : Pack<T>{};
    return;
  }
#pragma unroll
  for (int j = 0; j < Pack<T>::N; ++j) {
    const T* const from = find(at);
    pack.v[j] = from != nullptr ? *from : T(0);
    at.next(middles, lows);
  }
}

// Left operand of the forward pass and of the input gradient: row x is a pixel's window, step k is (i, j, channel).
template <class T>
struct WindowRows {
  static constexpr bool kTurned = true;
  Windows<T, Index> windows;
  int64_t pixels;
  Place step = {};  // from one load to the next

  template <class Share>
  void prepare() {
    step = Place(Share::BK, windows.taps_w, windows.run);
  }

  template <class Share>
  struct Loader {
    static constexpr int kPacks = Share::kPacks;
    const WindowRows& operand;
    const Windows<T, Index>& w;
    const T* group;
    Place at;
    Index image[kPacks], row[kPacks], column[kPacks];

    __device__ __forceinline__ Loader(const WindowRows& rows, int64_t batch, int64_t x, int64_t k, int64_t)
        : operand(rows), w(rows.windows), group(w.data + batch * w.run), at(k + Share::along(), w.taps_w, w.run) {
#pragma unroll
      for (int p = 0; p < kPacks; ++p) {
        const int64_t pixel = x + Share::line() + p * Share::kLinesApart;
        const Place place(pixel, w.pixels_h, w.pixels_w);
        image[p] = place.high;
        row[p] = pixel < operand.pixels ? w.row(place.middle, 0) : kOutside;
        column[p] = w.column(place.low, 0);
      }
    }

    // The element of step k in the window of pack p, or null.
    __device__ __forceinline__ const T* find(int p, const Place& k) const {
      const Index r = row[p] + k.high * w.tap_h, s = column[p] + k.middle * w.tap_w;
      if (k.high >= w.taps_h || !w.inside(r, s)) return nullptr;
      return group + w.image(image[p]) + (w.offset(r, s) + k.low);
    }

    __device__ __forceinline__ void load(Share& share) {
#pragma unroll
      for (int p = 0; p < Share::kPacks; ++p) {
        gather(share.held[p], w.packs, at, w.taps_w, w.run, [&](const Place& k) { return find(p, k); });
      }
      at.add(operand.step, w.taps_w, w.run);
    }
  };
};

// The largest tile that leaves enough blocks; a narrow one for few channels. Every tile gives the same bits.
template <bool kWide, class T, class Left, class Right, class Rows>
void launch_convolution(const ProductSizes& g, const Left& left, const Right& right, const Sink<T, Rows>& sink) {
  constexpr int kSteps = sizeof(T) == 4 ? 16 : 8;
  if (g.n <= 16 && product_blocks(g, 64, 16) >= kEnoughBlocks) {
    return launch_product<Tile<T, 64, 16, kSteps, 1, 1>>(g, left, right, sink);
  }
  if constexpr (kWide && std::is_same_v<T, float>) {
    if (product_blocks(g, 128, 64) >= kEnoughBlocks) {
      return launch_product<Tile<T, 128, 64, 16, 2, 1>>(g, left, right, sink);
    }
  }
  if (product_blocks(g, 64, 64) >= kEnoughBlocks) {
    return launch_product<Tile<T, 64, 64, kSteps, 1, 1>>(g, left, right, sink);
  }
  launch_product<Tile<T, 32, 32, 8, 1, 1>>(g, left, right, sink);
}

// Groups with fewer channels than this in a row of the result have kernels of their own, which also do what does not
// fit into 32 bits.
template <class T>
bool by_elements(const Conv2dParams& p, int64_t columns, const Windows<T>& windows) {
  constexpr int64_t kFewChannels = 16;
  const int64_t filter_size = p.window.kh * p.window.kw * (p.c / p.groups);  // below 2^62: it is part of an array's
  return (p.groups > 1 && columns / p.groups < kFewChannels) ||
         !is_small(windows, p.n, filter_size < kLimit && p.o < kLimit ? filter_size * p.o : kLimit);
}

template <class T>
bool packs_of(const T* data, int64_t ld, int64_t columns) {
  return ld % Pack<T>::N == 0 && columns % Pack<T>::N == 0 && aligned_for_packs(data);
}

}  // namespace sixloop::cuda
