// Copies of a matrix's columns to panels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include "gemm/microkernel.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// kVectors: of one piece. Whole vectors are moved as long as they end within the matrix and their surplus lands where
// the next row goes; the last rows are moved exactly.
template <class V, int kVectors, class T = typename V::T>
void pack_pieces(const GemmPackArgs<T>& s) {
  // Rows ahead of the copy that are fetched: they may lie too far apart for the hardware to foresee.
  constexpr int64_t kAhead = 12;
  const int64_t surplus = kVectors * V::N - s.width;
  int64_t whole_rows = s.steps;
  if (surplus > 0) whole_rows = s.ld > 0 && surplus <= s.out_step ? s.steps - (surplus + s.ld - 1) / s.ld : 0;
  int64_t k = 0;
  for (; k < whole_rows; ++k) {
    const T* in = s.in + k * s.ld;
    T* out = s.out + k * s.out_step;
    for (int64_t p = 0; p < s.panels; ++p, in += s.width, out += s.panel_size) {
      __builtin_prefetch(in + kAhead * s.ld);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) V::load(in + j * V::N).store(out + j * V::N);
    }
  }
  for (; k < s.steps; ++k) {
    const T* in = s.in + k * s.ld;
    T* out = s.out + k * s.out_step;
    for (int64_t p = 0; p < s.panels; ++p, in += s.width, out += s.panel_size) {
      for (int64_t j = 0; j < s.width; j += V::N) {
        const int64_t live = s.width - j < V::N ? s.width - j : V::N;
        V::load_n(in + j, live).store_n(out + j, live);
      }
    }
  }
}

template <class V, class T = typename V::T>
void gemm_pack(const GemmPackArgs<T>& s) {
  switch ((s.width + V::N - 1) / V::N) {
    case 1:
      return pack_pieces<V, 1>(s);
    case 2:
      return pack_pieces<V, 2>(s);
    case 3:
      return pack_pieces<V, 3>(s);
    case 4:
      return pack_pieces<V, 4>(s);
    default:
      for (int64_t k = 0; k < s.steps; ++k) {
        for (int64_t p = 0; p < s.panels; ++p) {
          for (int64_t i = 0; i < s.width; ++i) {
            s.out[p * s.panel_size + k * s.out_step + i] = s.in[k * s.ld + p * s.width + i];
          }
        }
      }
  }
}

// Squares of V::N elements, transposed in registers.
template <class V, class T = typename V::T>
void gemm_transpose(const GemmTransposeArgs<T>& s) {
  // A line of memory each way stays in the first-level cache until it is used up.
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t begin = 0; begin < s.columns; begin += kLine) {
    const int64_t end = begin + kLine < s.columns ? begin + kLine : s.columns;
    for (int64_t i = 0; i < s.rows; i += V::N) {
      // The last squares end with the matrix: what they share with those before them they write again.
      const int64_t row = i + V::N <= s.rows ? i : s.rows - V::N;
      for (int64_t j = begin; j < end; j += V::N) {
        const int64_t column = j + V::N <= s.columns ? j : s.columns - V::N;
        const T* from = s.in + row * s.ld_in + column;
        T* to = s.out + column * s.ld_out + row;
        V square[V::N];
#pragma GCC unroll 16
        for (int r = 0; r < V::N; ++r) square[r] = V::load(from + r * s.ld_in);
        V::transpose(square);
#pragma GCC unroll 16
        for (int r = 0; r < V::N; ++r) square[r].store(to + r * s.ld_out);
      }
    }
  }
}

}  // namespace
}  // namespace sixloop
