// AVX2 and FMA. The interface is described in scalar.h. Include only from files compiled for AVX2.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace sixloop::avx2 {

struct F32 {
  using T = float;
  static constexpr int N = 8;
  struct Mask {
    __m256 m;
    friend Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.m, b.m)}; }
    friend Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.m, b.m)}; }
  };

  __m256 v;

  static F32 zero() { return {_mm256_setzero_ps()}; }
  static F32 set1(T x) { return {_mm256_set1_ps(x)}; }
  static F32 load(const T* p) { return {_mm256_loadu_ps(p)}; }
  static F32 load_n(const T* p, int64_t n) { return {_mm256_maskload_ps(p, first(n))}; }
  // GCC folds an intrinsic's broadcast into a memory operand of every FMA that uses it, which costs a
  // third of the peak; an instruction that it cannot see through stays one load.
  static F32 broadcast(const T* p) {
    F32 x;
    asm("vbroadcastss %1, %0" : "=x"(x.v) : "m"(*p));
    return x;
  }
  void store(T* p) const { _mm256_storeu_ps(p, v); }
  void store_n(T* p, int64_t n) const { _mm256_maskstore_ps(p, first(n), v); }
  static F32 load_bytes(const uint8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))};
  }
  void store_bytes(uint8_t* p) const {
    const __m256i whole = _mm256_cvttps_epi32(v);
    const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
  }
  // The value now comes from nowhere, so a load before it cannot be repeated for each use.
  void pin() { asm("" : "+x"(v)); }

  friend F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
  static F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static F32 fnma(F32 a, F32 b, F32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
  static F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
  static F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
  static F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.v)}; }
  static F32 abs(F32 a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  static F32 neg(F32 a) { return {_mm256_xor_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  static F32 copysign(F32 a, F32 b) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_or_ps(_mm256_andnot_ps(sign, a.v), _mm256_and_ps(sign, b.v))};
  }

  static Mask lt(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
  static Mask le(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
  static Mask eq(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
  static Mask is_nan(F32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
  static F32 select(Mask m, F32 yes, F32 no) { return {_mm256_blendv_ps(no.v, yes.v, m.m)}; }
  static F32 where(Mask m, F32 a) { return {_mm256_and_ps(m.m, a.v)}; }
  static bool any(Mask m) { return _mm256_movemask_ps(m.m) != 0; }
  static void transpose(F32 (&rows)[8]) {
    __m256 pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
      pairs[i] = _mm256_unpacklo_ps(rows[i].v, rows[i + 1].v);
      pairs[i + 1] = _mm256_unpackhi_ps(rows[i].v, rows[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4) {
      for (int j = 0; j < 2; ++j) {
        fours[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
        fours[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xee);
      }
    }
    for (int i = 0; i < 4; ++i) {
      rows[i].v = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
      rows[i + 4].v = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
    }
  }

  static F32 round(F32 a) { return (a + set1(kRound)) - set1(kRound); }
  static F32 pow2(F32 k) { return from_bits(_mm256_slli_epi32(bits(k + set1(kRound + 127.0f)), 23)); }
  static F32 exponent(F32 a) {
    const __m256i whole = _mm256_or_si256(_mm256_srli_epi32(bits(a), 23), _mm256_set1_epi32(0x4b000000));
    return from_bits(whole) - set1(8388608.0f + 127.0f);
  }
  static F32 mantissa(F32 a) {
    const __m256i low = _mm256_and_si256(bits(a), _mm256_set1_epi32(0x007fffff));
    return from_bits(_mm256_or_si256(low, _mm256_set1_epi32(0x3f800000)));
  }

 private:
  static constexpr T kRound = 12582912.0f;  // 1.5 * 2^23

  static __m256i bits(F32 a) { return _mm256_castps_si256(a.v); }
  static F32 from_bits(__m256i b) { return {_mm256_castsi256_ps(b)}; }
  static __m256i first(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

struct F64 {
  using T = double;
  static constexpr int N = 4;
  struct Mask {
    __m256d m;
    friend Mask operator&(Mask a, Mask b) { return {_mm256_and_pd(a.m, b.m)}; }
    friend Mask operator|(Mask a, Mask b) { return {_mm256_or_pd(a.m, b.m)}; }
  };

  __m256d v;

  static F64 zero() { return {_mm256_setzero_pd()}; }
  static F64 set1(T x) { return {_mm256_set1_pd(x)}; }
  static F64 load(const T* p) { return {_mm256_loadu_pd(p)}; }
  static F64 load_n(const T* p, int64_t n) { return {_mm256_maskload_pd(p, first(n))}; }
  // GCC folds an intrinsic's broadcast into a memory operand of every FMA that uses it, which costs a
  // third of the peak; an instruction that it cannot see through stays one load.
  static F64 broadcast(const T* p) {
    F64 x;
    asm("vbroadcastsd %1, %0" : "=x"(x.v) : "m"(*p));
    return x;
  }
  void store(T* p) const { _mm256_storeu_pd(p, v); }
  void store_n(T* p, int64_t n) const { _mm256_maskstore_pd(p, first(n), v); }
  static F64 load_bytes(const uint8_t* p) {
    int32_t bytes;
    std::memcpy(&bytes, p, sizeof bytes);
    return {_mm256_cvtepi32_pd(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(bytes)))};
  }
  void store_bytes(uint8_t* p) const {
    const __m128i whole = _mm256_cvttpd_epi32(v);
    const __m128i words = _mm_packus_epi32(whole, whole);
    const int32_t bytes = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
    std::memcpy(p, &bytes, sizeof bytes);
  }
  // The value now comes from nowhere, so a load before it cannot be repeated for each use.
  void pin() { asm("" : "+x"(v)); }

  friend F64 operator+(F64 a, F64 b) { return {_mm256_add_pd(a.v, b.v)}; }
  friend F64 operator-(F64 a, F64 b) { return {_mm256_sub_pd(a.v, b.v)}; }
  friend F64 operator*(F64 a, F64 b) { return {_mm256_mul_pd(a.v, b.v)}; }
  friend F64 operator/(F64 a, F64 b) { return {_mm256_div_pd(a.v, b.v)}; }
  static F64 fma(F64 a, F64 b, F64 c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  static F64 fnma(F64 a, F64 b, F64 c) { return {_mm256_fnmadd_pd(a.v, b.v, c.v)}; }
  static F64 max(F64 a, F64 b) { return {_mm256_max_pd(a.v, b.v)}; }
  static F64 min(F64 a, F64 b) { return {_mm256_min_pd(a.v, b.v)}; }
  static F64 sqrt(F64 a) { return {_mm256_sqrt_pd(a.v)}; }
  static F64 abs(F64 a) { return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v)}; }
  static F64 neg(F64 a) { return {_mm256_xor_pd(_mm256_set1_pd(-0.0), a.v)}; }
  static F64 copysign(F64 a, F64 b) {
    const __m256d sign = _mm256_set1_pd(-0.0);
    return {_mm256_or_pd(_mm256_andnot_pd(sign, a.v), _mm256_and_pd(sign, b.v))};
  }

  static Mask lt(F64 a, F64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ)}; }
  static Mask le(F64 a, F64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_LE_OQ)}; }
  static Mask eq(F64 a, F64 b) { return {_mm256_cmp_pd(a.v, b.v, _CMP_EQ_OQ)}; }
  static Mask is_nan(F64 a) { return {_mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q)}; }
  static F64 select(Mask m, F64 yes, F64 no) { return {_mm256_blendv_pd(no.v, yes.v, m.m)}; }
  static F64 where(Mask m, F64 a) { return {_mm256_and_pd(m.m, a.v)}; }
  static bool any(Mask m) { return _mm256_movemask_pd(m.m) != 0; }
  static void transpose(F64 (&rows)[4]) {
    __m256d pairs[4];
    for (int i = 0; i < 4; i += 2) {
      pairs[i] = _mm256_unpacklo_pd(rows[i].v, rows[i + 1].v);
      pairs[i + 1] = _mm256_unpackhi_pd(rows[i].v, rows[i + 1].v);
    }
    for (int i = 0; i < 2; ++i) {
      rows[i].v = _mm256_permute2f128_pd(pairs[i], pairs[i + 2], 0x20);
      rows[i + 2].v = _mm256_permute2f128_pd(pairs[i], pairs[i + 2], 0x31);
    }
  }

  static F64 round(F64 a) { return (a + set1(kRound)) - set1(kRound); }
  static F64 pow2(F64 k) { return from_bits(_mm256_slli_epi64(bits(k + set1(kRound + 1023.0)), 52)); }
  static F64 exponent(F64 a) {
    const __m256i whole = _mm256_or_si256(_mm256_srli_epi64(bits(a), 52), _mm256_set1_epi64x(0x4330000000000000LL));
    return from_bits(whole) - set1(4503599627370496.0 + 1023.0);
  }
  static F64 mantissa(F64 a) {
    const __m256i low = _mm256_and_si256(bits(a), _mm256_set1_epi64x(0x000fffffffffffffLL));
    return from_bits(_mm256_or_si256(low, _mm256_set1_epi64x(0x3ff0000000000000LL)));
  }

 private:
  static constexpr T kRound = 6755399441055744.0;  // 1.5 * 2^52

  static __m256i bits(F64 a) { return _mm256_castpd_si256(a.v); }
  static F64 from_bits(__m256i b) { return {_mm256_castsi256_pd(b)}; }
  static __m256i first(int64_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(static_cast<long long>(n)), _mm256_setr_epi64x(0, 1, 2, 3));
  }
};

}  // namespace sixloop::avx2
