// Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
// bijection of 128-bit counters under a 64-bit key. A random number is a function of (seed, purpose, step, element)
// alone, so no thread, vector length or order of computation can change it.
//
//     key      seed, low word first
//     counter  block low, block high, purpose, step
//
// A block is four words of 32 bits, w0 ... w3. Element i of a 64-bit stream is w0 + 2^32 w1 of block i / 2 where i is
// even, w2 + 2^32 w3 where it is odd; element i of a 32-bit stream is word i % 4 of block i / 4.
#pragma once

#include <cstdint>

#include "base/simd/host_device.h"

namespace sixloop {

struct PhiloxKey {
  uint64_t seed;
  uint32_t purpose;
  uint32_t step;
  // On the GPU: where the step stands when the kernel runs, in place of `step`; a whole number. Null: nowhere.
  const double* live_step = nullptr;
};

namespace {  // each ISA's file compiles a copy of its own

// Computes U::N consecutive blocks in order. U holds N unsigned 64-bit lanes: set1, blocks (first + the block of each
// lane), mul (of the low halves), high (shift right by 32), xor3 and store_words, which takes the low halves of
// four U as w0 ... w3. What is left in the high halves never reaches a result: mul and store_words drop it.
template <class U>
SIXLOOP_HD void philox_blocks(const PhiloxKey& key, uint64_t block, uint32_t* words) {
  constexpr int kRounds = 10;
  const U m0 = U::set1(0xD2511F53), m1 = U::set1(0xCD9E8D57);
  uint32_t k0 = static_cast<uint32_t>(key.seed);
  uint32_t k1 = static_cast<uint32_t>(key.seed >> 32);
  U c0 = U::blocks(block);
  U c1 = U::high(c0);
  U c2 = U::set1(key.purpose);
  U c3 = U::set1(key.step);
  for (int round = 0; round < kRounds; ++round) {
    const U p0 = U::mul(m0, c0);
    const U p1 = U::mul(m1, c2);
    c0 = U::xor3(U::high(p1), c1, U::set1(k0));
    c1 = p1;
    c2 = U::xor3(U::high(p0), c3, U::set1(k1));
    c3 = p0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  U::store_words(words, c0, c1, c2, c3);
}

}  // namespace
}  // namespace sixloop
