#include "base/window.h"

#include "base/error.h"

namespace sixloop {
namespace {

void check_range(const char* op, const char* what, int64_t lowest, int64_t h, int64_t w) {
  if (h < lowest || h > kMaxExtent || w < lowest || w > kMaxExtent) {
    value_error("[", op, "] ", what, " must be from ", lowest, " to ", kMaxExtent, "; got (", h, ", ", w, ")");
  }
}

void check_input(const char* op, const char* axis, int64_t n) {
  if (n < 1 || n > kMaxExtent) {
    value_error("[", op, "] input ", axis, " must be from 1 to ", kMaxExtent, "; got ", n);
  }
}

void same_padding(int64_t n, int64_t k, int64_t stride, int64_t dilation, int64_t& before, int64_t& after) {
  const int64_t outputs = (n + stride - 1) / stride;
  const int64_t needed = (outputs - 1) * stride + dilation * (k - 1) + 1;
  const int64_t total = needed > n ? needed - n : 0;
  before = total / 2;
  after = total - before;
}

}  // namespace

void check_window(const char* op, const Window& window) {
  check_range(op, "window size (h, w)", 1, window.kh, window.kw);
  check_range(op, "strides (h, w)", 1, window.stride_h, window.stride_w);
  check_range(op, "dilation (h, w)", 1, window.dilation_h, window.dilation_w);
  check_range(op, "padding (top, bottom)", 0, window.pad_top, window.pad_bottom);
  check_range(op, "padding (left, right)", 0, window.pad_left, window.pad_right);
}

int64_t output_size(const char* op, const char* axis, int64_t n, int64_t k, int64_t stride, int64_t dilation,
                    int64_t before, int64_t after) {
  check_input(op, axis, n);
  const int64_t reach = dilation * (k - 1) + 1;
  const int64_t room = n + before + after - reach;
  if (room < 0) {
    value_error("[", op, "] a window of ", axis, " ", k, " with dilation ", dilation, " covers ", dilation, "*(", k,
                " - 1) + 1 = ", reach, " cells, but input and padding have ", n, " + ", before, " + ", after, " = ",
                reach + room, ": the output ", axis, " floor((", n, " + ", before, " + ", after, " - ", dilation, "*(",
                k, " - 1) - 1)/", stride, ") + 1 would be less than 1; ", -room, " more cells of padding would fit it");
  }
  return room / stride + 1;
}

Extent output_extent(const char* op, const Window& window, int64_t h, int64_t w) {
  check_window(op, window);
  return {
      output_size(op, "height", h, window.kh, window.stride_h, window.dilation_h, window.pad_top, window.pad_bottom),
      output_size(op, "width", w, window.kw, window.stride_w, window.dilation_w, window.pad_left, window.pad_right)};
}

void pad_same(const char* op, Window& window, int64_t h, int64_t w) {
  check_input(op, "height", h);
  check_input(op, "width", w);
  same_padding(h, window.kh, window.stride_h, window.dilation_h, window.pad_top, window.pad_bottom);
  same_padding(w, window.kw, window.stride_w, window.dilation_w, window.pad_left, window.pad_right);
}

}  // namespace sixloop
