// The geometry that convolution and pooling share: one place resolves padding, one function computes the
// output size.
#pragma once

#include <cstdint>

namespace sixloop {

// A window that slides over the height and width of an image. Output row i covers the input rows
// i * stride_h - pad_top + dilation_h * (0 ... kh - 1), columns alike.
struct Window {
  int64_t kh = 1, kw = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
};

struct Extent {
  int64_t h, w;
};

// Largest size, stride, dilation or padding of one axis. No sum or product of two of them overflows.
constexpr int64_t kMaxExtent = (int64_t{1} << 31) - 1;

// Throws unless 1 <= kernel, stride, dilation <= kMaxExtent and 0 <= padding <= kMaxExtent.
void check_window(const char* op, const Window& window);

// floor((n + before + after - dilation * (k - 1) - 1) / stride) + 1, which is at least 1. `axis` is "height" or
// "width". The arguments are those of a checked window. Throws unless 1 <= n <= kMaxExtent, and, with this
// arithmetic in the message, where the window does not fit.
int64_t output_size(const char* op, const char* axis, int64_t n, int64_t k, int64_t stride, int64_t dilation,
                    int64_t before, int64_t after);

// check_window(), then the output size of both axes.
Extent output_extent(const char* op, const Window& window, int64_t h, int64_t w);

// Sets the paddings of a checked window by TensorFlow's rule "same": ceil(n / stride) outputs, with the
// smallest sum of paddings that gives them; an odd one has its larger half after the input.
void pad_same(const char* op, Window& window, int64_t h, int64_t w);

}  // namespace sixloop
