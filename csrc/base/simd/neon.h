// AArch64's Advanced SIMD. The interface is described in scalar.h. Include only from files compiled for NEON.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace sixloop::neon {

struct F32 {
  using T = float;
  static constexpr int N = 4;
  struct Mask {
    uint32x4_t m;
    friend Mask operator&(Mask a, Mask b) { return {vandq_u32(a.m, b.m)}; }
    friend Mask operator|(Mask a, Mask b) { return {vorrq_u32(a.m, b.m)}; }
  };

  float32x4_t v;

  static F32 zero() { return {vdupq_n_f32(0)}; }
  static F32 set1(T x) { return {vdupq_n_f32(x)}; }
  static F32 load(const T* p) { return {vld1q_f32(p)}; }
  static F32 load_n(const T* p, int64_t n) {
    switch (n) {
      case 0:
        return zero();
      case 1:
        return {vld1q_lane_f32(p, zero().v, 0)};
      case 2:
        return {vcombine_f32(vld1_f32(p), vdup_n_f32(0))};
      case 3:
        return {vcombine_f32(vld1_f32(p), vld1_lane_f32(p + 2, vdup_n_f32(0), 0))};
      default:
        return load(p);
    }
  }
  // A scalar load leaves the element where FMLA by element takes it. Compilers may make LD1R of an intrinsic, which
  // costs the arithmetic units an operation more.
  static F32 broadcast(const T* p) {
    T x;
    asm("ldr %s0, %1" : "=w"(x) : "m"(*p));
    return set1(x);
  }
  void store(T* p) const { vst1q_f32(p, v); }
  void store_n(T* p, int64_t n) const {
    switch (n) {
      case 0:
        return;
      case 1:
        return vst1q_lane_f32(p, v, 0);
      case 2:
        return vst1_f32(p, vget_low_f32(v));
      case 3:
        vst1_f32(p, vget_low_f32(v));
        return vst1q_lane_f32(p + 2, v, 2);
      default:
        return store(p);
    }
  }
  static F32 load_bytes(const uint8_t* p) {
    uint32_t bytes;
    std::memcpy(&bytes, p, sizeof bytes);
    const uint16x8_t words = vmovl_u8(vcreate_u8(bytes));
    return {vcvtq_f32_u32(vmovl_u16(vget_low_u16(words)))};
  }
  void store_bytes(uint8_t* p) const {
    const uint16x4_t words = vmovn_u32(vcvtq_u32_f32(v));
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    const uint32_t four = vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
    std::memcpy(p, &four, sizeof four);
  }
  void pin() { asm("" : "+w"(v)); }

