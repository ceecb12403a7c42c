#include "elementwise/movement.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <new>

#include "base/allocator.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "base/transpose.h"
#include "base/validate.h"
#include "elementwise/simt.h"

namespace sixloop {
namespace {

// Bytes below which a second thread costs more than it saves.
constexpr int64_t kGrainBytes = 1 << 17;

// Copies `rows` rows of `bytes` bytes that lie `from_step` and `to_step` bytes apart.
void copy_rows(Device device, const char* from, int64_t from_step, char* to, int64_t to_step, int64_t rows,
               int64_t bytes) {
  if (rows == 0 || bytes == 0) return;
#if defined(SIXLOOP_HAS_CUDA)
  if (device == Device::cuda) return cuda::copy_rows(from, to, {1, rows, bytes, from_step, 0, to_step, 0});
#else
  (void)device;
#endif
  parallel_ranges(rows, std::max<int64_t>(1, kGrainBytes / bytes), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::memcpy(to + r * to_step, from + r * from_step, static_cast<size_t>(bytes));
    }
  });
}

// Copies an array, in pieces as large as tasks have them.
void copy_pieces(const char* from, char* to, int64_t bytes) {
  parallel_ranges(bytes, kGrainBytes, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  });
}

// An array seen from one of its axes: outer rows of extent * inner bytes.
struct AxisView {
  int64_t outer = 1;
  int64_t inner;  // bytes of one step along the axis

  AxisView(const Tensor& x, int axis) : inner(static_cast<int64_t>(size_of(x.dtype()))) {
    for (int i = 0; i < axis; ++i) outer *= x.shape()[i];
    for (int i = axis + 1; i < x.shape().rank(); ++i) inner *= x.shape()[i];
  }
};

char* bytes_of(const Tensor& x) { return static_cast<char*>(x.raw()); }

// Where the inside of a bordered [N, H, W, C] array lies, and what it leaves of it.
struct Inside {
  int64_t images, rows;          // rows of an image without its border
  int64_t bytes;                 // of such a row
  int64_t row_step, image_step;  // in the bordered array, bytes
  int64_t offset;                // of the first byte

  Inside(const Shape& bordered, const Shape& inner, const Window& border, DType dtype)
      : images(inner[0]), rows(inner[1]) {
    const int64_t cell = inner[3] * static_cast<int64_t>(size_of(dtype));
    bytes = inner[2] * cell;
    row_step = bordered[2] * cell;
    image_step = bordered[1] * row_step;
    offset = border.pad_top * row_step + border.pad_left * cell;
  }

  // Calls f(offset in the bordered array, offset in the dense one) for each row.
  template <class F>
  void for_each_row(const F& f) const {
    if (images == 0 || rows == 0 || bytes == 0) return;
    parallel_ranges(images * rows, std::max<int64_t>(1, kGrainBytes / bytes), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) f(offset + i / rows * image_step + i % rows * row_step, i * bytes);
    });
  }
};

// The matrices [rows, columns] of x transposed.
Tensor transposed(const Tensor& x, int64_t rows, int64_t columns, const Shape& shape) {
  Tensor y = Tensor::empty(shape, x.dtype(), x.device());
  const int64_t images = shape[0];
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    cuda::transpose(x, images, rows, columns, y);
    return y;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    parallel_for(images, [&](int64_t n) {
      const int64_t at = n * rows * columns;
      transpose(x.data<T>() + at, columns, rows, columns, y.data<T>() + at, rows);
    });
  });
  return y;
}

}  // namespace

Tensor concat(const std::vector<Tensor>& arrays, int64_t axis) {
  if (arrays.empty()) value_error("[concat] arrays must not be empty");
  const Tensor& first = arrays[0];
  check_floating_or_bfloat16("concat", "arrays[0]", first);
  check_min_rank("concat", "arrays[0]", first, 1);
  const int along = check_axis("concat", axis, first.shape().rank());
  Shape shape = first.shape();
  for (size_t i = 1; i < arrays.size(); ++i) {
    const std::string name = message("arrays[", i, "]");
    check_same_dtype("concat", "arrays[0]", first, name.c_str(), arrays[i]);
    Shape expected = arrays[i].shape();
    if (expected.rank() == shape.rank()) expected[along] = first.shape()[along];
    if (expected != first.shape()) {
      value_error("[concat] arrays must agree in all axes but ", along, "; got arrays[0] of shape ", first.shape(),
                  " and ", name, " of shape ", arrays[i].shape());
    }
    if (arrays[i].shape()[along] > std::numeric_limits<int64_t>::max() - shape[along]) throw std::bad_alloc();
    shape[along] += arrays[i].shape()[along];
  }
  Tensor y = Tensor::empty(shape, first.dtype(), first.device());
  const AxisView view(y, along);
  const int64_t step = shape[along] * view.inner;
  int64_t offset = 0;
  for (const Tensor& part : arrays) {
    const int64_t bytes = part.shape()[along] * view.inner;
    copy_rows(part.device(), bytes_of(part), bytes, bytes_of(y) + offset, step, view.outer, bytes);
    offset += bytes;
  }
  return y;
}

