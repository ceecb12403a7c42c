#include "norm/norm.h"

#include <vector>

#include "guarded.h"
#include "rows.h"

namespace sixloop {
namespace {

using check::check_same_bits;
using check::for_each_row;
using check::Guarded;
using check::values;

constexpr int64_t kRowCounts[] = {1, 2, 5};

// Calls f(kernel, scalar, rows, channels) for every row of the kind and sizes round one, two and four vectors.
template <class Kind, class F>
void for_each_size(F&& f) {
  for_each_row<Kind>([&](const Kernel& row, auto t) {
    using T = decltype(t);
    for (int64_t channels = 1; channels <= 70; ++channels) {
      for (int64_t rows : kRowCounts) {
        f(row, function_of<Kind, T>(row), select<Kind, T>(arch_of(Isa::scalar)), rows, channels, t);
      }
    }
  });
}

TEST(batch_moments) {
  for_each_size<BatchMoments>([](const Kernel& row, auto kernel, auto scalar, int64_t rows, int64_t channels, auto t) {
    using T = decltype(t);
    const int64_t pitch = channels + channels % 3;
    const Guarded<T> x(values<T>((rows - 1) * pitch + channels, 1));
    Guarded<T> results[] = {Guarded<T>(channels), Guarded<T>(channels), Guarded<T>(channels)};
    Guarded<T> expected[] = {Guarded<T>(channels), Guarded<T>(channels), Guarded<T>(channels)};
    scalar(x.get(), rows, pitch, channels, expected[0].get(), expected[1].get(), expected[2].get());
    kernel(x.get(), rows, pitch, channels, results[0].get(), results[1].get(), results[2].get());
    for (int i = 0; i < 3; ++i) check_same_bits(row.name, results[i].get(), expected[i].get(), channels);
  });
}

TEST(batch_normalize) {
  for_each_size<BatchNormalize>(
      [](const Kernel& row, auto kernel, auto scalar, int64_t rows, int64_t channels, auto t) {
        using T = decltype(t);
        const int64_t size = rows * channels;
        const Guarded<T> x(values<T>(size, 1)), mean(values<T>(channels, 2)), scale(values<T>(channels, 3));
        const Guarded<T> shift(values<T>(channels, 4)), residual(values<T>(size, 5));
        Guarded<T> y(size), expected(size);
        for (const T* added : {static_cast<const T*>(nullptr), static_cast<const T*>(residual.get())}) {
          scalar(x.get(), added, expected.get(), rows, channels, mean.get(), scale.get(), shift.get());
          kernel(x.get(), added, y.get(), rows, channels, mean.get(), scale.get(), shift.get());
          check_same_bits(row.name, y.get(), expected.get(), size);
        }
      });
}

TEST(batch_grad_sums) {
  for_each_size<BatchGradSums>([](const Kernel& row, auto kernel, auto scalar, int64_t rows, int64_t channels, auto t) {
    using T = decltype(t);
    const int64_t pitch = channels + channels % 3;
    const int64_t size = (rows - 1) * pitch + channels;
    const Guarded<T> dy(values<T>(size, 1)), x(values<T>(size, 2)), mean(values<T>(channels, 3));
    const Guarded<T> scale(values<T>(channels, 4)), shift(values<T>(channels, 5));
    Guarded<T> sum(channels), dot(channels), expected_sum(channels), expected_dot(channels);
    for (const BatchRelu<T>& relu : {BatchRelu<T>{}, BatchRelu<T>{scale.get(), shift.get()}}) {
      scalar(dy.get(), x.get(), mean.get(), relu, rows, pitch, channels, expected_sum.get(), expected_dot.get());
      kernel(dy.get(), x.get(), mean.get(), relu, rows, pitch, channels, sum.get(), dot.get());
      check_same_bits(row.name, sum.get(), expected_sum.get(), channels);
      check_same_bits(row.name, dot.get(), expected_dot.get(), channels);
    }
  });
}

TEST(batch_relu_grad_sums) {
  for_each_size<BatchReluGradSums>(
      [](const Kernel& row, auto kernel, auto scalar, int64_t rows, int64_t channels, auto t) {
        using T = decltype(t);
        const int64_t pitch = channels + channels % 3;
        const int64_t size = (rows - 1) * pitch + channels;
        const Guarded<T> dy(values<T>(size, 1)), y(values<T>(size, 2)), x(values<T>(size, 3));
        const Guarded<T> mean(values<T>(channels, 4));
        Guarded<T> dz(size), sum(channels), dot(channels);
        Guarded<T> expected_dz(size), expected_sum(channels), expected_dot(channels);
        scalar(dy.get(), y.get(), x.get(), mean.get(), rows, pitch, channels, expected_dz.get(), expected_sum.get(),
               expected_dot.get());
        kernel(dy.get(), y.get(), x.get(), mean.get(), rows, pitch, channels, dz.get(), sum.get(), dot.get());
        for (int64_t r = 0; r < rows; ++r) {
          check_same_bits(row.name, dz.get() + r * pitch, expected_dz.get() + r * pitch, channels);
        }
        check_same_bits(row.name, sum.get(), expected_sum.get(), channels);
        check_same_bits(row.name, dot.get(), expected_dot.get(), channels);
      });
}

TEST(batch_grad_input) {
  for_each_size<BatchGradInput>(
      [](const Kernel& row, auto kernel, auto scalar, int64_t rows, int64_t channels, auto t) {
        using T = decltype(t);
        const int64_t size = rows * channels;
        const Guarded<T> dy(values<T>(size, 1)), x(values<T>(size, 2)), mean(values<T>(channels, 3));
        const Guarded<T> a(values<T>(channels, 4)), b(values<T>(channels, 5)), c(values<T>(channels, 6));
        Guarded<T> dx(size), expected(size);
        const Guarded<T> scale(values<T>(channels, 7)), shift(values<T>(channels, 8));
        for (const BatchRelu<T>& relu : {BatchRelu<T>{}, BatchRelu<T>{scale.get(), shift.get()}}) {
          for (const T* factor : {b.get(), static_cast<const T*>(nullptr)}) {
            const T* input = relu.scale == nullptr && factor == nullptr ? nullptr : x.get();
            scalar(dy.get(), input, expected.get(), rows, channels, mean.get(), relu, a.get(), factor, c.get());
            kernel(dy.get(), input, dx.get(), rows, channels, mean.get(), relu, a.get(), factor, c.get());
            check_same_bits(row.name, dx.get(), expected.get(), size);
          }
        }
      });
}

// Windows that are wider than the channels, lopsided, and of one channel.
template <class T>
std::vector<ResponseParams<T>> windows() {
  const T alpha = static_cast<T>(1e-2);
  const T beta = static_cast<T>(0.75);
  return {{0, 0, alpha, beta, 2}, {2, 2, alpha, beta, 1}, {2, 1, alpha, beta, 2}, {9, 20, alpha, 1, 1}};
}

TEST(local_response) {
  for_each_size<LocalResponse>([](const Kernel& row, auto kernel, auto scalar, int64_t rows, int64_t channels, auto t) {
    using T = decltype(t);
    const int64_t size = rows * channels;
    const Guarded<T> x(values<T>(size, 1));
    Guarded<T> y(size), expected(size);
    for (const ResponseParams<T>& params : windows<T>()) {
      Guarded<T> scratch(2 * (params.before + channels + params.after + 16));
      scalar(x.get(), expected.get(), rows, channels, params, scratch.get());
      kernel(x.get(), y.get(), rows, channels, params, scratch.get());
      check_same_bits(row.name, y.get(), expected.get(), size);
    }
  });
}

TEST(local_response_grad) {
  for_each_size<LocalResponseGrad>(
      [](const Kernel& row, auto kernel, auto scalar, int64_t rows, int64_t channels, auto t) {
        using T = decltype(t);
        const int64_t size = rows * channels;
        const Guarded<T> dy(values<T>(size, 1)), x(values<T>(size, 2));
        Guarded<T> dx(size), expected(size);
        for (const ResponseParams<T>& params : windows<T>()) {
          Guarded<T> scratch(2 * (params.before + channels + params.after + 16));
          scalar(dy.get(), x.get(), expected.get(), rows, channels, params, scratch.get());
          kernel(dy.get(), x.get(), dx.get(), rows, channels, params, scratch.get());
          check_same_bits(row.name, dx.get(), expected.get(), size);
        }
      });
}

}  // namespace
}  // namespace sixloop
