// Planar kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include "base/simd/lanes.h"
#include "conv2d/conv2d.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class V, int MR, int NV>
void planar_tile(const PlanarTile<typename V::T>& t) {
  using T = typename V::T;
  V acc[MR][NV];
#pragma GCC unroll 8
  for (int o = 0; o < MR; ++o) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[o][j] = V::zero();
  }
  const T* w = t.w;
  for (int64_t s = 0; s < t.steps; ++s, w += MR) {
    const T* x = t.x + t.offsets[s];
    V row[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      row[j] = V::load(x + j * V::N);
      row[j].pin();
    }
#pragma GCC unroll 8
    for (int o = 0; o < MR; ++o) {
      const V weight = V::broadcast(w + o);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[o][j] = V::fma(weight, row[j], acc[o][j]);
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < MR; ++o) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[o][j].store(t.y + (o * NV + j) * V::N);
  }
}

// Vector v of the virtual lanes at p, of which `live` elements are there; zeros for the others.
template <class V>
V load_live(const typename V::T* p, int v, int64_t live) {
  const int64_t here = live - v * V::N;
  if (here >= V::N) return V::load(p + v * V::N);
  return here > 0 ? V::load_n(p + v * V::N, here) : V::zero();
}

template <class V, int MR, int NR>
void planar_sums(const PlanarSums<typename V::T>& t) {
  using T = typename V::T;
  using L = Lanes<V>;
  constexpr int kVectors = L::kVectors;
  L acc[MR][NR];
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int o = 0; o < NR; ++o) acc[i][o] = L::load(t.sums[i * NR + o]);
  }
  for (int64_t r = 0; r < t.rows; ++r) {
    for (int64_t j = 0; j < t.columns; j += L::kCount) {
      const int64_t live = t.columns - j;
      V dy[NR][kVectors];
#pragma GCC unroll 4
      for (int o = 0; o < NR; ++o) {
        const T* p = t.dy[o] + r * t.dy_ld + j;
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) dy[o][v] = load_live<V>(p, v, live);
      }
#pragma GCC unroll 4
      for (int i = 0; i < MR; ++i) {
        const T* p = t.x[i] + r * t.x_ld + j;
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) {
          const V x = load_live<V>(p, v, live);
#pragma GCC unroll 4
          for (int o = 0; o < NR; ++o) acc[i][o].v[v] = V::fma(x, dy[o][v], acc[i][o].v[v]);
        }
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int o = 0; o < NR; ++o) acc[i][o].store(t.sums[i * NR + o]);
  }
}

}  // namespace
}  // namespace sixloop
