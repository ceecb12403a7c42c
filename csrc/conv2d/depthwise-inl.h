// Depthwise kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include "conv2d/conv2d.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class V>
void depthwise_tile(const DepthwiseTile<typename V::T>& t) {
  using T = typename V::T;
  for (int64_t p = 0; p < t.pixels; ++p) {
    const T* const* a = t.a + p * t.taps;
    T* y = t.y[p];
    for (int64_t c = 0; c < t.channels; c += V::N) {
      const int64_t live = t.channels - c;
      const bool whole = live >= V::N;
      V sum = V::zero();
      for (int64_t tap = 0; tap < t.taps; ++tap) {
        const T* x = a[tap] + c;
        const T* w = t.w + tap * t.channels + c;
        sum = V::fma(whole ? V::load(x) : V::load_n(x, live), whole ? V::load(w) : V::load_n(w, live), sum);
      }
      if (t.bias != nullptr) sum = sum + (whole ? V::load(t.bias + c) : V::load_n(t.bias + c, live));
      if (t.relu) sum = V::max(V::zero(), sum);
      if (whole) {
        sum.store(y + c);
      } else {
        sum.store_n(y + c, live);
      }
    }
  }
}

template <class V>
void depthwise_sum(int64_t pixels, int64_t channels, const typename V::T* const* a, const typename V::T* dy, int64_t ld,
                   typename V::T* sum) {
  // Four vectors of channels at a time hide the latency of the fused multiply-add.
  constexpr int kVectors = 4;
  int64_t c = 0;
  for (; c + kVectors * V::N <= channels; c += kVectors * V::N) {
    V acc[kVectors];
    for (int v = 0; v < kVectors; ++v) acc[v] = V::load(sum + c + v * V::N);
    for (int64_t p = 0; p < pixels; ++p) {
      for (int v = 0; v < kVectors; ++v) {
        acc[v] = V::fma(V::load(a[p] + c + v * V::N), V::load(dy + p * ld + c + v * V::N), acc[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) acc[v].store(sum + c + v * V::N);
  }
  for (; c < channels; c += V::N) {
    const int64_t live = channels - c < V::N ? channels - c : V::N;
    V acc = V::load_n(sum + c, live);
    for (int64_t p = 0; p < pixels; ++p) acc = V::fma(V::load_n(a[p] + c, live), V::load_n(dy + p * ld + c, live), acc);
    acc.store_n(sum + c, live);
  }
}

}  // namespace
}  // namespace sixloop
