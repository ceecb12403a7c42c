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

// M rows of A: squares of B are transposed in registers.
template <class V, int M, class T = typename V::T>
void gemm_vector_turned_rows(const GemmVectorArgs<T>& s, const T* a, T* c) {
  constexpr int kGroups = 2;                   // of V::N columns of C, whose chains of additions overlap
  constexpr int64_t kAhead = 512 / sizeof(T);  // eight lines of each row; other distances were not tried
  const int64_t whole = s.steps / V::N * V::N;
  for (int64_t j = 0; j < s.columns; j += kGroups * V::N) {
    const T* rows[kGroups * V::N];
    for (int64_t r = 0; r < kGroups * V::N; ++r) {
      rows[r] = s.b + (j + r < s.columns ? j + r : s.columns - 1) * s.ldb;
    }
    V sums[kGroups][M];
    for (int g = 0; g < kGroups; ++g) {
      for (int i = 0; i < M; ++i) sums[g][i] = V::zero();
    }
    for (int64_t k = 0; k < whole; k += V::N) {
#pragma GCC unroll 2
      for (int g = 0; g < kGroups; ++g) {
        V square[V::N];
#pragma GCC unroll 16
        for (int r = 0; r < V::N; ++r) {
          square[r] = V::load(rows[g * V::N + r] + k);
          __builtin_prefetch(rows[g * V::N + r] + k + kAhead);
        }
        V::transpose(square);
#pragma GCC unroll 16
        for (int step = 0; step < V::N; ++step) {
#pragma GCC unroll 4
          for (int i = 0; i < M; ++i) {
            sums[g][i] = V::fma(V::broadcast(a + i * s.lda + k + step), square[step], sums[g][i]);
          }
        }
      }
    }
    for (int i = 0; i < M; ++i) {
      T results[kGroups * V::N];
      for (int g = 0; g < kGroups; ++g) sums[g][i].store(results + g * V::N);
      const int64_t live = s.columns - j < kGroups * V::N ? s.columns - j : kGroups * V::N;
      for (int64_t r = 0; r < live; ++r) {
        V sum = V::set1(results[r]);
        for (int64_t k = whole; k < s.steps; ++k) {
          sum = V::fma(V::broadcast(a + i * s.lda + k), V::broadcast(rows[r] + k), sum);
        }
        sum.store_n(c + i * s.ldc + j + r, 1);
      }
    }
  }
}

template <class V, class T = typename V::T>
void gemm_vector_turned(const GemmVectorArgs<T>& s) {
  int64_t i = 0;
  for (; i + 4 <= s.rows; i += 4) gemm_vector_turned_rows<V, 4>(s, s.a + i * s.lda, s.c + i * s.ldc);
  for (; i + 2 <= s.rows; i += 2) gemm_vector_turned_rows<V, 2>(s, s.a + i * s.lda, s.c + i * s.ldc);
  if (i < s.rows) gemm_vector_turned_rows<V, 1>(s, s.a + i * s.lda, s.c + i * s.ldc);
}

}  // namespace
}  // namespace sixloop
