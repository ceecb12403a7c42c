// One-lane vectors: the reference that every other instruction set must match bit for bit, and the
// description of the interface that all of them share.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/simd/host_device.h"

namespace sixloop::scalar {

template <class Float, class Bits, int kMantissaBits, int kBias>
struct Vec {
  using T = Float;
  static constexpr int N = 1;  // lanes
  struct Mask {
    bool m;
    SIXLOOP_HD friend Mask operator&(Mask a, Mask b) { return {a.m && b.m}; }
    SIXLOOP_HD friend Mask operator|(Mask a, Mask b) { return {a.m || b.m}; }
  };

  Float v;

  SIXLOOP_HD static Vec zero() { return {Float{0}}; }
  SIXLOOP_HD static Vec set1(Float x) { return {x}; }
  SIXLOOP_HD static Vec load(const Float* p) { return {*p}; }
  // The first n lanes (0 <= n <= N); the others are zero and their memory is not touched.
  SIXLOOP_HD static Vec load_n(const Float* p, int64_t n) { return {n > 0 ? *p : Float{0}}; }
  // *p in all lanes, through an instruction of its own (see avx2.h).
  SIXLOOP_HD static Vec broadcast(const Float* p) { return {*p}; }
  SIXLOOP_HD void store(Float* p) const { *p = v; }
  SIXLOOP_HD void store_n(Float* p, int64_t n) const {
    if (n > 0) *p = v;
  }
  // Lanes that are whole numbers in 0..255, as N bytes.
  SIXLOOP_HD static Vec load_bytes(const uint8_t* p) { return {static_cast<Float>(*p)}; }
  SIXLOOP_HD void store_bytes(uint8_t* p) const { *p = static_cast<uint8_t>(v); }
  // Keeps the compiler from folding a load into each of its uses (see avx2.h).
  SIXLOOP_HD void pin() {}

  SIXLOOP_HD friend Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  SIXLOOP_HD friend Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  SIXLOOP_HD friend Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  SIXLOOP_HD friend Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  // a * b + c and c - a * b, rounded once.
  SIXLOOP_HD static Vec fma(Vec a, Vec b, Vec c) { return {fused(a.v, b.v, c.v)}; }
  SIXLOOP_HD static Vec fnma(Vec a, Vec b, Vec c) { return {fused(-a.v, b.v, c.v)}; }
  // The second operand where either is NaN or both are zeros, as x86's MAXPS and MINPS.
  SIXLOOP_HD static Vec max(Vec a, Vec b) { return {opaque(a.v > b.v) ? a.v : b.v}; }
  SIXLOOP_HD static Vec min(Vec a, Vec b) { return {opaque(a.v < b.v) ? a.v : b.v}; }
  SIXLOOP_HD static Vec sqrt(Vec a) { return {root(a.v)}; }
  SIXLOOP_HD static Vec abs(Vec a) { return from_bits(bits(a) & ~kSign); }
  SIXLOOP_HD static Vec neg(Vec a) { return from_bits(bits(a) ^ kSign); }
  // |a| with the sign of b.
  SIXLOOP_HD static Vec copysign(Vec a, Vec b) { return from_bits((bits(a) & ~kSign) | (bits(b) & kSign)); }

  SIXLOOP_HD static Mask lt(Vec a, Vec b) { return {a.v < b.v}; }
  SIXLOOP_HD static Mask le(Vec a, Vec b) { return {a.v <= b.v}; }
  SIXLOOP_HD static Mask eq(Vec a, Vec b) { return {a.v == b.v}; }
  SIXLOOP_HD static Mask is_nan(Vec a) { return {a.v != a.v}; }
  SIXLOOP_HD static Vec select(Mask m, Vec yes, Vec no) { return opaque(m.m) ? yes : no; }
  // a, or 0 in the other lanes: where selecting costs three instructions (AVX2) this is one.
  SIXLOOP_HD static Vec where(Mask m, Vec a) { return from_bits(m.m ? bits(a) : Bits{0}); }
  SIXLOOP_HD static bool any(Mask m) { return m.m; }
  // Lane j of rows[i] changes places with lane i of rows[j].
  SIXLOOP_HD static void transpose(Vec (&)[1]) {}

  // The nearest whole number, ties to even. Exact for |a| < 2^(kMantissaBits - 1); larger values must not come.
  SIXLOOP_HD static Vec round(Vec a) {
    const Vec shifted = a + set1(kRound);
    return shifted - set1(kRound);
  }
  // 2^k for whole k in the range of normal exponents.
  SIXLOOP_HD static Vec pow2(Vec k) { return from_bits(bits(k + set1(kRound + Float{kBias})) << kMantissaBits); }
  // For positive normal a: the whole e with 2^e <= a < 2^(e+1), and a / 2^e in [1, 2).
  SIXLOOP_HD static Vec exponent(Vec a) {
    return from_bits((bits(a) >> kMantissaBits) | kWhole) - set1(kWholeValue + Float{kBias});
  }
  SIXLOOP_HD static Vec mantissa(Vec a) {
    return from_bits((bits(a) & kMantissaMask) | (Bits{kBias} << kMantissaBits));
  }

 private:
  static constexpr Bits kSign = Bits{1} << (8 * sizeof(Bits) - 1);
  static constexpr Bits kMantissaMask = (Bits{1} << kMantissaBits) - 1;
  // 1.5 * 2^mantissa bits: adding it leaves the whole part of a number in the low bits.
  static constexpr Float kRound = Float(Bits{3} << (kMantissaBits - 1));
  // 2^mantissa bits, as bits and as a value: a small whole number is OR-ed into its low bits.
  static constexpr Bits kWhole = Bits{kBias + kMantissaBits} << kMantissaBits;
  static constexpr Float kWholeValue = Float(Bits{1} << kMantissaBits);

  // Of `0 > x ? 0 : x` Clang for AArch64 would make FMAX, which is +0 for x = -0, could it see the comparison.
  SIXLOOP_HD static bool opaque(bool m) {
#if defined(__clang__) && defined(__aarch64__)
    asm("" : "+r"(m));
#endif
    return m;
  }
  SIXLOOP_HD static Bits bits(Vec a) {
    Bits b;
    std::memcpy(&b, &a.v, sizeof b);
    return b;
  }
  SIXLOOP_HD static Vec from_bits(Bits b) {
    Vec a;
    std::memcpy(&a.v, &b, sizeof b);
    return a;
  }
#if defined(__CUDA_ARCH__)
#define SIXLOOP_ON_GPU(gpu, cpu) gpu
#else
#define SIXLOOP_ON_GPU(gpu, cpu) cpu
#endif
  SIXLOOP_HD static float fused(float a, float b, float c) {
    return SIXLOOP_ON_GPU(__fmaf_rn(a, b, c), __builtin_fmaf(a, b, c));
  }
  SIXLOOP_HD static double fused(double a, double b, double c) {
    return SIXLOOP_ON_GPU(__fma_rn(a, b, c), __builtin_fma(a, b, c));
  }
  SIXLOOP_HD static float root(float a) { return SIXLOOP_ON_GPU(__fsqrt_rn(a), __builtin_sqrtf(a)); }
  SIXLOOP_HD static double root(double a) { return SIXLOOP_ON_GPU(__dsqrt_rn(a), __builtin_sqrt(a)); }
#undef SIXLOOP_ON_GPU
};

using F32 = Vec<float, uint32_t, 23, 127>;
using F64 = Vec<double, uint64_t, 52, 1023>;

}  // namespace sixloop::scalar
