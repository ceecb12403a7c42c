#include "conv2d/geometry.h"

#include <algorithm>
#include <cstring>

#include "base/thread_pool.h"

namespace sixloop {
namespace {

// x with its padding written out: [n, h + top + bottom, w + left + right, c].
template <class T>
void copy_padded(const T* x, const Conv2dParams& p, T* out) {
  const Window& win = p.window;
  const int64_t h = p.h + win.pad_top + win.pad_bottom;
  const int64_t row = (p.w + win.pad_left + win.pad_right) * p.c;
  const int64_t left = win.pad_left * p.c;
  const int64_t right = win.pad_right * p.c;
  const int64_t middle = p.w * p.c;
  parallel_ranges(p.n * h, std::max<int64_t>(1, 16384 / std::max<int64_t>(row, 1)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      T* to = out + r * row;
      const int64_t y = r % h - win.pad_top;
      if (y < 0 || y >= p.h) {
        std::fill(to, to + row, T{0});
        continue;
      }
      std::fill(to, to + left, T{0});
      std::memcpy(to + left, x + (r / h * p.h + y) * middle, static_cast<size_t>(middle) * sizeof(T));
      std::fill(to + left + middle, to + left + middle + right, T{0});
    }
  });
}

}  // namespace

template <class T>
Windows<T>::Windows(const T* x, const Conv2dParams& p, int64_t group, WindowTaps kind)
    : p_(p), x_(x), h_(p.h), w_(p.w), top_(p.window.pad_top), left_(p.window.pad_left) {
  const Window& win = p.window;
  const int64_t channels = p.c / p.groups;
  rows_ = kind == WindowTaps::automatic && p.groups == 1 && win.dilation_w == 1 && win.kw > 1 && p.c < kFewChannels;
  if (rows_) {
    taps_ = win.kh;
    run_ = win.kw * p.c;
    if (win.pad_top + win.pad_bottom + win.pad_left + win.pad_right > 0) {
      h_ = p.h + win.pad_top + win.pad_bottom;
      w_ = p.w + win.pad_left + win.pad_right;
      storage_.emplace(Shape{p.n, h_, w_, p.c}.size());
      copy_padded(x, p, storage_->get());
      x_ = storage_->get();
      top_ = left_ = 0;
    }
  } else {
    taps_ = win.kh * win.kw;
    run_ = channels;
    x_ += group * channels;
    storage_.emplace(std::max<int64_t>(run_, 1));
    std::fill(storage_->get(), storage_->get() + run_, T{0});
  }
  for (int64_t tap = 0; tap < taps_; ++tap) {
    tap_h_.push_back((rows_ ? tap : tap / win.kw) * win.dilation_h - top_);
    tap_w_.push_back((rows_ ? 0 : tap % win.kw * win.dilation_w) - left_);
  }
}

template <class T>
Windows<T>::Cursor::Cursor(const Windows& windows, int64_t pixel)
    : s_(windows),
      n_(pixel / (windows.p_.oh * windows.p_.ow)),
      oh_(pixel / windows.p_.ow % windows.p_.oh),
      ow_(pixel % windows.p_.ow) {}

template <class T>
const T* Windows<T>::Cursor::at(int64_t tap) const {
  const int64_t y = oh_ * s_.p_.window.stride_h + s_.tap_h_[static_cast<size_t>(tap)];
  const int64_t x = ow_ * s_.p_.window.stride_w + s_.tap_w_[static_cast<size_t>(tap)];
  if (!s_.rows_ && (y < 0 || y >= s_.h_ || x < 0 || x >= s_.w_)) return s_.storage_->get();
  return s_.x_ + ((n_ * s_.h_ + y) * s_.w_ + x) * s_.p_.c;
}

template <class T>
void Windows<T>::Cursor::next() {
  if (++ow_ < s_.p_.ow) return;
  ow_ = 0;
  if (++oh_ < s_.p_.oh) return;
  oh_ = 0;
  ++n_;
}

template class Windows<float>;
template class Windows<double>;

}  // namespace sixloop
