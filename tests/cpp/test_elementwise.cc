#include "elementwise/elementwise.h"

#include <limits>

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

TEST(add) {
  for_each_row<Add>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Add, T>(row);
    const auto scalar = select<Add, T>(arch_of(Isa::scalar));
    for (int64_t n = 0; n <= kLongest; ++n) {
      auto with_specials = values<T>(n, 2);
      if (n > 3) {
        with_specials[0] = std::numeric_limits<T>::infinity();
        with_specials[1] = std::numeric_limits<T>::quiet_NaN();
        with_specials[2] = std::numeric_limits<T>::denorm_min();
        with_specials[3] = -T{0};
      }
      Guarded<T> a(values<T>(n, 1)), b(with_specials), y(n), expected(n);
      scalar(a.get(), b.get(), expected.get(), n);
      kernel(a.get(), b.get(), y.get(), n);
      check_same_bits(row.name, y.get(), expected.get(), n);
      kernel(a.get(), b.get(), a.get(), n);
      check_same_bits(row.name, a.get(), expected.get(), n);
    }
  });
}

}  // namespace
}  // namespace sixloop
