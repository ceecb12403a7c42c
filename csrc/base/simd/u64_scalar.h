// Unsigned 64-bit lanes as base/philox.h wants them: one.
#pragma once

#include <cstdint>

#include "base/simd/host_device.h"

namespace sixloop::scalar {

struct U64 {
  static constexpr int N = 1;
  uint64_t v;

  SIXLOOP_HD static U64 set1(uint64_t x) { return {x}; }
  SIXLOOP_HD static U64 blocks(uint64_t first) { return {first}; }
  SIXLOOP_HD static U64 mul(U64 a, U64 b) { return {(a.v & 0xFFFFFFFF) * (b.v & 0xFFFFFFFF)}; }
  SIXLOOP_HD static U64 high(U64 a) { return {a.v >> 32}; }
  SIXLOOP_HD static U64 xor3(U64 a, U64 b, U64 c) { return {a.v ^ b.v ^ c.v}; }
  SIXLOOP_HD static void store_words(uint32_t* words, U64 w0, U64 w1, U64 w2, U64 w3) {
    words[0] = static_cast<uint32_t>(w0.v);
    words[1] = static_cast<uint32_t>(w1.v);
    words[2] = static_cast<uint32_t>(w2.v);
    words[3] = static_cast<uint32_t>(w3.v);
  }
};

}  // namespace sixloop::scalar
