// The kernels, written once over U, unsigned 64-bit lanes, and V, the float64 vectors of the same instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/philox.h"
#include "base/simd/math-inl.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// 64-bit numbers that are made at a time.
constexpr int64_t kNumbers = 64;

// The 64-bit numbers first ... first + kNumbers - 1 of the stream.
template <class U>
void make_numbers(const PhiloxKey& key, uint64_t first, uint64_t* bits) {
  uint32_t words[2 * kNumbers];
  for (int64_t b = 0; b < kNumbers / 2; b += U::N) {
    philox_blocks<U>(key, first / 2 + static_cast<uint64_t>(b), words + 4 * b);
  }
  for (int64_t i = 0; i < kNumbers; ++i) bits[i] = words[2 * i] | static_cast<uint64_t>(words[2 * i + 1]) << 32;
}

template <class U>
void random_bits_vectors(const PhiloxKey& key, uint64_t first, int64_t n, int64_t* bits) {
  uint64_t numbers[kNumbers];
  for (int64_t i = 0; i < n; i += kNumbers) {
    make_numbers<U>(key, first + static_cast<uint64_t>(i), numbers);
    const int64_t count = n - i < kNumbers ? n - i : kNumbers;
    for (int64_t j = 0; j < count; ++j) bits[i + j] = static_cast<int64_t>(numbers[j]);
  }
}

// The element of random_uniform that a 64-bit number gives.
template <class T>
SIXLOOP_HD inline T uniform_of(uint64_t number, double low, double width, T top) {
  const double u = static_cast<double>(static_cast<int64_t>(number >> 11)) * 0x1p-53;
  const T value = static_cast<T>(low + width * u);
  return value < top ? value : top;
}

template <class U, class T>
void random_uniform_vectors(const PhiloxKey& key, uint64_t first, int64_t n, double low, double width, T top, T* y) {
  uint64_t numbers[kNumbers];
  for (int64_t i = 0; i < n; i += kNumbers) {
    make_numbers<U>(key, first + static_cast<uint64_t>(i), numbers);
    const int64_t count = n - i < kNumbers ? n - i : kNumbers;
    for (int64_t j = 0; j < count; ++j) {
      y[i + j] = uniform_of(numbers[j], low, width, top);
    }
  }
}

// The quantile function of the normal distribution: Wichura, "Algorithm AS 241", Applied Statistics 37 (1988), PPND16,
// whose relative error is about 1e-16. For 0 < u < 1 with 1 - u exact.
struct Quantile {
  static constexpr double kCentralOver[] = {3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
                                            1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
                                            3.3430575583588128105e4, 2.5090809287301226727e3};
  static constexpr double kCentralUnder[] = {1.0,
                                             4.2313330701600911252e1,
                                             6.8718700749205790830e2,
                                             5.3941960214247511077e3,
                                             2.1213794301586595867e4,
                                             3.9307895800092710610e4,
                                             2.8729085735721942674e4,
                                             5.2264952788528545610e3};
  static constexpr double kTailOver[] = {1.42343711074968357734e0,  4.63033784615654529590e0, 5.76949722146069140550e0,
                                         3.64784832476320460504e0,  1.27045825245236838258e0, 2.41780725177450611770e-1,
                                         2.27238449892691845833e-2, 7.74545014278341407640e-4};
  static constexpr double kTailUnder[] = {1.0,
                                          2.05319162663775882187e0,
                                          1.67638483018380384940e0,
                                          6.89767334985100004550e-1,
                                          1.48103976427480074590e-1,
                                          1.51986665636164571966e-2,
                                          5.47593808499534494600e-4,
                                          1.05075007164441684324e-9};
  static constexpr double kFarTailOver[] = {
      6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,  2.96560571828504891230e-1,
      2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7};
  static constexpr double kFarTailUnder[] = {1.0,
                                             5.99832206555887937690e-1,
                                             1.36929880922735805310e-1,
                                             1.48753612908506148525e-2,
                                             7.86869131145613259100e-4,
                                             1.84631831751005468180e-5,
                                             1.42151175831644588870e-7,
                                             2.04426310338993978564e-15};
};

template <class V, const auto& over, const auto& under>
SIXLOOP_HD V rational(V x) {
  return polynomial<V, over>(x) / polynomial<V, under>(x);
}

template <class V>
SIXLOOP_HD V normal_quantile(V u) {
  const V q = u - V::set1(0.5);
  const V central = q * rational<V, Quantile::kCentralOver, Quantile::kCentralUnder>(V::fnma(q, q, V::set1(0.180625)));
  const V r = V::sqrt(V::neg(log(V::min(u, V::set1(1) - u))));
  const V tail =
      V::select(V::le(r, V::set1(5)), rational<V, Quantile::kTailOver, Quantile::kTailUnder>(r - V::set1(1.6)),
                rational<V, Quantile::kFarTailOver, Quantile::kFarTailUnder>(r - V::set1(5)));
  return V::select(V::le(V::abs(q), V::set1(0.425)), central, V::copysign(tail, q));
}

// The middle of the interval of (0, 1) that a 64-bit number names.
SIXLOOP_HD inline double open_unit_of(uint64_t number) {
  return (static_cast<double>(static_cast<int64_t>(number >> 12)) + 0.5) * 0x1p-52;
}

template <class U, class V, class T>
void random_normal_vectors(const PhiloxKey& key, uint64_t first, int64_t n, double mean, double std, T* y) {
  uint64_t numbers[kNumbers];
  double values[kNumbers];
  for (int64_t i = 0; i < n; i += kNumbers) {
    make_numbers<U>(key, first + static_cast<uint64_t>(i), numbers);
    for (int64_t j = 0; j < kNumbers; ++j) values[j] = open_unit_of(numbers[j]);
    for (int64_t j = 0; j < kNumbers; j += V::N) {
      V::fma(V::set1(std), normal_quantile(V::load(values + j)), V::set1(mean)).store(values + j);
    }
    const int64_t count = n - i < kNumbers ? n - i : kNumbers;
    for (int64_t j = 0; j < count; ++j) y[i + j] = static_cast<T>(values[j]);
  }
}

// value where keep, else 0, through a mask of bits: compilers for AVX2 make a branch of `keep ? value : 0`, which costs
// ten times as much where half of the elements go.
SIXLOOP_HD inline float kept_or_zero(float value, bool keep) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= uint32_t{0} - uint32_t{keep};
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

SIXLOOP_HD inline double kept_or_zero(double value, bool keep) {
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits &= uint64_t{0} - uint64_t{keep};
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

template <class U, class T>
void dropout_vectors(const PhiloxKey& key, uint64_t first, int64_t n, const T* x, uint32_t threshold, T scale, T* y) {
  constexpr int64_t kWords = 64;
  uint32_t words[kWords];
  for (int64_t i = 0; i < n; i += kWords) {
    for (int64_t b = 0; b < kWords / 4; b += U::N) {
      philox_blocks<U>(key, (first + static_cast<uint64_t>(i)) / 4 + static_cast<uint64_t>(b), words + 4 * b);
    }
    const int64_t count = n - i < kWords ? n - i : kWords;
    for (int64_t j = 0; j < count; ++j) y[i + j] = kept_or_zero(x[i + j] * scale, words[j] >= threshold);
  }
}

}  // namespace
}  // namespace sixloop
