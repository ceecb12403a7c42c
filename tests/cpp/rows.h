// Walks the rows of a kind, so that a test covers a kernel from the moment its row exists.
#pragma once

#include <string>

#include "base/kernel.h"
#include "check.h"

namespace sixloop::check {

// Calls f(row, T{}) for every kernel of the kind that this machine can run.
template <class Kind, class F>
void for_each_row(F&& f) {
  int count = 0;
  for (const Kernel& row : Kind::kernels()) {
    const bool is_f32 = is_row_of<Kind, float>(row);
    if (!is_f32 && !is_row_of<Kind, double>(row)) continue;
    ++count;
    if (!detected_arch().has(row.isa)) {
      skip(std::string(row.name) + " needs another processor");
      continue;
    }
    if (is_f32) {
      f(row, float{});
    } else {
      f(row, double{});
    }
  }
  if (count == 0) fail(__FILE__, __LINE__, std::string(Kind::name) + " has no rows");
}

}  // namespace sixloop::check
