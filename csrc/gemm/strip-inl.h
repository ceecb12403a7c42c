// The strip kernel, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include <cstring>

#include "gemm/microkernel-inl.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class V, int MR, int NV, bool kFetches>
void strip_tiles(const GemmStripArgs<typename V::T>& s) {
  using T = typename V::T;
  constexpr int64_t kNr = NV * V::N;
  const int64_t skip = s.a_tap - s.run;
  alignas(64) T edge[MR * kNr];
  const T* next = s.next;
  const int64_t next_step = s.next_step;
  for (int64_t done = 0; done < s.rows; done += MR) {
    // The last tile ends with the last row: what it shares with the tile before it computes again, to the same bits.
    const int64_t first = done + MR <= s.rows ? done : s.rows - MR;
    const T* row[MR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) row[i] = s.a + (first + i) * s.a_step;
    const T* panel = s.b;
    for (int64_t j = 0; j < s.columns; j += kNr, panel += s.b_panel) {
      const T* b = panel;
      const int64_t ldb = s.ldb;
      Accumulators<V, MR, NV> acc;
      T* c = s.c + first * s.ldc + j;
      const int64_t live = s.columns - j;
      const size_t bytes = static_cast<size_t>(live) * sizeof(T);
      if (!s.accumulate) {
        acc.clear();
      } else if (live >= kNr) {
        acc.load(c, s.ldc);
      } else {
        for (int i = 0; i < MR; ++i) std::memcpy(edge + i * kNr, c + i * s.ldc, bytes);
        acc.load(edge, kNr);
      }
      int64_t k = 0;
      for (int64_t tap = 0; tap < s.taps; ++tap, k += skip) {
        for (const int64_t end = k + s.run; k < end; ++k, b += ldb) {
          if constexpr (kFetches) {
            __builtin_prefetch(next, 0, 2);
            next += next_step;
          }
          acc.step(b, [&](int i) __attribute__((always_inline)) { return row[i] + k; });
        }
      }
      acc.finish(s.bias == nullptr ? nullptr : s.bias + j, s.relu);
      if (live >= kNr) {
        acc.store(c, s.ldc);
      } else {
        acc.store(edge, kNr);
        for (int i = 0; i < MR; ++i) std::memcpy(c + i * s.ldc, edge + i * kNr, bytes);
      }
    }
  }
}

template <class V, int MR, int NV>
void gemm_strip(const GemmStripArgs<typename V::T>& s) {
  if (s.next != nullptr) return strip_tiles<V, MR, NV, true>(s);
  strip_tiles<V, MR, NV, false>(s);
}

}  // namespace
}  // namespace sixloop