  friend F32 operator+(F32 a, F32 b) { return {vaddq_f32(a.v, b.v)}; }
  friend F32 operator-(F32 a, F32 b) { return {vsubq_f32(a.v, b.v)}; }
  friend F32 operator*(F32 a, F32 b) { return {vmulq_f32(a.v, b.v)}; }
  friend F32 operator/(F32 a, F32 b) { return {vdivq_f32(a.v, b.v)}; }
  static F32 fma(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  static F32 fnma(F32 a, F32 b, F32 c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
  // Not FMAX and FMIN: those take NaN from either side and order zeros.
  static F32 max(F32 a, F32 b) { return select(lt(b, a), a, b); }
  static F32 min(F32 a, F32 b) { return select(lt(a, b), a, b); }
  static F32 sqrt(F32 a) { return {vsqrtq_f32(a.v)}; }
  static F32 abs(F32 a) { return {vabsq_f32(a.v)}; }
  static F32 neg(F32 a) { return {vnegq_f32(a.v)}; }
  static F32 copysign(F32 a, F32 b) { return {vbslq_f32(vdupq_n_u32(0x80000000), b.v, a.v)}; }

  static Mask lt(F32 a, F32 b) { return {vcltq_f32(a.v, b.v)}; }
  static Mask le(F32 a, F32 b) { return {vcleq_f32(a.v, b.v)}; }
  static Mask eq(F32 a, F32 b) { return {vceqq_f32(a.v, b.v)}; }
  static Mask is_nan(F32 a) { return {vmvnq_u32(vceqq_f32(a.v, a.v))}; }
  // Of a selection between zero and what was compared with it Clang would make FMAX, could it see the comparison.
  static F32 select(Mask m, F32 yes, F32 no) {
    asm("" : "+w"(m.m));
    return {vbslq_f32(m.m, yes.v, no.v)};
  }
  static F32 where(Mask m, F32 a) { return {vreinterpretq_f32_u32(vandq_u32(m.m, vreinterpretq_u32_f32(a.v)))}; }
  static bool any(Mask m) { return vmaxvq_u32(m.m) != 0; }
  static void transpose(F32 (&rows)[4]) {
    const float32x4_t low_02 = vzip1q_f32(rows[0].v, rows[2].v), high_02 = vzip2q_f32(rows[0].v, rows[2].v);
    const float32x4_t low_13 = vzip1q_f32(rows[1].v, rows[3].v), high_13 = vzip2q_f32(rows[1].v, rows[3].v);
    rows[0].v = vzip1q_f32(low_02, low_13);
    rows[1].v = vzip2q_f32(low_02, low_13);
    rows[2].v = vzip1q_f32(high_02, high_13);
    rows[3].v = vzip2q_f32(high_02, high_13);
  }

  static F32 round(F32 a) { return (a + set1(kRound)) - set1(kRound); }
  static F32 pow2(F32 k) { return from_bits(vshlq_n_u32(bits(k + set1(kRound + 127.0f)), 23)); }
  static F32 exponent(F32 a) {
    const uint32x4_t whole = vorrq_u32(vshrq_n_u32(bits(a), 23), vdupq_n_u32(0x4b000000));
    return from_bits(whole) - set1(8388608.0f + 127.0f);
  }
  static F32 mantissa(F32 a) {
    const uint32x4_t low = vandq_u32(bits(a), vdupq_n_u32(0x007fffff));
    return from_bits(vorrq_u32(low, vdupq_n_u32(0x3f800000)));
  }

 private:
  static constexpr T kRound = 12582912.0f;  // 1.5 * 2^23

  static uint32x4_t bits(F32 a) { return vreinterpretq_u32_f32(a.v); }
  static F32 from_bits(uint32x4_t b) { return {vreinterpretq_f32_u32(b)}; }
};

struct F64 {
  using T = double;
  static constexpr int N = 2;
  struct Mask {
    uint64x2_t m;
    friend Mask operator&(Mask a, Mask b) { return {vandq_u64(a.m, b.m)}; }
    friend Mask operator|(Mask a, Mask b) { return {vorrq_u64(a.m, b.m)}; }
  };

  float64x2_t v;

  static F64 zero() { return {vdupq_n_f64(0)}; }
  static F64 set1(T x) { return {vdupq_n_f64(x)}; }
  static F64 load(const T* p) { return {vld1q_f64(p)}; }
  static F64 load_n(const T* p, int64_t n) {
    switch (n) {
      case 0:
        return zero();
      case 1:
        return {vld1q_lane_f64(p, zero().v, 0)};
      default:
        return load(p);
    }
  }
  // As in F32.
  static F64 broadcast(const T* p) {
    T x;
    asm("ldr %d0, %1" : "=w"(x) : "m"(*p));
    return set1(x);
  }
  void store(T* p) const { vst1q_f64(p, v); }
  void store_n(T* p, int64_t n) const {
    switch (n) {
      case 0:
        return;
      case 1:
        return vst1q_lane_f64(p, v, 0);
      default:
        return store(p);
    }
  }
  static F64 load_bytes(const uint8_t* p) {
    const double low = p[0], high = p[1];
    return {vcombine_f64(vdup_n_f64(low), vdup_n_f64(high))};
  }
  void store_bytes(uint8_t* p) const {
    p[0] = static_cast<uint8_t>(vgetq_lane_f64(v, 0));
    p[1] = static_cast<uint8_t>(vgetq_lane_f64(v, 1));
  }
  void pin() { asm("" : "+w"(v)); }

  friend F64 operator+(F64 a, F64 b) { return {vaddq_f64(a.v, b.v)}; }
  friend F64 operator-(F64 a, F64 b) { return {vsubq_f64(a.v, b.v)}; }
  friend F64 operator*(F64 a, F64 b) { return {vmulq_f64(a.v, b.v)}; }
  friend F64 operator/(F64 a, F64 b) { return {vdivq_f64(a.v, b.v)}; }
  static F64 fma(F64 a, F64 b, F64 c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
  static F64 fnma(F64 a, F64 b, F64 c) { return {vfmsq_f64(c.v, a.v, b.v)}; }
  static F64 max(F64 a, F64 b) { return select(lt(b, a), a, b); }
  static F64 min(F64 a, F64 b) { return select(lt(a, b), a, b); }
  static F64 sqrt(F64 a) { return {vsqrtq_f64(a.v)}; }
  static F64 abs(F64 a) { return {vabsq_f64(a.v)}; }
  static F64 neg(F64 a) { return {vnegq_f64(a.v)}; }
  static F64 copysign(F64 a, F64 b) { return {vbslq_f64(vdupq_n_u64(0x8000000000000000), b.v, a.v)}; }

  static Mask lt(F64 a, F64 b) { return {vcltq_f64(a.v, b.v)}; }
  static Mask le(F64 a, F64 b) { return {vcleq_f64(a.v, b.v)}; }
  static Mask eq(F64 a, F64 b) { return {vceqq_f64(a.v, b.v)}; }
  static Mask is_nan(F64 a) { return {vreinterpretq_u64_u32(vmvnq_u32(vreinterpretq_u32_u64(vceqq_f64(a.v, a.v))))}; }
  // As in F32.
  static F64 select(Mask m, F64 yes, F64 no) {
    asm("" : "+w"(m.m));
    return {vbslq_f64(m.m, yes.v, no.v)};
  }
  static F64 where(Mask m, F64 a) { return {vreinterpretq_f64_u64(vandq_u64(m.m, vreinterpretq_u64_f64(a.v)))}; }
  static bool any(Mask m) { return vmaxvq_u32(vreinterpretq_u32_u64(m.m)) != 0; }
  static void transpose(F64 (&rows)[2]) {
    const float64x2_t first = vzip1q_f64(rows[0].v, rows[1].v);
    rows[1].v = vzip2q_f64(rows[0].v, rows[1].v);
    rows[0].v = first;
  }

  static F64 round(F64 a) { return (a + set1(kRound)) - set1(kRound); }
  static F64 pow2(F64 k) { return from_bits(vshlq_n_u64(bits(k + set1(kRound + 1023.0)), 52)); }
  static F64 exponent(F64 a) {
    const uint64x2_t whole = vorrq_u64(vshrq_n_u64(bits(a), 52), vdupq_n_u64(0x4330000000000000));
    return from_bits(whole) - set1(4503599627370496.0 + 1023.0);
  }
  static F64 mantissa(F64 a) {
    const uint64x2_t low = vandq_u64(bits(a), vdupq_n_u64(0x000fffffffffffff));
    return from_bits(vorrq_u64(low, vdupq_n_u64(0x3ff0000000000000)));
  }

 private:
  static constexpr T kRound = 6755399441055744.0;  // 1.5 * 2^52

  static uint64x2_t bits(F64 a) { return vreinterpretq_u64_f64(a.v); }
  static F64 from_bits(uint64x2_t b) { return {vreinterpretq_f64_u64(b)}; }
};

}  // namespace sixloop::neon
