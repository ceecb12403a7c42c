// The strip kernel, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include <cstring>

#include "conv2d/conv2d.h"
#include "gemm/microkernel-inl.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class V, int MR, int NV>
void strip_tiles(const StripRow<typename V::T>& s) {
  using T = typename V::T;
  constexpr int64_t kNr = NV * V::N;
  const int64_t skip = s.x_row - s.run;
  alignas(64) T edge[MR * kNr];
  for (int64_t done = 0; done < s.pixels; done += MR) {
    // The last tile ends with the last pixel: what it shares with the tile before it computes again, to the same bits.
    const int64_t first = done + MR <= s.pixels ? done : s.pixels - MR;
    const T* row[MR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) row[i] = s.x + (first + i) * s.x_step;
    const T* w = s.w;
    for (int64_t o = 0; o < s.channels; o += kNr) {
      Accumulators<V, MR, NV> acc;
      acc.clear();
      int64_t k = 0;
      for (int64_t tap = 0; tap < s.taps; ++tap, k += skip) {
        for (const int64_t end = k + s.run; k < end; ++k, w += kNr) {
          acc.step(w, [&](int i) __attribute__((always_inline)) { return row[i] + k; });
        }
      }
      acc.finish(s.bias == nullptr ? nullptr : s.bias + o, s.relu);
      T* y = s.y + first * s.channels + o;
      const int64_t columns = s.channels - o;
      if (columns >= kNr) {
        acc.store(y, s.channels);
      } else {
        acc.store(edge, kNr);
        for (int i = 0; i < MR; ++i)
          std::memcpy(y + i * s.channels, edge + i * kNr, static_cast<size_t>(columns) * sizeof(T));
      }
    }
  }
}

}  // namespace
}  // namespace sixloop
