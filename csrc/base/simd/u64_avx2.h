// Unsigned 64-bit lanes as base/philox.h wants them: four.
#pragma once

#include <cstdint>

#include "base/simd/avx2.h"

namespace sixloop::avx2 {

struct U64 {
  static constexpr int N = 4;
  __m256i v;

  static U64 set1(uint64_t x) { return {_mm256_set1_epi64x(static_cast<long long>(x))}; }
  // In the order in which the unpacking of store_words makes them ascend.
  static U64 blocks(uint64_t first) { return {_mm256_add_epi64(set1(first).v, _mm256_setr_epi64x(0, 2, 1, 3))}; }
  static U64 mul(U64 a, U64 b) { return {_mm256_mul_epu32(a.v, b.v)}; }
  static U64 high(U64 a) { return {_mm256_srli_epi64(a.v, 32)}; }
  static U64 xor3(U64 a, U64 b, U64 c) { return {_mm256_xor_si256(_mm256_xor_si256(a.v, b.v), c.v)}; }
  static void store_words(uint32_t* words, U64 w0, U64 w1, U64 w2, U64 w3) {
    const __m256i w01 = _mm256_blend_epi32(w0.v, _mm256_slli_epi64(w1.v, 32), 0xAA);
    const __m256i w23 = _mm256_blend_epi32(w2.v, _mm256_slli_epi64(w3.v, 32), 0xAA);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), _mm256_unpacklo_epi64(w01, w23));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words + 8), _mm256_unpackhi_epi64(w01, w23));
  }
};

}  // namespace sixloop::avx2
