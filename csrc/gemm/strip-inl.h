// The strip kernel, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include <cstring>

#include "gemm/microkernel-inl.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// Where a strip's rows of A begin, one after the other.
template <class T>
class StripRows {
 public:
  explicit StripRows(const GemmStripArgs<T>& args)
      : s_(args), row_(args.a), in_line_(args.first_in_line), line_(args.first_line) {}

  const T* row() const { return row_; }
  // How many rows lie at equal distances from here.
  int64_t straight() const { return s_.line_rows - in_line_; }

  void skip(int64_t count) {
    row_ += count * s_.a_step;
    in_line_ += count;
    while (in_line_ >= s_.line_rows) next_line();
  }

 private:
  void next_line() {
    in_line_ -= s_.line_rows;
    row_ += s_.a_line - s_.line_rows * s_.a_step;
    if (++line_ < s_.image_lines) return;
    line_ = 0;
    row_ += s_.a_image;
  }

  const GemmStripArgs<T>& s_;
  const T* row_;
  int64_t in_line_, line_;
};

// One tile of a strip, of which `live` columns are wanted. The panel's rows are those of the kernel's NR columns.
// kStraight: the rows lie at equal distances.
template <class V, int MR, int NV, bool kFetches, bool kStraight>
__attribute__((always_inline)) inline void strip_tile(const GemmStripArgs<typename V::T>& s,
                                                      const typename V::T* const (&row)[MR], const typename V::T* b,
                                                      const typename V::T* bias, typename V::T* c, int64_t live,
                                                      const typename V::T*& next) {
  using T = typename V::T;
  constexpr int64_t kNr = NV * V::N;
  // More pointers leave no general registers for the rest of the loop: of 14 five were read from the stack in each
  // step, and of 8 beside a prefetch one from a vector register, by a unit that multiplies.
  constexpr int kMostPointers = kFetches ? 6 : 10;
  constexpr int kPointers = kStraight && MR > kMostPointers ? MR / 2 : MR;
  const int64_t ldb = s.ldb;
  const int64_t skip = s.a_tap - s.run;
  const int64_t next_step = s.next_step;
  const int64_t half = kPointers * s.a_step;
  alignas(64) T edge[MR * kNr];
  const size_t bytes = static_cast<size_t>(live) * sizeof(T);
  Accumulators<V, MR, NV> acc;
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
      acc.step(b, [&](int i) __attribute__((always_inline)) {
        return i < kPointers ? row[i] + k : row[i - kPointers] + (k + half);
      });
    }
  }
  acc.finish(bias, s.relu);
  if (live >= kNr) {
    acc.store(c, s.ldc);
  } else {
    acc.store(edge, kNr);
    for (int i = 0; i < MR; ++i) std::memcpy(c + i * s.ldc, edge + i * kNr, bytes);
  }
}

// All panels of one tile of rows, `first` of the strip.
template <class V, int MR, int NV, bool kFetches, bool kStraight>
__attribute__((always_inline)) inline void strip_panels(const GemmStripArgs<typename V::T>& s,
                                                        const typename V::T* const (&row)[MR], int64_t first,
                                                        const typename V::T*& next) {
  using T = typename V::T;
  constexpr int64_t kNr = NV * V::N;
  const T* panel = s.b;
  for (int64_t j = 0; j < s.columns; j += kNr, panel += s.b_panel) {
    T* c = s.c + first * s.ldc + j;
    const int64_t live = s.columns - j;
    const T* bias = s.bias == nullptr ? nullptr : s.bias + j;
    if constexpr (NV > 2) {
      if (live > V::N && live <= 2 * V::N) {
        strip_tile<V, MR, 2, kFetches, kStraight>(s, row, panel, bias, c, live, next);
        continue;
      }
    }
    if constexpr (NV > 1) {
      if (live <= V::N) {
        strip_tile<V, MR, 1, kFetches, kStraight>(s, row, panel, bias, c, live, next);
        continue;
      }
    }
    strip_tile<V, MR, NV, kFetches, kStraight>(s, row, panel, bias, c, live, next);
  }
}

// `tiles` tiles, whose rows all lie at equal distances, `first` being the first row's number in the strip. Returns what
// is to be fetched next. This and bent_tile() are functions of their own, so that the compiler keeps accumulators and
// pointers in registers.
template <class V, int MR, int NV, bool kFetches>
__attribute__((noinline)) const typename V::T* straight_tiles(const GemmStripArgs<typename V::T>& s, int64_t tiles,
                                                              const typename V::T* a, int64_t first,
                                                              const typename V::T* next) {
  for (; tiles > 0; --tiles, a += MR * s.a_step, first += MR) {
    const typename V::T* row[MR];
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) row[i] = a + i * s.a_step;
    strip_panels<V, MR, NV, kFetches, true>(s, row, first, next);
  }
  return next;
}

// One tile whose rows lie in several lines.
template <class V, int MR, int NV, bool kFetches>
__attribute__((noinline)) const typename V::T* bent_tile(const GemmStripArgs<typename V::T>& s,
                                                         StripRows<typename V::T> place, int64_t first,
                                                         const typename V::T* next) {
  const typename V::T* places[MR];
  for (int i = 0; i < MR; ++i, place.skip(1)) places[i] = place.row();
  const typename V::T* row[MR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) row[i] = places[i];
  strip_panels<V, MR, NV, kFetches, false>(s, row, first, next);
  return next;
}

template <class V, int MR, int NV, bool kFetches>
void strip_tiles(const GemmStripArgs<typename V::T>& s) {
  const typename V::T* next = s.next;
  StripRows<typename V::T> place(s);
  for (int64_t first = 0;;) {
    const int64_t left = s.rows - first;
    const int64_t straight = (place.straight() < left ? place.straight() : left) / MR;
    if (straight > 0) {
      next = straight_tiles<V, MR, NV, kFetches>(s, straight, place.row(), first, next);
      place.skip((straight - 1) * MR);
      first += (straight - 1) * MR;
    } else {
      next = bent_tile<V, MR, NV, kFetches>(s, place, first, next);
    }
    // The last tile ends with the last row: what it shares with the tile before it computes again, to the same bits.
    const int64_t step = s.rows - MR - first < MR ? s.rows - MR - first : MR;
    if (step <= 0) return;
    place.skip(step);
    first += step;
  }
}

template <class V, int MR, int NV>
void gemm_strip(const GemmStripArgs<typename V::T>& s) {
  if (s.next != nullptr) return strip_tiles<V, MR, NV, true>(s);
  strip_tiles<V, MR, NV, false>(s);
}

}  // namespace
}  // namespace sixloop
