// The kernel for parts of a sum side by side, written once over a vector type V of base/simd/. Included by each
// <isa>.cc.
#pragma once

#include "conv2d/conv2d.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class V, int MR, int NR>
void lane_sums(const LaneSumsArgs<typename V::T>& s) {
  using T = typename V::T;
  for (int64_t lane = 0; lane < kPartLanes; lane += V::N) {
    const auto at = [&](int i, int j)
                        __attribute__((always_inline)) { return s.c + i * s.ldc + j * kPartLanes + lane; };
    V acc[MR][NR];
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NR; ++j) acc[i][j] = i < s.live_rows && j < s.live_columns ? V::load(at(i, j)) : V::zero();
    }
    const T* b = s.b + lane;
    for (int64_t r = 0; r < s.rows; ++r) {
      const T* a = s.a + r * s.a_row + lane;
      for (int64_t left = s.run; left > 0; --left, a += s.a_step, b += s.b_step) {
        V y[NR];
#pragma GCC unroll 4
        for (int j = 0; j < NR; ++j) {
          y[j] = V::load(b + j * kPartLanes);
          y[j].pin();
        }
#pragma GCC unroll 8
        for (int i = 0; i < MR; ++i) {
          V x = V::load(a + i * kPartLanes);
          x.pin();
#pragma GCC unroll 4
          for (int j = 0; j < NR; ++j) acc[i][j] = V::fma(x, y[j], acc[i][j]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NR; ++j) {
        if (i < s.live_rows && j < s.live_columns) acc[i][j].store(at(i, j));
      }
    }
  }
}

}  // namespace
}  // namespace sixloop
