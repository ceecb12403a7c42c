// Walks the rows of a kind, so that a test covers a kernel from the moment its row exists.
#pragma once

#include <string>

#include "base/kernel.h"
#include "check.h"

namespace sixloop::check {

// Calls f(row, T{}) for every kernel of the kind and type that this machine can run.
template <class Kind, class T, class F>
void for_each_row_of(F&& f) {
  int count = 0;
  for (const Kernel& row : Kind::kernels()) {
    if (!is_row_of<Kind, T>(row)) continue;
    ++count;
    if (detected_arch().has(row.isa)) {
      f(row, T{});
    } else {
      skip(std::string(row.name) + " needs another processor");
    }
  }
  if (count == 0) fail(__FILE__, __LINE__, std::string(Kind::name) + " has no rows");
}

template <class Kind, class F>
void for_each_row(F&& f) {
  for_each_row_of<Kind, float>(f);
  for_each_row_of<Kind, double>(f);
}

}  // namespace sixloop::check
