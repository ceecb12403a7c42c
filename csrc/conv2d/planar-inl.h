// Planar kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

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
      row[j] = V::load(x + j * t.x_step);
      row[j].pin();
    }
#pragma GCC unroll 8
    for (int o = 0; o < MR; ++o) {
      const V weight = V::broadcast(w + o);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[o][j] = V::fma(weight, row[j], acc[o][j]);
    }
  }
  if (t.bias != nullptr) {
#pragma GCC unroll 8
    for (int o = 0; o < MR; ++o) {
      const V bias = V::broadcast(t.bias + o);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[o][j] = acc[o][j] + bias;
    }
  }
  if (t.relu) {
#pragma GCC unroll 8
    for (int o = 0; o < MR; ++o) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[o][j] = V::max(V::zero(), acc[o][j]);
    }
  }
#pragma GCC unroll 8
  for (int o = 0; o < MR; ++o) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[o][j].store(t.y + (o * NV + j) * V::N);
  }
}

}  // namespace
}  // namespace sixloop
