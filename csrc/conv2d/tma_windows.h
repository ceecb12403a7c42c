// Windows of convolutions that Hopper's copy engine brings, for the main loop of gemm/tma_product.h. k is (tap, 64
// channels), so that a stage is 64 channels under one tap: the last ones of a tap are zeros, which are products, too.
#pragma once

#include "conv2d/mma_windows.h"
#include "conv2d/tma_plan.h"
#include "gemm/tma_product.h"

namespace sixloop::cuda {

// The pixels of an im2col tensor map, and its taps.
struct TmaAxis {
  Index pixels, lower, step, first, tap;
};

// kTurnedFilters: filters are [taps, n, channels], as the input gradient has them; else [taps, channels, n].
template <bool kTurnedFilters>
struct TmaWindows {
  static constexpr bool kTurnedA = true, kTurnedB = kTurnedFilters;
  CUtensorMap images, filters;
  TmaAxis down, right;
  Index taps_w, run;
  Index filter, filter_i, filter_j;  // tap (i, j) has the filter number filter + i * filter_i + j * filter_j

  template <class Shape>
  struct Loader {
    const TmaWindows& windows;
    Place pixel;
    int column;
    Place step = {};  // (i, j, channel)

    __device__ __forceinline__ Loader(const TmaWindows& operands, const ProductTile& at)
        : windows(operands),
          pixel(place_of(static_cast<uint32_t>(at.row), operands.down.pixels, operands.right.pixels)),
          column(static_cast<int>(at.column)) {}
    __device__ __forceinline__ void load(BFloat16* stage, uint64_t* barrier) {
      const TmaAxis& down = windows.down;
      const TmaAxis& right = windows.right;
      ptx::tma_load_im2col(
          stage, &windows.images, barrier,
          {step.low, right.lower + pixel.low * right.step, down.lower + pixel.middle * down.step, pixel.high},
          right.first + step.middle * right.tap, down.first + step.high * down.tap);
      const Index filter = windows.filter + step.high * windows.filter_i + step.middle * windows.filter_j;
      tma_load_operand<Shape::BN, kTurnedB>(stage + Shape::BM * Shape::BK, &windows.filters, barrier, column, step.low,
                                            filter);
      step.low += Shape::BK;
      if (step.low < windows.run) return;
      step.low = 0;
      if (++step.middle < windows.taps_w) return;
      step.middle = 0;
      ++step.high;
    }
  };
  __device__ __forceinline__ void prefetch() const {
    ptx::tma_prefetch(&images);
    ptx::tma_prefetch(&filters);
  }
};

// Filters of the taps of windows: data + number * size are those of a tap, whose number is as in TmaWindows.
struct TmaFilters {
  const BFloat16* data;
  int64_t size;
  int64_t first, step_i, step_j;
};

// C of the sizes g, with the k of the convolution, where the copy engine is to bring its windows: false, and nothing
// done, where it is not. One group.
template <bool kTurnedFilters, class Rows>
bool tma_windows(const ProductSizes& g, WgmmaTile tile, const Windows<BFloat16>& x, const TmaFilters& w,
                 const MmaSink<Rows>& sink);

}  // namespace sixloop::cuda
