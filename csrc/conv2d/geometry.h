// How a convolution reads its input as a matrix without writing one: where the elements under a window lie.
#pragma once

#include <optional>
#include <vector>

#include "base/allocator.h"
#include "conv2d/conv2d.h"

namespace sixloop {

// The row-major matrix [N * OH * OW, taps * run] of im2col(), by pointers: at(pixel, tap) has `run` dense elements.
//
// Normally a tap is one filter offset (kh, kw) with the group's channels as its run. With few channels a run
// would be a few elements long; there a tap is one filter row, whose kw * c elements are dense in a padded copy
// of the input. Both orders of steps are (kh, kw, channel): the bits are the same.
enum class WindowTaps { automatic, offsets };

template <class T>
class Windows {
 public:
  // WindowTaps::offsets: a tap is a filter offset in any case.
  Windows(const T* x, const Conv2dParams& p, int64_t group, WindowTaps kind = WindowTaps::automatic);

  int64_t taps() const { return taps_; }
  int64_t run() const { return run_; }

  // Iterates over output pixels in ascending order.
  class Cursor {
   public:
    Cursor(const Windows& windows, int64_t pixel);
    const T* at(int64_t tap) const;
    void next();

   private:
    const Windows& s_;
    int64_t n_, oh_, ow_;
  };

 private:
  static constexpr int64_t kFewChannels = 16;

  const Conv2dParams& p_;
  const T* x_;
  int64_t h_, w_;            // of the array that x_ points to
  int64_t top_, left_;       // padding that is not part of that array
  int64_t taps_, run_;
  bool rows_;                // a tap is a filter row
  std::vector<int64_t> tap_h_, tap_w_;
  std::optional<Buffer<T>> storage_;  // the padded copy, or the run of zeros that padding points to
};

}  // namespace sixloop
