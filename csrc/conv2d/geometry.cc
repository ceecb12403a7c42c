#include "conv2d/geometry.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

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

bool reads_filter_rows(const Conv2dParams& p) {
  return p.groups == 1 && p.window.dilation_w == 1 && p.window.kw > 1 && p.c <= kFewChannels;
}

template <class T>
Windows<T>::Windows(const T* x, const Conv2dParams& p, int64_t group, WindowTaps kind)
    : p_(p), x_(x), h_(p.h), w_(p.w), top_(p.window.pad_top), left_(p.window.pad_left) {
  const Window& win = p.window;
  const int64_t channels = p.c / p.groups;
  rows_ = kind == WindowTaps::rows || (kind == WindowTaps::automatic && reads_filter_rows(p));
  if (rows_) {
    taps_ = win.kh;
    run_ = win.kw * p.c;
    if (win.pad_top + win.pad_bottom + win.pad_left + win.pad_right > 0) {
      h_ = p.h + win.pad_top + win.pad_bottom;
      w_ = p.w + win.pad_left + win.pad_right;
      storage_.emplace(storage_size(p, kind));
      copy_padded(x, p, storage_->get());
      x_ = storage_->get();
      top_ = left_ = 0;
    }
  } else {
    taps_ = win.kh * win.kw;
    run_ = channels;
    x_ += group * channels;
    storage_.emplace(storage_size(p, kind));
    std::fill(storage_->get(), storage_->get() + run_, T{0});
  }
  for (int64_t tap = 0; tap < taps_; ++tap) {
    tap_h_.push_back((rows_ ? tap : tap / win.kw) * win.dilation_h - top_);
    tap_w_.push_back((rows_ ? 0 : tap % win.kw * win.dilation_w) - left_);
  }
}

template <class T>
int64_t Windows<T>::storage_size(const Conv2dParams& p, WindowTaps kind) {
  const Window& win = p.window;
  if (kind == WindowTaps::offsets || (kind == WindowTaps::automatic && !reads_filter_rows(p)))
    return std::max<int64_t>(p.c / p.groups, 1);
  if (win.pad_top + win.pad_bottom + win.pad_left + win.pad_right == 0) return 0;
  return Shape{p.n, p.h + win.pad_top + win.pad_bottom, p.w + win.pad_left + win.pad_right, p.c}.size();
}

template <class T>
template <class F>
void Windows<T>::for_stretches(int64_t first, int64_t count, int64_t tap, F&& f) const {
  const Window& win = p_.window;
  const int64_t shift_h = tap_h_[static_cast<size_t>(tap)];
  const int64_t shift_w = tap_w_[static_cast<size_t>(tap)];
  // Output columns [inside_begin, inside_end) read columns [0, w) of the array; all of them in a padded copy.
  int64_t inside_begin = 0;
  int64_t inside_end = p_.ow;
  if (!rows_) {
    if (shift_w < 0) inside_begin = std::min(p_.ow, (-shift_w + win.stride_w - 1) / win.stride_w);
    const int64_t room = w_ - 1 - shift_w;
    inside_end = room < 0 ? 0 : std::min(p_.ow, room / win.stride_w + 1);
    inside_end = std::max(inside_begin, inside_end);
  }
  int64_t ow = first % p_.ow;
  int64_t oh = first / p_.ow % p_.oh;
  int64_t n = first / (p_.ow * p_.oh);
  while (count > 0) {
    const int64_t end = std::min(p_.ow, ow + count);
    const int64_t y = oh * win.stride_h + shift_h;
    const bool row_inside = rows_ || (y >= 0 && y < h_);
    const int64_t begin_inside = row_inside ? std::clamp(inside_begin, ow, end) : end;
    const int64_t end_inside = row_inside ? std::clamp(inside_end, begin_inside, end) : end;
    if (begin_inside > ow) f(static_cast<const T*>(storage_->get()), int64_t{0}, begin_inside - ow);
    if (end_inside > begin_inside) {
      f(x_ + ((n * h_ + y) * w_ + begin_inside * win.stride_w + shift_w) * p_.c, win.stride_w * p_.c,
        end_inside - begin_inside);
    }
    if (end > end_inside) f(static_cast<const T*>(storage_->get()), int64_t{0}, end - end_inside);
    count -= end - ow;
    ow = 0;
    if (++oh == p_.oh) {
      oh = 0;
      ++n;
    }
  }
}

