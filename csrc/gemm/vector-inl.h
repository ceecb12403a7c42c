// The matrix-vector kernel, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include "base/simd/vectors.h"
#include "gemm/microkernel.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// kSteps rows of B for all columns: so many streams of memory.
template <class V, int kSteps, class T = typename V::T>
void gemm_vector_steps(const T* a, const T* b, int64_t ldb, int64_t columns, bool accumulate, T* c) {
  V x[kSteps];
#pragma GCC unroll 8
  for (int s = 0; s < kSteps; ++s) x[s] = V::broadcast(a + s);
  for_each_vector<V>(columns, [&](auto lanes, int64_t j) {
    V sum = accumulate ? lanes.load(c + j) : V::zero();
#pragma GCC unroll 8
    for (int s = 0; s < kSteps; ++s) sum = V::fma(x[s], lanes.load(b + s * ldb + j), sum);
    lanes.store(sum, c + j);
  });
}

template <class V, class T = typename V::T>
void gemm_vector(const GemmVectorArgs<T>& s) {
  constexpr int kSteps = 8;
  int64_t k = 0;
  for (; k + kSteps <= s.steps; k += kSteps) {
    for (int64_t i = 0; i < s.rows; ++i) {
      gemm_vector_steps<V, kSteps>(s.a + i * s.lda + k, s.b + k * s.ldb, s.ldb, s.columns, k > 0, s.c + i * s.ldc);
    }
  }
  for (; k < s.steps; ++k) {
    for (int64_t i = 0; i < s.rows; ++i) {
      gemm_vector_steps<V, 1>(s.a + i * s.lda + k, s.b + k * s.ldb, s.ldb, s.columns, k > 0, s.c + i * s.ldc);
    }
  }
}

}  // namespace
}  // namespace sixloop
