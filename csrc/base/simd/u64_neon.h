// Unsigned 64-bit lanes as base/philox.h wants them: two.
#pragma once

#include <cstdint>

#include "base/simd/neon.h"

namespace sixloop::neon {

struct U64 {
  static constexpr int N = 2;
  uint64x2_t v;

  static U64 set1(uint64_t x) { return {vdupq_n_u64(x)}; }
  static U64 blocks(uint64_t first) { return {vcombine_u64(vdup_n_u64(first), vdup_n_u64(first + 1))}; }
  static U64 mul(U64 a, U64 b) { return {vmull_u32(vmovn_u64(a.v), vmovn_u64(b.v))}; }
  static U64 high(U64 a) { return {vshrq_n_u64(a.v, 32)}; }
  static U64 xor3(U64 a, U64 b, U64 c) { return {veorq_u64(veorq_u64(a.v, b.v), c.v)}; }
  static void store_words(uint32_t* words, U64 w0, U64 w1, U64 w2, U64 w3) {
    const uint64x2_t w01 = vsliq_n_u64(w0.v, w1.v, 32);
    const uint64x2_t w23 = vsliq_n_u64(w2.v, w3.v, 32);
    vst1q_u32(words, vreinterpretq_u32_u64(vzip1q_u64(w01, w23)));
    vst1q_u32(words + 4, vreinterpretq_u32_u64(vzip2q_u64(w01, w23)));
  }
};

}  // namespace sixloop::neon