template <class T>
void Windows<T>::pointers(int64_t first, int64_t count, int64_t mr, const T** a) const {
  for (int64_t tap = 0; tap < taps_; ++tap) {
    const T** out = a + tap * mr;
    int64_t lane = 0;
    for_stretches(first, count, tap, [&](const T* pointer, int64_t step, int64_t length) {
      while (length > 0) {
        const int64_t stop = std::min(mr, lane + length);
        length -= stop - lane;
        for (; lane < stop; ++lane, pointer += step) out[lane] = pointer;
        if (lane == mr) {
          lane = 0;
          out += taps_ * mr;
        }
      }
    });
  }
}

template <class T>
void Windows<T>::tap_pointers(int64_t first, int64_t count, int64_t tap, const T** a) const {
  for_stretches(first, count, tap, [&](const T* pointer, int64_t step, int64_t length) {
    for (int64_t i = 0; i < length; ++i) *a++ = pointer + i * step;
  });
}

namespace {

// The usual tiles have a constant length: their copies are a few vector moves.
template <class T, int64_t kLength>
struct CopyRows {
  static void run(const T* in, int64_t step, int64_t count, int64_t length, T* out, int64_t ld) {
    for (int64_t i = 0; i < count; ++i, in += step, out += ld) {
      if constexpr (kLength > 0) {
        std::memcpy(out, in, kLength * sizeof(T));
      } else {
        for (int64_t j = 0; j < length; ++j) out[j] = in[j];
      }
    }
  }
};

constexpr int64_t kLongestConstant = 16;

// Element i copies rows of i elements, element 0 rows of any length.
template <class T, int64_t... kLengths>
constexpr auto copy_rows(std::integer_sequence<int64_t, kLengths...>) {
  return std::array{&CopyRows<T, kLengths>::run...};
}

}  // namespace

template <class T>
void Windows<T>::copy(int64_t first, int64_t count, int64_t tap, int64_t offset, int64_t length, T* out,
                      int64_t ld) const {
  constexpr auto kRuns = copy_rows<T>(std::make_integer_sequence<int64_t, kLongestConstant + 1>{});
  const auto run = length <= kLongestConstant ? kRuns[static_cast<size_t>(length)] : kRuns[0];
  for_stretches(first, count, tap, [&](const T* pointer, int64_t step, int64_t pixels) {
    run(pointer + offset, step, pixels, length, out, ld);
    out += pixels * ld;
  });
}

template <class T>
void Windows<T>::pack(GemmPack::Fn<T>* kernel, int64_t first, int64_t count, int64_t row, int64_t rows, int64_t mr,
                      int64_t panel_size, T* panels) const {
  const auto at = [&](int64_t i) { return panels + i / mr * panel_size + i % mr; };  // element i of the first pixel
  for (int64_t done = 0; done < rows;) {                                             // the part that lies in one tap
    const int64_t offset = (row + done) % run_;
    const int64_t length = std::min(rows - done, run_ - offset);
    // Its end of a panel that the tap before began, whole panels, the begin of the next one.
    const int64_t head = std::min(length, (mr - done % mr) % mr);
    const int64_t whole = (length - head) / mr * mr;
    const int64_t tail = length - head - whole;
    T* to_head = at(done);
    T* to_whole = at(done + head);
    T* to_tail = at(done + head + whole);
    for_stretches(first, count, (row + done) / run_, [&](const T* pointer, int64_t step, int64_t pixels) {
      pointer += offset;
      if (whole > 0) kernel({pointer + head, step, pixels, whole / mr, mr, to_whole, mr, panel_size});
      to_whole += pixels * mr;
      for (int64_t i = 0; head + tail > 0 && i < pixels; ++i, pointer += step) {
        for (int64_t j = 0; j < head; ++j) to_head[j] = pointer[j];
        for (int64_t j = 0; j < tail; ++j) to_tail[j] = pointer[head + whole + j];
        to_head += mr;
        to_tail += mr;
      }
    });
    done += length;
  }
  if (const int64_t live = rows % mr; live > 0) {
    T* rest = at(rows);
    for (int64_t i = 0; i < count; ++i) std::fill(rest + i * mr, rest + i * mr + mr - live, T{0});
  }
}

template class Windows<float>;
template class Windows<double>;

}  // namespace sixloop
