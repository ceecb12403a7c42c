// The register-tile kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
//
// Code generation: B's vectors are pinned and A's elements broadcast by instructions of their own, since
// GCC otherwise folds these loads into the FMAs, one load for each use (64-90% of peak instead of 100%).
// All row pointers share one negative counter.
#pragma once

#include "gemm/microkernel.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class V, int MR, int NV>
struct Accumulators {
  V v[MR][NV];

  __attribute__((always_inline)) void clear() {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) v[i][j] = V::zero();
    }
  }

  void begin(const GemmTile<typename V::T>& t) {
    if (t.accumulate) {
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) v[i][j] = V::load(t.c[i] + j * V::N);
      }
    } else {
      clear();
    }
  }

  // A null `bias` adds nothing.
  __attribute__((always_inline)) void finish(const typename V::T* bias, bool relu) {
    if (bias != nullptr) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) {
        const V add = V::load(bias + j * V::N);
#pragma GCC unroll 16
        for (int i = 0; i < MR; ++i) v[i][j] = v[i][j] + add;
      }
    }
    if (relu) {
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) v[i][j] = V::max(V::zero(), v[i][j]);
      }
    }
  }

  void end(const GemmTile<typename V::T>& t) {
    finish(t.bias, t.relu);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) v[i][j].store(t.c[i] + j * V::N);
    }
  }

  __attribute__((always_inline)) void load(const typename V::T* c, int64_t ld) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) v[i][j] = V::load(c + i * ld + j * V::N);
    }
  }

  __attribute__((always_inline)) void store(typename V::T* c, int64_t ld) const {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) v[i][j].store(c + i * ld + j * V::N);
    }
  }

  // One step: the outer product of MR elements of A and NR of B, which are copied where kCopies.
  template <bool kCopies = false, class Element>
  __attribute__((always_inline)) void step(const typename V::T* b, Element&& a, typename V::T* copy = nullptr) {
    V row[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      row[j] = V::load(b + j * V::N);
      row[j].pin();
      if constexpr (kCopies) row[j].store(copy + j * V::N);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const V x = V::broadcast(a(i));
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) v[i][j] = V::fma(x, row[j], v[i][j]);
    }
  }
};

// f(k) for begin <= k < end; with vectors of 64 bytes four at a time: of a loop of up to some 400 steps the processor
// then foresees the end, which makes convolutions of nine taps 1 to 2% faster, strided ones 6%, weight gradients of 1x1
// filters up to 8%. Eight at a time are no better; with vectors of 32 bytes some are 1% faster, some 2% slower.
template <class V, class F>
__attribute__((always_inline)) inline void for_steps(int64_t begin, int64_t end, F&& f) {
  int64_t k = begin;
  if constexpr (V::N * sizeof(typename V::T) == 64) {
    for (; k <= end - 4; k += 4) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) f(k + i);
    }
  }
  for (; k < end; ++k) f(k);
}

template <class V, int MR, int NV, bool kCopies>
__attribute__((always_inline)) inline void add_rows(Accumulators<V, MR, NV>& acc, const GemmTile<typename V::T>& t) {
  using T = typename V::T;
  const T* b = t.b;
  const int64_t ldb = t.ldb;
  T* copy = t.b_copy;
  const T* const* a = t.a;
  // A prefetch of address zero would look through the page tables: without `next`, of what is there already.
  const T* next = t.next != nullptr ? t.next : b;
  const int64_t next_step = t.next_step;
  for (int64_t tap = 0; tap < t.taps; ++tap, a += MR) {
    const T* row[MR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) row[i] = a[i] + t.a_offset + t.kc;
    for_steps<V>(-t.kc, 0, [&](int64_t k) __attribute__((always_inline)) {
      __builtin_prefetch(next, 0, 2);
      acc.template step<kCopies>(b, [&](int i) __attribute__((always_inline)) { return row[i] + k; }, copy);
      if constexpr (kCopies) copy += NV * V::N;
      b += ldb;
      next += next_step;
    });
  }
}

template <class V, int MR, int NV>
void gemm_rows_tile(const GemmTile<typename V::T>& t) {
  if constexpr (NV > 1) {
    if (t.columns <= (NV - 1) * V::N) return gemm_rows_tile<V, MR, NV - 1>(t);
  }
  Accumulators<V, MR, NV> acc;
  acc.begin(t);
  if (t.b_copy != nullptr) {
    add_rows<V, MR, NV, true>(acc, t);
  } else {
    add_rows<V, MR, NV, false>(acc, t);
  }
  acc.end(t);
}

template <class V, int MR, int NV, bool kCopies>
__attribute__((always_inline)) inline void add_panel(Accumulators<V, MR, NV>& acc, const GemmTile<typename V::T>& t) {
  using T = typename V::T;
  const T* b = t.b;
  const int64_t ldb = t.ldb;
  T* copy = t.b_copy;
  const T* a = t.a_panel;
  const int64_t a_step = t.a_step;
  const T* next = t.next != nullptr ? t.next : b;
  const int64_t next_step = t.next_step;
  for_steps<V>(0, t.taps * t.kc, [&](int64_t) __attribute__((always_inline)) {
    __builtin_prefetch(next, 0, 2);
    acc.template step<kCopies>(b, [&](int i) __attribute__((always_inline)) { return a + i; }, copy);
    if constexpr (kCopies) copy += NV * V::N;
    a += a_step;
    b += ldb;
    next += next_step;
  });
}

template <class V, int MR, int NV>
void gemm_panel_tile(const GemmTile<typename V::T>& t) {
  if constexpr (NV > 1) {
    if (t.columns <= (NV - 1) * V::N) return gemm_panel_tile<V, MR, NV - 1>(t);
  }
  Accumulators<V, MR, NV> acc;
  acc.begin(t);
  if (t.b_copy != nullptr) {
    add_panel<V, MR, NV, true>(acc, t);
  } else {
    add_panel<V, MR, NV, false>(acc, t);
  }
  acc.end(t);
}

template <class V, int kChains>
int64_t fma_rounds(int64_t rounds, typename V::T* sink) {
  using T = typename V::T;
  V acc[kChains];
#pragma GCC unroll 32
  for (int i = 0; i < kChains; ++i) acc[i] = V::set1(static_cast<T>(i));
  V x = V::set1(static_cast<T>(0.5));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 32
    for (int i = 0; i < kChains; ++i) {
      // What it overwrites is the addend, as FMLA does it: nothing is copied.
      acc[i] = V::fma(x, x, acc[i]);
      acc[i].pin();
    }
  }
  V sum = acc[0];
#pragma GCC unroll 32
  for (int i = 1; i < kChains; ++i) sum = sum + acc[i];
  sum.store_n(sink, 1);
  return rounds * kChains * V::N * 2;
}

}  // namespace
}  // namespace sixloop
