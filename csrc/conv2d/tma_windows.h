// Windows of convolutions that Hopper's copy engine brings, for the main loop of gemm/tma_product.h, 64 channels under
// one tap at a time: the last ones of a tap are zeros, which are products, too.
#pragma once

#include "conv2d/mma_windows.h"
#include "conv2d/tma_plan.h"
#include "gemm/tma_product.h"

namespace sixloop::cuda {

// The pixels of an im2col tensor map, and its taps.
struct TmaAxis {
  Index pixels, lower, step, first, tap;
};

// Of the forward pass and of the input gradient: k is (tap, 64 channels). kTurnedFilters: filters are [taps, n,
// channels], as the input gradient has them; else [taps, channels, n].
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
  __device__ __forceinline__ static RowRange rows(int64_t row, int64_t m) { return {row, m}; }
};

// Of the weight gradient: a row of A is (tap, 64 channels), of which those beyond `run`, zeros or another group's, are
// no rows of C. k is a pixel.
struct TmaWindowColumns {
  static constexpr bool kTurnedA = false, kTurnedB = false;
  static constexpr int kBox = 64;  // channels, and pixels
  CUtensorMap images, dy;
  TmaAxis down, right;
  Index taps_w, run;
  Index boxes, boxes_of_tap;
  Place step;  // from one load to the next

  template <class Shape>
  struct Loader {
    static constexpr int kBoxes = Shape::BM / kBox;
    const TmaWindowColumns& windows;
    const ProductTile& at;
    Place pixel;
    int k;
    int channel[kBoxes], to_right[kBoxes], to_down[kBoxes];

    __device__ __forceinline__ Loader(const TmaWindowColumns& operands, const ProductTile& tile)
        : windows(operands),
          at(tile),
          pixel(place_of(static_cast<uint32_t>(at.k_begin), operands.down.pixels, operands.right.pixels)),
          k(static_cast<int>(at.k_begin)) {
      static_assert(Shape::BK == kBox);
#pragma unroll
      for (int i = 0; i < kBoxes; ++i) {
        // Below the last box comes that one again: a stage is complete with the bytes of all its boxes.
        const Index below = static_cast<Index>(at.row / kBox) + i;
        const Place tap = place_of(static_cast<uint32_t>(below < windows.boxes ? below : windows.boxes - 1),
                                   windows.taps_w, windows.boxes_of_tap);
        channel[i] = static_cast<int>(at.batch) * windows.run + tap.low * kBox;
        to_right[i] = windows.right.first + tap.middle * windows.right.tap;
        to_down[i] = windows.down.first + tap.high * windows.down.tap;
      }
    }
    __device__ __forceinline__ void load(BFloat16* stage, uint64_t* barrier) {
      const TmaAxis& down = windows.down;
      const TmaAxis& right = windows.right;
#pragma unroll
      for (int i = 0; i < kBoxes; ++i) {
        ptx::tma_load_im2col(
            stage + i * Shape::kTile, &windows.images, barrier,
            {channel[i], right.lower + pixel.low * right.step, down.lower + pixel.middle * down.step, pixel.high},
            to_right[i], to_down[i]);
      }
      tma_load_operand<Shape::BN, kTurnedB>(stage + Shape::BM * Shape::BK, &windows.dy, barrier, at.column, k,
                                            at.batch);
      k += kBox;
      pixel.add(windows.step, down.pixels, right.pixels);
    }
  };
  __device__ __forceinline__ void prefetch() const {
    ptx::tma_prefetch(&images);
    ptx::tma_prefetch(&dy);
  }
  __device__ __forceinline__ RowRange rows(int64_t row, int64_t) const {
    const auto box = static_cast<Index>(row / kBox);
    const Index tap = box / boxes_of_tap, channels = box % boxes_of_tap * kBox + static_cast<Index>(row % kBox);
    const int64_t first = int64_t{tap} * run;
    return {first + channels, box < boxes ? first + run : 0};
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
// The same of the weight gradient of `images` images, of all groups and parts. dy: rows of `ld` elements.
bool tma_window_columns(const ProductSizes& g, WgmmaTile tile, const Windows<BFloat16>& x, const BFloat16* dy,
                        int64_t ld, int64_t images, const MmaSink<DenseRows>& sink);

}  // namespace sixloop::cuda
