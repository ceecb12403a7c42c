// How a convolution reads its input as a matrix without writing one: where the elements under a window lie.
#pragma once

#include <optional>
#include <vector>

#include "base/allocator.h"
#include "conv2d/conv2d.h"
#include "gemm/microkernel.h"

namespace sixloop {

// The row-major matrix [N * OH * OW, taps * run] of im2col(), by pointers: at(pixel, tap) has `run` dense elements.
//
// Normally a tap is one filter offset (kh, kw) with the group's channels as its run. With few channels a run
// would be a few elements long; there a tap is one filter row, whose kw * c elements are dense in a padded copy
// of the input. Both orders of steps are (kh, kw, channel): the bits are the same.
enum class WindowTaps { automatic, offsets, rows };

// Whether WindowTaps::automatic takes filter rows: by shape alone.
constexpr int64_t kFewChannels = 16;
bool reads_filter_rows(const Conv2dParams& p);

template <class T>
class Windows {
 public:
  // WindowTaps::offsets: a tap is a filter offset in any case. WindowTaps::rows: a filter row, for one group without
  // dilation along rows.
  Windows(const T* x, const Conv2dParams& p, int64_t group, WindowTaps kind = WindowTaps::automatic);

  // Elements of the padded copy, or of the zeros, that it holds.
  static int64_t storage_size(const Conv2dParams& p, WindowTaps kind = WindowTaps::automatic);

  int64_t taps() const { return taps_; }
  int64_t run() const { return run_; }

  // Whether taps are filter rows. Then row(n, oh) is where the window of the first output pixel of a row begins; the
  // next pixel's is stride_w * c elements further, and the next tap's dilation_h * row_length().
  bool filter_rows() const { return rows_; }
  const T* row(int64_t n, int64_t oh) const { return x_ + (n * h_ + oh * p_.window.stride_h) * row_length(); }
  int64_t row_length() const { return w_ * p_.c; }

  // For the i-th of pixels [first, first + count): the pointer to tap t goes to a[(i / mr * taps + t) * mr + i % mr].
  void pointers(int64_t first, int64_t count, int64_t mr, const T** a) const;
  // For the i-th of pixels [first, first + count): its pointer to one tap goes to a[i].
  void tap_pointers(int64_t first, int64_t count, int64_t tap, const T** a) const;
  // Copies elements [offset, offset + length) of one tap of pixels [first, first + count) to rows of `out`, ld apart.
  void copy(int64_t first, int64_t count, int64_t tap, int64_t offset, int64_t length, T* out, int64_t ld) const;
  // Copies elements [row, row + rows) under the windows of pixels [first, first + count), a row of the matrix being a
  // pixel, to panels of mr elements, as pack_columns() of gemm/loops.h has them.
  void pack(GemmPack::Fn<T>* kernel, int64_t first, int64_t count, int64_t row, int64_t rows, int64_t mr,
            int64_t panel_size, T* panels) const;

 private:
  // Calls f(pointer, step, count) for the stretches of pixels whose pointers to a tap lie a fixed step apart.
  template <class F>
  void for_stretches(int64_t first, int64_t count, int64_t tap, F&& f) const;

  const Conv2dParams& p_;
  const T* x_;
  int64_t h_, w_;       // of the array that x_ points to
  int64_t top_, left_;  // padding that is not part of that array
  int64_t taps_, run_;
  bool rows_;  // a tap is a filter row
  std::vector<int64_t> tap_h_, tap_w_;
  std::optional<Buffer<T>> storage_;  // the padded copy, or the run of zeros that padding points to
};

}  // namespace sixloop
