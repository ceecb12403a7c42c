#include "base/transpose.h"

#include <vector>

#include "gemm/loops.h"
#include "guarded.h"

namespace sixloop {
namespace {

using check::check_same_bits;
using check::Guarded;
using check::values;

// Sizes round one and several blocks; what lies between the rows of the result is another's.
template <class T>
void check_all() {
  for (int64_t rows : {1, 3, 4, 5, 17, 66, 130}) {
    for (int64_t columns : {1, 2, 4, 7, 16, 19, 33}) {
      const int64_t ld_from = columns + 3;
      const int64_t ld_to = rows + 2;
      const Guarded<T> from(values<T>((rows - 1) * ld_from + columns, 1));
      const std::vector<T> before = values<T>((columns - 1) * ld_to + rows, 2);
      std::vector<T> expected = before;
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) expected[static_cast<size_t>(j * ld_to + i)] = from[i * ld_from + j];
      }
      Guarded<T> alone(before), together(before);
      transpose(from.get(), ld_from, rows, columns, alone.get(), ld_to);
      parallel_transpose(from.get(), ld_from, rows, columns, together.get(), ld_to);
      check_same_bits("transpose", alone.get(), expected.data(), static_cast<int64_t>(expected.size()));
      check_same_bits("parallel_transpose", together.get(), expected.data(), static_cast<int64_t>(expected.size()));
    }
  }
}

TEST(transpose) {
  check_all<float>();
  check_all<double>();
}

}  // namespace
}  // namespace sixloop
