// Cuts rows (of pixels, of a matrix) into tasks.
#pragma once

#include "base/thread_pool.h"

namespace sixloop {

// Calls f(begin, end) for ranges that cover [0, rows). `row_cost` is the number of elements that one row reads
// or computes: a range costs at least 16384 of them, below which a second thread costs more than it saves.
// There are at most 64 ranges, so that a thread that the host slows down takes fewer. The cut depends on the
// arguments alone.
template <class F>
void parallel_rows(int64_t rows, int64_t row_cost, F&& f) {
  constexpr int64_t kGrain = 16384;
  constexpr int64_t kMaxTasks = 64;
  if (rows <= 0) return;
  int64_t step = (rows + kMaxTasks - 1) / kMaxTasks;
  if (row_cost < kGrain) {
    const int64_t least = row_cost > 0 ? (kGrain + row_cost - 1) / row_cost : rows;
    if (step < least) step = least;
  }
  parallel_for((rows + step - 1) / step, [&](int64_t task) {
    const int64_t begin = task * step;
    f(begin, begin + step < rows ? begin + step : rows);
  });
}

}  // namespace sixloop
