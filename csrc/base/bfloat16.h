// A 16-bit number with the exponent of float32 and 8 of its 24 digits: it widens exactly to float32 and is rounded from
// there, to nearest, ties to even. Tensors of it lie on the GPU alone; nothing computes in it, see docs/arithmetic.md.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/simd/host_device.h"

namespace sixloop {

struct BFloat16 {
  uint16_t bits;

  BFloat16() = default;
  // Infinity from 2^128 - 2^119 on; NaN becomes the one NaN that the hardware's conversion makes.
  SIXLOOP_HD explicit BFloat16(float x) : bits(round(x)) {}
  // Rounded once.
  SIXLOOP_HD explicit BFloat16(double x) : bits(round(with_sticky_bit(x))) {}
  SIXLOOP_HD static BFloat16 from_bits(uint16_t bits) {
    BFloat16 b;
    b.bits = bits;
    return b;
  }

  SIXLOOP_HD operator float() const {
    const uint32_t wide = uint32_t{bits} << 16;
    float x;
    std::memcpy(&x, &wide, sizeof x);
    return x;
  }

 private:
  static constexpr uint16_t kNan = 0x7fff;

  SIXLOOP_HD static uint16_t round(float x) {
#if defined(__CUDA_ARCH__)
    uint16_t rounded;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(x));
    return rounded;
#else
    if (x != x) return kNan;
    uint32_t wide;
    std::memcpy(&wide, &x, sizeof wide);
    return static_cast<uint16_t>((wide + 0x7fff + (wide >> 16 & 1)) >> 16);
#endif
  }

  // x cut to float32, with the last bit set where something was cut off: from there a second rounding to fewer digits
  // gives what one rounding of x gives.
  SIXLOOP_HD static float with_sticky_bit(double x) {
    const float nearest = static_cast<float>(x);
    const double back = static_cast<double>(nearest);
    if (back == x || x != x) return nearest;
    uint32_t bits;
    std::memcpy(&bits, &nearest, sizeof bits);
    if ((back < 0 ? -back : back) > (x < 0 ? -x : x)) --bits;
    bits |= 1;
    float cut;
    std::memcpy(&cut, &bits, sizeof cut);
    return cut;
  }
};
static_assert(sizeof(BFloat16) == 2);

}  // namespace sixloop
