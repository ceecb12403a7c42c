// Transposition of matrices in memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/thread_pool.h"

namespace sixloop {
namespace transposition {

// Registers of 16 bytes, which compilers for every processor have.
using Floats __attribute__((vector_size(16))) = float;
using Doubles __attribute__((vector_size(16))) = double;
using FloatPlaces __attribute__((vector_size(16))) = int32_t;
using DoublePlaces __attribute__((vector_size(16))) = int64_t;

#if defined(__clang__)
#define SIXLOOP_PICK(x, y, Places, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define SIXLOOP_PICK(x, y, Places, ...) __builtin_shuffle(x, y, Places{__VA_ARGS__})
#endif

inline void block(const float* from, int64_t ld_from, float* to, int64_t ld_to) {
  Floats row[4];
  for (int i = 0; i < 4; ++i) std::memcpy(&row[i], from + i * ld_from, 16);
  const Floats low_02 = SIXLOOP_PICK(row[0], row[2], FloatPlaces, 0, 4, 1, 5);
  const Floats high_02 = SIXLOOP_PICK(row[0], row[2], FloatPlaces, 2, 6, 3, 7);
  const Floats low_13 = SIXLOOP_PICK(row[1], row[3], FloatPlaces, 0, 4, 1, 5);
  const Floats high_13 = SIXLOOP_PICK(row[1], row[3], FloatPlaces, 2, 6, 3, 7);
  const Floats columns[4] = {
      SIXLOOP_PICK(low_02, low_13, FloatPlaces, 0, 4, 1, 5), SIXLOOP_PICK(low_02, low_13, FloatPlaces, 2, 6, 3, 7),
      SIXLOOP_PICK(high_02, high_13, FloatPlaces, 0, 4, 1, 5), SIXLOOP_PICK(high_02, high_13, FloatPlaces, 2, 6, 3, 7)};
  for (int j = 0; j < 4; ++j) std::memcpy(to + j * ld_to, &columns[j], 16);
}

inline void block(const double* from, int64_t ld_from, double* to, int64_t ld_to) {
  Doubles row[2];
  for (int i = 0; i < 2; ++i) std::memcpy(&row[i], from + i * ld_from, 16);
  const Doubles columns[2] = {SIXLOOP_PICK(row[0], row[1], DoublePlaces, 0, 2),
                              SIXLOOP_PICK(row[0], row[1], DoublePlaces, 1, 3)};
  for (int j = 0; j < 2; ++j) std::memcpy(to + j * ld_to, &columns[j], 16);
}

#undef SIXLOOP_PICK

}  // namespace transposition

// to[j * ld_to + i] = from[i * ld_from + j], 0 <= i < rows, 0 <= j < columns.
template <class T>
void transpose(const T* from, int64_t ld_from, int64_t rows, int64_t columns, T* to, int64_t ld_to) {
  // A line of memory each way stays in the first-level cache until it is used up.
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  constexpr int64_t kSide = 16 / static_cast<int64_t>(sizeof(T));
  if (rows < kSide || columns < kSide) {
    for (int64_t j = 0; j < columns; ++j) {
      for (int64_t i = 0; i < rows; ++i) to[j * ld_to + i] = from[i * ld_from + j];
    }
    return;
  }
  for (int64_t first = 0; first < columns; first += kLine) {
    for (int64_t i = 0; i < rows; i += kSide) {
      // The last blocks end with the matrix: what they share with those before them they write again.
      const int64_t row = std::min(i, rows - kSide);
      for (int64_t j = first; j < std::min(columns, first + kLine); j += kSide) {
        const int64_t column = std::min(j, columns - kSide);
        transposition::block(from + row * ld_from + column, ld_from, to + column * ld_to + row, ld_to);
      }
    }
  }
}

}  // namespace sixloop
