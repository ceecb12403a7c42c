// Unsigned 64-bit lanes as base/philox.h wants them: eight.
#pragma once

#include <cstdint>

#include "base/simd/avx512.h"

namespace sixloop::avx512 {

struct U64 {
  static constexpr int N = 8;
  __m512i v;

  static U64 set1(uint64_t x) { return {_mm512_set1_epi64(static_cast<long long>(x))}; }
  // In the order in which the unpacking of store_words makes them ascend.
  static U64 blocks(uint64_t first) {
    return {_mm512_add_epi64(set1(first).v, _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7))};
  }
  static U64 mul(U64 a, U64 b) { return {_mm512_mul_epu32(a.v, b.v)}; }
  static U64 high(U64 a) { return {_mm512_srli_epi64(a.v, 32)}; }
  static U64 xor3(U64 a, U64 b, U64 c) { return {_mm512_ternarylogic_epi64(a.v, b.v, c.v, 0x96)}; }
  static void store_words(uint32_t* words, U64 w0, U64 w1, U64 w2, U64 w3) {
    constexpr __mmask16 kOdd = 0xAAAA;
    const __m512i w01 = _mm512_mask_blend_epi32(kOdd, w0.v, _mm512_slli_epi64(w1.v, 32));
    const __m512i w23 = _mm512_mask_blend_epi32(kOdd, w2.v, _mm512_slli_epi64(w3.v, 32));
    _mm512_storeu_si512(words, _mm512_unpacklo_epi64(w01, w23));
    _mm512_storeu_si512(words + 16, _mm512_unpackhi_epi64(w01, w23));
  }
};

}  // namespace sixloop::avx512
