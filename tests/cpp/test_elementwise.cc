#include "elementwise/elementwise.h"

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

// Below, at and beyond one, two and four vectors of every ISA.
constexpr int64_t kLongest = 70;

constexpr Activation kActivations[] = {Activation::none, Activation::relu,       Activation::sigmoid,
                                       Activation::tanh, Activation::leaky_relu, Activation::elu,
                                       Activation::gelu, Activation::softplus,   Activation::step,
                                       Activation::ramp, Activation::gaussian};

// Values with, from the fifth on, what arithmetic treats specially.
template <class T>
std::vector<T> special_values(int64_t n, uint64_t seed) {
  using limits = std::numeric_limits<T>;
  const T specials[] = {limits::infinity(),
                        limits::quiet_NaN(),
                        limits::denorm_min(),
                        -T{0},
                        -limits::infinity(),
                        limits::max(),
                        limits::min(),
                        T{0},
                        T{1},
                        T{-100}};
  std::vector<T> result = values<T>(n, seed);
  for (size_t i = 4; i < result.size(); i += 2) result[i] = specials[i / 2 % std::size(specials)];
  return result;
}

// Compares every row of a kind with the scalar one, with a result of its own and in place. call(kernel, a, b, y, n)
// computes y from a and b.
template <class Kind, class Call>
void check_map(const Call& call) {
  for_each_row<Kind>([&](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Kind, T>(row);
    const auto scalar = select<Kind, T>(arch_of(Isa::scalar));
    for (int64_t n = 0; n <= kLongest; ++n) {
      Guarded<T> a(values<T>(n, 1)), b(special_values<T>(n, 2)), y(n), expected(n);
      call(scalar, a.get(), b.get(), expected.get(), n);
      call(kernel, a.get(), b.get(), y.get(), n);
      check_same_bits(row.name, y.get(), expected.get(), n);
      // Each operand in turn is the result.
      Guarded<T> in_place(values<T>(n, 1));
      call(kernel, in_place.get(), b.get(), in_place.get(), n);
      check_same_bits(row.name, in_place.get(), expected.get(), n);
      call(kernel, a.get(), b.get(), b.get(), n);
      check_same_bits(row.name, b.get(), expected.get(), n);
    }
  });
}

TEST(add) {
  check_map<Add>([](auto kernel, const auto* a, const auto* b, auto* y, int64_t n) { kernel(a, b, y, n); });
}

TEST(scale) {
  check_map<Scale>([](auto kernel, const auto*, const auto* b, auto* y, int64_t n) { kernel(b, -3, y, n); });
}

TEST(activate) {
  for (Activation activation : kActivations) {
    check_map<Activate>([&](auto kernel, const auto*, const auto* b, auto* y, int64_t n) {
      kernel(b, y, n, activation, static_cast<std::remove_reference_t<decltype(*y)>>(0.25));
    });
  }
}

TEST(activate_grad) {
  for (Activation activation : kActivations) {
    check_map<ActivateGrad>([&](auto kernel, const auto* a, const auto* b, auto* y, int64_t n) {
      kernel(a, b, y, n, activation, static_cast<std::remove_reference_t<decltype(*y)>>(0.25));
    });
  }
}

TEST(activate_grad_of) {
  for (Activation activation : kActivations) {
    if (activation == Activation::gelu || activation == Activation::gaussian) continue;
    check_map<ActivateGradOf>(
        [&](auto kernel, const auto* a, const auto* b, auto* y, int64_t n) { kernel(a, b, y, n, activation); });
  }
}

TEST(column_sum) {
  for_each_row<ColumnSum>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<ColumnSum, T>(row);
    for (int64_t columns = 1; columns <= kLongest; ++columns) {
      for (int64_t rows : {0, 1, 5}) {
        const int64_t ld = columns + columns % 3;
        const Guarded<T> x(values<T>(rows > 0 ? (rows - 1) * ld + columns : 0, 1));
        Guarded<T> sum(values<T>(columns, 2));
        std::vector<T> expected(sum.get(), sum.get() + columns);
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t c = 0; c < columns; ++c) expected[static_cast<size_t>(c)] += x[i * ld + c];
        }
        kernel(x.get(), rows, columns, ld, sum.get());
        check_same_bits(row.name, sum.get(), expected.data(), columns);
      }
    }
  });
}

}  // namespace
}  // namespace sixloop