std::vector<Tensor> split(const Tensor& x, const std::vector<int64_t>& sizes, int64_t axis) {
  check_floating_or_bfloat16("split", "x", x);
  check_min_rank("split", "x", x, 1);
  const int along = check_axis("split", axis, x.shape().rank());
  const int64_t extent = x.shape()[along];
  int64_t left = extent;
  bool fits = true;
  for (const int64_t size : sizes) {
    fits = fits && size >= 0 && size <= left;
    if (fits) left -= size;
  }
  if (!fits || left != 0) {
    std::string list;
    for (const int64_t size : sizes) list += (list.empty() ? "" : ", ") + std::to_string(size);
    value_error("[split] sizes must not be negative and must add up to ", extent, ", the extent of axis ", along,
                "; got [", list, "] for x of shape ", x.shape());
  }
  const AxisView view(x, along);
  const int64_t step = extent * view.inner;
  int64_t offset = 0;
  std::vector<Tensor> parts;
  for (const int64_t size : sizes) {
    Shape shape = x.shape();
    shape[along] = size;
    parts.push_back(Tensor::empty(shape, x.dtype(), x.device()));
    const int64_t bytes = size * view.inner;
    copy_rows(x.device(), bytes_of(x) + offset, step, bytes_of(parts.back()), bytes, view.outer, bytes);
    offset += bytes;
  }
  return parts;
}

Tensor zero_pad2d(const Tensor& x, const Window& border) {
  check_rank("zero_pad2d", "x", x, 4, "[N, H, W, C]");
  check_floating_or_bfloat16("zero_pad2d", "x", x);
  const Shape& in = x.shape();
  const Shape out{in[0], in[1] + border.pad_top + border.pad_bottom, in[2] + border.pad_left + border.pad_right, in[3]};
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    Tensor y = Tensor::empty(out, x.dtype(), Device::cuda);
    cuda::zero_pad2d(x, border, y);
    return y;
  }
#endif
  Tensor y = Tensor::zeros(out, x.dtype());
  const Inside inside(out, in, border, x.dtype());
  inside.for_each_row([&](int64_t bordered, int64_t dense) {
    std::memcpy(bytes_of(y) + bordered, bytes_of(x) + dense, static_cast<size_t>(inside.bytes));
  });
  return y;
}

Tensor crop2d(const Tensor& x, const Window& border) {
  check_rank("crop2d", "x", x, 4, "[N, H, W, C]");
  check_floating_or_bfloat16("crop2d", "x", x);
  const Shape& in = x.shape();
  const int64_t rows = border.pad_top + border.pad_bottom;
  const int64_t columns = border.pad_left + border.pad_right;
  if (rows > in[1] || columns > in[2]) {
    value_error("[crop2d] the border must fit into the image; got ", border.pad_top, " + ", border.pad_bottom,
                " rows and ", border.pad_left, " + ", border.pad_right, " columns for x of shape ", in);
  }
  const Shape out{in[0], in[1] - rows, in[2] - columns, in[3]};
  Tensor y = Tensor::empty(out, x.dtype(), x.device());
  const Inside inside(in, out, border, x.dtype());
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    cuda::copy_rows(bytes_of(x) + inside.offset, y.raw(),
                    {inside.images, inside.rows, inside.bytes, inside.row_step, inside.image_step, inside.bytes,
                     inside.rows * inside.bytes});
    return y;
  }
#endif
  inside.for_each_row([&](int64_t bordered, int64_t dense) {
    std::memcpy(bytes_of(y) + dense, bytes_of(x) + bordered, static_cast<size_t>(inside.bytes));
  });
  return y;
}

Tensor from_nchw(const Tensor& x) {
  check_rank("from_nchw", "array", x, 4, "[N, C, H, W]");
  check_floating_or_bfloat16("from_nchw", "array", x);
  const Shape& in = x.shape();
  return transposed(x, in[1], in[2] * in[3], {in[0], in[2], in[3], in[1]});
}

Tensor to_nchw(const Tensor& x) {
  check_rank("to_nchw", "array", x, 4, "[N, H, W, C]");
  check_floating_or_bfloat16("to_nchw", "array", x);
  const Shape& in = x.shape();
  return transposed(x, in[1] * in[2], in[3], {in[0], in[3], in[1], in[2]});
}

double measure_copy_bandwidth(int64_t bytes) {
  // Long enough for the clock, and often enough to meet a moment without neighbours.
  constexpr double kLeastSeconds = 2e-4;
  constexpr int kRuns = 5;
  constexpr int64_t kLeastBytes = 1 << 12;
  const int64_t half = std::max(bytes, kLeastBytes) / 2;
  Buffer<char> from(half);
  Buffer<char> to(half);
  std::memset(from.get(), 1, static_cast<size_t>(half));  // pages that nobody wrote are all the same one
  const auto run = [&] { copy_pieces(from.get(), to.get(), half); };
  run();
  double best = 0;
  int64_t rounds = 1;
  for (int i = 0; i < kRuns;) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t round = 0; round < rounds; ++round) run();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    if (seconds.count() < kLeastSeconds) {
      rounds *= 2;
      continue;
    }
    best = std::max(best, 2.0 * static_cast<double>(half * rounds) / seconds.count());
    ++i;
  }
  return best;
}

}  // namespace sixloop
