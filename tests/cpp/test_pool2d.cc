#include "pool2d/pool2d.h"

#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "guarded.h"
#include "rows.h"

namespace sixloop {
namespace {

using check::check_same_bits;
using check::for_each_row;
using check::Guarded;
using check::values;

struct PoolCase {
  int64_t n, h, w;
  Window window;
};

Window window_of(int64_t kh, int64_t kw, int64_t sh, int64_t sw, int64_t top, int64_t bottom, int64_t left,
                 int64_t right) {
  Window window;
  window.kh = kh;
  window.kw = kw;
  window.stride_h = sh;
  window.stride_w = sw;
  window.pad_top = top;
  window.pad_bottom = bottom;
  window.pad_left = left;
  window.pad_right = right;
  return window;
}

const PoolCase kCases[] = {
    {1, 1, 1, window_of(1, 1, 1, 1, 0, 0, 0, 0)}, {2, 6, 4, window_of(2, 2, 2, 2, 0, 0, 0, 0)},
    {1, 7, 5, window_of(3, 2, 2, 1, 1, 2, 1, 0)}, {1, 5, 9, window_of(2, 3, 3, 4, 0, 1, 2, 2)},
    {2, 4, 3, window_of(4, 3, 1, 1, 0, 0, 0, 0)}, {1, 8, 8, window_of(3, 3, 1, 1, 1, 1, 1, 1)},
};
// Round one and two vectors of every ISA, and the small numbers of channels that have ways of their own.
constexpr int64_t kChannels[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33};

// Ties, zeros of both signs and NaN: all that decides which element is the maximum.
template <class T>
std::vector<T> image(int64_t n) {
  std::vector<T> x = values<T>(n, 7);
  for (size_t i = 0; i < x.size(); ++i) {
    if (i % 3 == 0) x[i] = 1;
    if (i % 7 == 0) x[i] = i % 2 == 0 ? T{0} : -T{0};
    if (i % 23 == 5) x[i] = std::numeric_limits<T>::quiet_NaN();
    if (i % 29 == 5) x[i] = -std::numeric_limits<T>::infinity();
  }
  return x;
}

template <class Kind>
void check_forward() {
  for_each_row<Kind>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Kind, T>(row);
    const auto scalar = select<Kind, T>(arch_of(Isa::scalar));
    for (const PoolCase& c : kCases) {
      const Extent out = output_extent("pool", c.window, c.h, c.w);
      for (int64_t channels : kChannels) {
        const int64_t size = c.n * out.h * out.w * channels;
        const Guarded<T> x(image<T>(c.n * c.h * c.w * channels));
        Guarded<T> y(size), expected(size);
        PoolArgs<T> args{x.get(), expected.get(), c.n, c.h, c.w, channels, out.h, out.w, c.window};
        scalar(args, 0, c.n * out.h);
        args.y = y.get();
        // In two parts, as two tasks would.
        kernel(args, 0, 1);
        kernel(args, 1, c.n * out.h);
        check_same_bits(row.name, y.get(), expected.get(), size);
      }
    }
  });
}

template <class Kind>
void check_gradient() {
  for_each_row<Kind>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Kind, T>(row);
    const auto scalar = select<Kind, T>(arch_of(Isa::scalar));
    for (const PoolCase& c : kCases) {
      const Extent out = output_extent("pool", c.window, c.h, c.w);
      for (int64_t channels : kChannels) {
        const int64_t size = c.n * c.h * c.w * channels;
        const Guarded<T> x(image<T>(size)), dy(values<T>(c.n * out.h * out.w * channels, 8));
        for (int64_t block : {c.window.stride_h, c.h}) {
          if (block > c.h) continue;
          const int64_t units = (c.h + block - 1) / block;
          Guarded<T> dx(size), expected(size), scratch(out.h * out.w * channels + 16);
          PoolGradArgs<T> args{dy.get(), x.get(), expected.get(), c.n,      c.h,   c.w,
                               channels, out.h,   out.w,          c.window, block, units};
          scalar(args, 0, c.n * units, scratch.get());
          args.dx = dx.get();
          kernel(args, 0, 1, scratch.get());
          kernel(args, 1, c.n * units, scratch.get());
          check_same_bits(row.name, dx.get(), expected.get(), size);
          if constexpr (std::is_same_v<Kind, MaxPool2dGrad>) {
            Guarded<T> y(out.h * out.w * c.n * channels), from_indices(size);
            Guarded<uint8_t> numbers(out.h * out.w * c.n * channels);
            PoolArgs<T> forward{x.get(), y.get(), c.n, c.h, c.w, channels, out.h, out.w, c.window, numbers.get()};
            select<MaxPool2dIndices, T>(arch_of(Isa::scalar))(forward, 0, c.n * out.h);
            args.x = nullptr;
            args.indices = numbers.get();
            args.dx = from_indices.get();
            kernel(args, 0, 1, nullptr);
            kernel(args, 1, c.n * units, nullptr);
            check_same_bits(row.name, from_indices.get(), expected.get(), size);
          }
        }
      }
    }
  });
}

// y as MaxPool2d's; numbers as scalar's, written neither before nor after their part.
TEST(max_pool2d_indices) {
  for_each_row<MaxPool2dIndices>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<MaxPool2dIndices, T>(row);
    const auto scalar = select<MaxPool2dIndices, T>(arch_of(Isa::scalar));
    const auto without = select<MaxPool2d, T>(arch_of(Isa::scalar));
    for (const PoolCase& c : kCases) {
      const Extent out = output_extent("pool", c.window, c.h, c.w);
      for (int64_t channels : kChannels) {
        const int64_t size = c.n * out.h * out.w * channels;
        const Guarded<T> x(image<T>(c.n * c.h * c.w * channels));
        Guarded<T> y(size), expected(size);
        Guarded<uint8_t> numbers(size), expected_numbers(size);
        PoolArgs<T> args{x.get(), expected.get(), c.n, c.h, c.w, channels, out.h, out.w, c.window};
        without(args, 0, c.n * out.h);
        args.y = y.get();
        args.indices = expected_numbers.get();
        scalar(args, 0, c.n * out.h);
        check_same_bits(row.name, y.get(), expected.get(), size);
        args.indices = numbers.get();
        kernel(args, 0, 1);
        kernel(args, 1, c.n * out.h);
        check_same_bits(row.name, y.get(), expected.get(), size);
        check_same_bits(row.name, numbers.get(), expected_numbers.get(), size);
      }
    }
  });
}

TEST(max_pool2d) { check_forward<MaxPool2d>(); }
TEST(avg_pool2d) { check_forward<AvgPool2d>(); }
TEST(max_pool2d_grad) { check_gradient<MaxPool2dGrad>(); }
TEST(avg_pool2d_grad) { check_gradient<AvgPool2dGrad>(); }

}  // namespace
}  // namespace sixloop
