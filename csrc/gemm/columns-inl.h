// The kernel for columns of A where they lie, written once over a vector type V of base/simd/. Included by each
// <isa>.cc.
#pragma once

#include "gemm/microkernel.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// Vector j of a row of which `columns` elements are there.
template <class V, bool kWhole>
__attribute__((always_inline)) inline V load_columns(const typename V::T* row, int j, int64_t columns) {
  if constexpr (kWhole) {
    return V::load(row + j * V::N);
  } else {
    const int64_t live = columns - j * V::N;
    return live >= V::N ? V::load(row + j * V::N) : live > 0 ? V::load_n(row + j * V::N, live) : V::zero();
  }
}

template <class V, bool kWhole>
__attribute__((always_inline)) inline void store_columns(V v, typename V::T* row, int j, int64_t columns) {
  const int64_t live = columns - j * V::N;
  if (kWhole || live >= V::N) {
    v.store(row + j * V::N);
  } else if (live > 0) {
    v.store_n(row + j * V::N, live);
  }
}

template <class V, int MR, int NV, bool kWhole>
void columns_tile(const GemmColumnsArgs<typename V::T>& s) {
  using T = typename V::T;
  V acc[MR][NV];
  const T* a[MR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    a[i] = s.a[i];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      acc[i][j] = s.accumulation == Accumulation::resume ? load_columns<V, kWhole>(s.c[i], j, s.columns) : V::zero();
    }
  }
  const T* b = s.b;
  for (int64_t r = 0; r < s.rows; ++r) {
    int64_t k = r * s.a_row;
    for (int64_t left = s.run; left > 0; --left, k += s.a_step, b += s.ldb) {
      V row[NV];
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) {
        row[j] = load_columns<V, kWhole>(b, j, s.columns);
        row[j].pin();
      }
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
        const V x = V::broadcast(a[i] + k);
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) acc[i][j] = V::fma(x, row[j], acc[i][j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      if (s.accumulation == Accumulation::add) acc[i][j] = load_columns<V, kWhole>(s.c[i], j, s.columns) + acc[i][j];
      store_columns<V, kWhole>(acc[i][j], s.c[i], j, s.columns);
    }
  }
}

template <class V, int MR, int NV>
void gemm_columns(const GemmColumnsArgs<typename V::T>& s) {
  if constexpr (NV > 1) {
    if (s.columns <= (NV - 1) * V::N) return gemm_columns<V, MR, NV - 1>(s);
  }
  if (s.columns == NV * V::N) {
    columns_tile<V, MR, NV, true>(s);
  } else {
    columns_tile<V, MR, NV, false>(s);
  }
}

}  // namespace
}  // namespace sixloop
