#include "softmax/softmax.h"

#include <limits>
#include <vector>

#include "guarded.h"
#include "rows.h"

namespace sixloop {
namespace {

using check::check_same_bits;
using check::for_each_row;
using check::Guarded;
using check::values;

// Lengths round the virtual lanes of a row and round the vectors of columns.
constexpr int64_t kLengths[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 70};

// Rows among which are one of -inf, one with a NaN and one with +inf.
template <class T>
std::vector<T> logits(int64_t rows, int64_t n) {
  using limits = std::numeric_limits<T>;
  std::vector<T> x = values<T>(rows * n, 1);
  const auto at = [&](int64_t row, int64_t i) -> T& { return x[static_cast<size_t>(row * n + i)]; };
  for (int64_t i = 0; i < n; ++i) at(1, i) = -limits::infinity();
  at(2, n / 2) = limits::quiet_NaN();
  at(3, n - 1) = limits::infinity();
  at(4, 0) = 300;
  return x;
}
constexpr int64_t kRows = 6;

template <class Kind>
void check_rows() {
  for_each_row<Kind>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Kind, T>(row);
    const auto scalar = select<Kind, T>(arch_of(Isa::scalar));
    for (int64_t n : kLengths) {
      Guarded<T> x(logits<T>(kRows, n)), y(kRows * n), expected(kRows * n);
      scalar(x.get(), expected.get(), kRows, n);
      kernel(x.get(), y.get(), kRows, n);
      check_same_bits(row.name, y.get(), expected.get(), kRows * n);
      kernel(x.get(), x.get(), kRows, n);
      check_same_bits(row.name, x.get(), expected.get(), kRows * n);
    }
  });
}

template <class Kind>
void check_grad_rows() {
  for_each_row<Kind>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Kind, T>(row);
    const auto scalar = select<Kind, T>(arch_of(Isa::scalar));
    for (int64_t n : kLengths) {
      const Guarded<T> y(values<T>(kRows * n, 2));
      Guarded<T> dy(logits<T>(kRows, n)), dx(kRows * n), expected(kRows * n);
      scalar(dy.get(), y.get(), expected.get(), kRows, n);
      kernel(dy.get(), y.get(), dx.get(), kRows, n);
      check_same_bits(row.name, dx.get(), expected.get(), kRows * n);
      kernel(dy.get(), y.get(), dy.get(), kRows, n);
      check_same_bits(row.name, dy.get(), expected.get(), kRows * n);
    }
  });
}

// Columns end where their memory does, and what lies between them stays as it is.
template <class Kind, bool kGradient>
void check_columns() {
  for_each_row<Kind>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Kind, T>(row);
    const auto scalar = select<Kind, T>(arch_of(Isa::scalar));
    const auto call = [](auto function, const T* dy, const T* x, T* y, int64_t n, int64_t stride, int64_t count) {
      if constexpr (kGradient) {
        function(dy, x, y, n, stride, count);
      } else {
        function(x, y, n, stride, count);
      }
    };
    for (int64_t count : kLengths) {
      for (int64_t n : {1, 2, 5}) {
        const int64_t stride = count + count % 3;
        const int64_t size = (n - 1) * stride + count;
        const Guarded<T> x(values<T>(size, 1)), dy(values<T>(size, 2));
        Guarded<T> y(values<T>(size, 3)), expected(values<T>(size, 3));
        call(scalar, dy.get(), x.get(), expected.get(), n, stride, count);
        call(kernel, dy.get(), x.get(), y.get(), n, stride, count);
        check_same_bits(row.name, y.get(), expected.get(), size);
      }
    }
  });
}

TEST(softmax_rows) { check_rows<SoftmaxRows>(); }
TEST(log_softmax_rows) { check_rows<LogSoftmaxRows>(); }
TEST(softmax_grad_rows) { check_grad_rows<SoftmaxGradRows>(); }
TEST(log_softmax_grad_rows) { check_grad_rows<LogSoftmaxGradRows>(); }
TEST(softmax_columns) { check_columns<SoftmaxColumns, false>(); }
TEST(log_softmax_columns) { check_columns<LogSoftmaxColumns, false>(); }
TEST(softmax_grad_columns) { check_columns<SoftmaxGradColumns, true>(); }
TEST(log_softmax_grad_columns) { check_columns<LogSoftmaxGradColumns, true>(); }

TEST(cross_entropy_rows) {
  for_each_row<CrossEntropyRows>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<CrossEntropyRows, T>(row);
    const auto scalar = select<CrossEntropyRows, T>(arch_of(Isa::scalar));
    for (int64_t n : kLengths) {
      const Guarded<T> x(logits<T>(kRows, n));
      Guarded<int64_t> labels(kRows);
      for (int64_t i = 0; i < kRows; ++i) labels[i] = (i * 5 + n - 1) % n;
      Guarded<T> dx(kRows * n), losses(kRows), expected(kRows * n), expected_losses(kRows);
      scalar(x.get(), labels.get(), expected.get(), expected_losses.get(), kRows, n, static_cast<T>(0.25));
      kernel(x.get(), labels.get(), dx.get(), losses.get(), kRows, n, static_cast<T>(0.25));
      check_same_bits(row.name, dx.get(), expected.get(), kRows * n);
      check_same_bits(row.name, losses.get(), expected_losses.get(), kRows);
    }
  });
}

}  // namespace
}  // namespace sixloop
