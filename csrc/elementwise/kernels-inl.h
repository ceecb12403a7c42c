// The kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include <cstdint>

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class V>
void add_vectors(const typename V::T* a, const typename V::T* b, typename V::T* y, int64_t n) {
  int64_t i = 0;
  for (; i + V::N <= n; i += V::N) (V::load(a + i) + V::load(b + i)).store(y + i);
  (V::load_n(a + i, n - i) + V::load_n(b + i, n - i)).store_n(y + i, n - i);
}

}  // namespace
}  // namespace sixloop
