// AVX-512 F, DQ, BW and VL. The interface is described in scalar.h. Include only from files compiled for
// AVX-512.
#pragma once

// GCC 12 takes the undefined pass-through operand inside its own intrinsics for a use of a variable.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

namespace sixloop::avx512 {

struct F32 {
  using T = float;
  static constexpr int N = 16;
  struct Mask {
    __mmask16 m;
    friend Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.m & b.m)}; }
    friend Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.m | b.m)}; }
  };

  __m512 v;

  static F32 zero() { return {_mm512_setzero_ps()}; }
  static F32 set1(T x) { return {_mm512_set1_ps(x)}; }
  static F32 load(const T* p) { return {_mm512_loadu_ps(p)}; }
  static F32 load_n(const T* p, int64_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
  // One load for all uses, as in avx2.h.
  static F32 broadcast(const T* p) {
    F32 x;
    asm("vbroadcastss %1, %0" : "=v"(x.v) : "m"(*p));
    return x;
  }
  void store(T* p) const { _mm512_storeu_ps(p, v); }
  void store_n(T* p, int64_t n) const { _mm512_mask_storeu_ps(p, first(n), v); }
  static F32 load_bytes(const uint8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
  }
  void store_bytes(uint8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v)));
  }
  void pin() { asm("" : "+v"(v)); }

  friend F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
  static F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static F32 fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
  // max_ps and min_ps keep x86's rule for NaN and zeros, which scalar.h states.
  static F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
  static F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
  static F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
  static F32 abs(F32 a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
  static F32 neg(F32 a) { return {_mm512_xor_ps(_mm512_set1_ps(-0.0f), a.v)}; }
  static F32 copysign(F32 a, F32 b) {
    const __m512 sign = _mm512_set1_ps(-0.0f);
    return {_mm512_or_ps(_mm512_andnot_ps(sign, a.v), _mm512_and_ps(sign, b.v))};
  }

  static Mask lt(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
  static Mask le(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
  static Mask eq(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
  static Mask is_nan(F32 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
  static F32 select(Mask m, F32 yes, F32 no) { return {_mm512_mask_blend_ps(m.m, no.v, yes.v)}; }
  static F32 where(Mask m, F32 a) { return {_mm512_maskz_mov_ps(m.m, a.v)}; }
  static bool any(Mask m) { return m.m != 0; }
  static void transpose(F32 (&rows)[16]) {
    __m512 pairs[16], fours[16], eights[16];
    for (int i = 0; i < 16; i += 2) {
      pairs[i] = _mm512_unpacklo_ps(rows[i].v, rows[i + 1].v);
      pairs[i + 1] = _mm512_unpackhi_ps(rows[i].v, rows[i + 1].v);
    }
    for (int i = 0; i < 16; i += 4) {
      for (int j = 0; j < 2; ++j) {
        fours[i + 2 * j] = _mm512_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
        fours[i + 2 * j + 1] = _mm512_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xee);
      }
    }
    // Quarters of a register that stand for four lanes each.
    for (int i = 0; i < 16; i += 8) {
      for (int j = 0; j < 4; ++j) {
        eights[i + j] = _mm512_shuffle_f32x4(fours[i + j], fours[i + j + 4], 0x88);
        eights[i + j + 4] = _mm512_shuffle_f32x4(fours[i + j], fours[i + j + 4], 0xdd);
      }
    }
    for (int i = 0; i < 8; ++i) {
      rows[i].v = _mm512_shuffle_f32x4(eights[i], eights[i + 8], 0x88);
      rows[i + 8].v = _mm512_shuffle_f32x4(eights[i], eights[i + 8], 0xdd);
    }
  }

  static F32 round(F32 a) { return (a + set1(kRound)) - set1(kRound); }
  static F32 pow2(F32 k) { return from_bits(_mm512_slli_epi32(bits(k + set1(kRound + 127.0f)), 23)); }
  static F32 exponent(F32 a) {
    const __m512i whole = _mm512_or_si512(_mm512_srli_epi32(bits(a), 23), _mm512_set1_epi32(0x4b000000));
    return from_bits(whole) - set1(8388608.0f + 127.0f);
  }
  static F32 mantissa(F32 a) {
    const __m512i low = _mm512_and_si512(bits(a), _mm512_set1_epi32(0x007fffff));
    return from_bits(_mm512_or_si512(low, _mm512_set1_epi32(0x3f800000)));
  }

 private:
  static constexpr T kRound = 12582912.0f;  // 1.5 * 2^23

  static __m512i bits(F32 a) { return _mm512_castps_si512(a.v); }
  static F32 from_bits(__m512i b) { return {_mm512_castsi512_ps(b)}; }
  static __mmask16 first(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
};

struct F64 {
  using T = double;
  static constexpr int N = 8;
  struct Mask {
    __mmask8 m;
    friend Mask operator&(Mask a, Mask b) { return {static_cast<__mmask8>(a.m & b.m)}; }
    friend Mask operator|(Mask a, Mask b) { return {static_cast<__mmask8>(a.m | b.m)}; }
  };

  __m512d v;

  static F64 zero() { return {_mm512_setzero_pd()}; }
  static F64 set1(T x) { return {_mm512_set1_pd(x)}; }
  static F64 load(const T* p) { return {_mm512_loadu_pd(p)}; }
  static F64 load_n(const T* p, int64_t n) { return {_mm512_maskz_loadu_pd(first(n), p)}; }
  // One load for all uses, as in avx2.h.
  static F64 broadcast(const T* p) {
    F64 x;
    asm("vbroadcastsd %1, %0" : "=v"(x.v) : "m"(*p));
    return x;
  }
  void store(T* p) const { _mm512_storeu_pd(p, v); }
  void store_n(T* p, int64_t n) const { _mm512_mask_storeu_pd(p, first(n), v); }
  static F64 load_bytes(const uint8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_pd(_mm256_cvtepu8_epi32(bytes))};
  }
  void store_bytes(uint8_t* p) const {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm256_cvtepi32_epi8(_mm512_cvttpd_epi32(v)));
  }
  void pin() { asm("" : "+v"(v)); }

  friend F64 operator+(F64 a, F64 b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend F64 operator-(F64 a, F64 b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend F64 operator*(F64 a, F64 b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend F64 operator/(F64 a, F64 b) { return {_mm512_div_pd(a.v, b.v)}; }
  static F64 fma(F64 a, F64 b, F64 c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  static F64 fnma(F64 a, F64 b, F64 c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }
  // max_ps and min_ps keep x86's rule for NaN and zeros, which scalar.h states.
  static F64 max(F64 a, F64 b) { return {_mm512_max_pd(a.v, b.v)}; }
  static F64 min(F64 a, F64 b) { return {_mm512_min_pd(a.v, b.v)}; }
  static F64 sqrt(F64 a) { return {_mm512_sqrt_pd(a.v)}; }
  static F64 abs(F64 a) { return {_mm512_andnot_pd(_mm512_set1_pd(-0.0), a.v)}; }
  static F64 neg(F64 a) { return {_mm512_xor_pd(_mm512_set1_pd(-0.0), a.v)}; }
  static F64 copysign(F64 a, F64 b) {
    const __m512d sign = _mm512_set1_pd(-0.0);
    return {_mm512_or_pd(_mm512_andnot_pd(sign, a.v), _mm512_and_pd(sign, b.v))};
  }

  static Mask lt(F64 a, F64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)}; }
  static Mask le(F64 a, F64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ)}; }
  static Mask eq(F64 a, F64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ)}; }
  static Mask is_nan(F64 a) { return {_mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q)}; }
  static F64 select(Mask m, F64 yes, F64 no) { return {_mm512_mask_blend_pd(m.m, no.v, yes.v)}; }
  static F64 where(Mask m, F64 a) { return {_mm512_maskz_mov_pd(m.m, a.v)}; }
  static bool any(Mask m) { return m.m != 0; }
  static void transpose(F64 (&rows)[8]) {
    __m512d pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
      pairs[i] = _mm512_unpacklo_pd(rows[i].v, rows[i + 1].v);
      pairs[i + 1] = _mm512_unpackhi_pd(rows[i].v, rows[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4) {
      for (int j = 0; j < 2; ++j) {
        fours[i + j] = _mm512_shuffle_f64x2(pairs[i + j], pairs[i + j + 2], 0x88);
        fours[i + j + 2] = _mm512_shuffle_f64x2(pairs[i + j], pairs[i + j + 2], 0xdd);
      }
    }
    for (int i = 0; i < 4; ++i) {
      rows[i].v = _mm512_shuffle_f64x2(fours[i], fours[i + 4], 0x88);
      rows[i + 4].v = _mm512_shuffle_f64x2(fours[i], fours[i + 4], 0xdd);
    }
  }

  static F64 round(F64 a) { return (a + set1(kRound)) - set1(kRound); }
  static F64 pow2(F64 k) { return from_bits(_mm512_slli_epi64(bits(k + set1(kRound + 1023.0)), 52)); }
  static F64 exponent(F64 a) {
    const __m512i whole = _mm512_or_si512(_mm512_srli_epi64(bits(a), 52), _mm512_set1_epi64(0x4330000000000000LL));
    return from_bits(whole) - set1(4503599627370496.0 + 1023.0);
  }
  static F64 mantissa(F64 a) {
    const __m512i low = _mm512_and_si512(bits(a), _mm512_set1_epi64(0x000fffffffffffffLL));
    return from_bits(_mm512_or_si512(low, _mm512_set1_epi64(0x3ff0000000000000LL)));
  }

 private:
  static constexpr T kRound = 6755399441055744.0;  // 1.5 * 2^52

  static __m512i bits(F64 a) { return _mm512_castpd_si512(a.v); }
  static F64 from_bits(__m512i b) { return {_mm512_castsi512_pd(b)}; }
  static __mmask8 first(int64_t n) { return static_cast<__mmask8>((1u << n) - 1u); }
};

}  // namespace sixloop::avx512
