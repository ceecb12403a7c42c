// exp, log, tanh and their kin over a vector type V of base/simd/, with the same bits on every instruction
// set: each step is an IEEE operation that all of them round alike, and a product that is added is an
// explicit fma. Include only from <isa>.cc files, through a kernels-inl.h.
//
// Coefficients come from tools/fit_math.py; the degree and the error of approximation (2^-n of the result) stand at
// each polynomial. Largest error found at 4 million points of each interval, in units in the last place; subnormal
// results are rounded once more, to the spacing that they have:
//
//     function         interval                        float32   float64
//     exp              all finite results                 0.97      0.97
//     expm1            [-40, largest]                     1.43      1.81   0.87 and 1.13 for x < 0
//     log              all positive, subnormal too        0.84      0.84
//     log1p            [0, 1]                             1.43      1.42
//     pow(x, y)        y -1.75 ... 2, all positive x      1.16      1.15   y = 10: 1.35 and 1.35
//     tanh             all                                1.46      1.45
//     sigmoid          all                                2.41      2.35
//     softplus         all                                1.68      1.68
//     gelu             all                                4.21      4.55
//     gelu_slope       outside [-1.5, -0.6]               9.2       8.2    a zero near -0.75 lies inside
//     gaussian         all                                1.44      1.57
//     gaussian_slope   all                                2.33      2.39
#pragma once

#include <cstdint>

#include "base/simd/host_device.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class T>
struct MathConstants;

template <>
struct MathConstants<float> {
  static constexpr float kInfinity = __builtin_huge_valf();
  static constexpr float kNaN = __builtin_nanf("");
  // Below kExpLow exp rounds to zero, above kExpHigh to infinity; below kExpm1Low expm1 rounds to -1.
  static constexpr float kExpLow = -104.0f, kExpHigh = 89.0f, kExpm1Low = -18.0f;
  static constexpr float kExpZero = -88.0f;
  // tanh rounds to 1 from here.
  static constexpr float kTanhHigh = 10.0f;
  // exp(-a^2/2) / 4 and exp(-a^2) round to zero from here.
  static constexpr float kNormalHigh = 15.0f, kGaussianHigh = 11.0f;
  static constexpr float kLog2e = 1.44269504f;
  // ln 2 in two parts; the first has so few bits that its product with an exponent is exact.
  static constexpr float kLn2High = 0.693145752f, kLn2Low = 1.42860677e-06f;
  // The smallest normal number, and a power of two that makes subnormal numbers normal.
  static constexpr float kTiny = 1.17549435e-38f, kTinyScale = 33554432.0f, kTinyExponent = 25.0f;
  static constexpr float kExp[] = {0.5f, 0.166666657f, 0.0416663624f, 0.00833338965f, 0.00139406277f, 0.000198458787f};
  static constexpr float kLog[] = {0.333333313f, -0.249999672f, 0.200000912f, -0.16669406f, 0.142851174f,
                                   -0.12424393f, 0.110362157f,  -0.10819611f, 0.106319807f, -0.0597674772f};
  static constexpr float kTanh[] = {-0.333333313f, 0.133332059f,    -0.0539467633f,
                                    0.0217007045f, -0.00817739964f, 0.00214296253f};
  static constexpr float kNormalTail[] = {0.755285144f,    -0.607896626f,    0.387137294f,    -0.186521575f,
                                          0.0603983551f,   -0.00754261343f,  -0.00349222054f, 0.00163548556f,
                                          0.000171860127f, -0.000219283058f, -4.5060613e-05f};
};

template <>
struct MathConstants<double> {
  static constexpr double kInfinity = __builtin_huge_val();
  static constexpr double kNaN = __builtin_nan("");
  static constexpr double kExpLow = -746.0, kExpHigh = 710.0, kExpm1Low = -38.0;
  static constexpr double kExpZero = -709.0;
  static constexpr double kTanhHigh = 20.0;
  static constexpr double kNormalHigh = 40.0, kGaussianHigh = 28.0;
  static constexpr double kLog2e = 1.4426950408889634;
  static constexpr double kLn2High = 0.6931471805601177, kLn2Low = -1.7239444525614835e-13;
  static constexpr double kTiny = 2.2250738585072014e-308, kTinyScale = 18014398509481984.0, kTinyExponent = 54.0;
  static constexpr double kExp[] = {0.5,
                                    0.16666666666666677,
                                    0.041666666666666512,
                                    0.0083333333333216915,
                                    0.0013888888888962385,
                                    0.0001984126988596577,
                                    2.4801587172517583e-05,
                                    2.7557244374249325e-06,
                                    2.7557402654290012e-07,
                                    2.5108978885952182e-08,
                                    2.0875328209992651e-09};
  static constexpr double kLog[] = {
      0.33333333333333348,   -0.25000000000000366,  0.1999999999999395,    -0.16666666666547877,  0.14285714286573464,
      -0.12500000014551421,  0.11111111058685116,   -0.099999990757835791, 0.090909104784307013,  -0.083333675302448729,
      0.076923050448142044,  -0.071420884180607797, 0.066658986026745193,  -0.062603683972226862, 0.059025058244609893,
      -0.054794679550112649, 0.0502792343055928,    -0.051891991289760735, 0.060529028352425365,  -0.054097215063243942,
      0.022484034078354771};
  static constexpr double kTanh[] = {-0.33333333333333315,   0.13333333333329744,     -0.053968253966059025,
                                     0.021869488468718362,   -0.0088632343126204098,  0.0035921140002468125,
                                     -0.0014557259502259547, 0.00058945180732695567,  -0.000237011751595134,
                                     9.1558446461422906e-05, -3.0187252653621766e-05, 6.042481331903826e-06};
  static constexpr double kNormalTail[] = {
      0.75528513041575152,    -0.60789664197189208,    0.3871374007422197,      -0.18652185795966358,
      0.060396574890653795,   -0.0075401889664936982,  -0.0034796923613644938,  0.0016308184541526198,
      0.0001333442461939935,  -0.00023109491098063082, -1.9078315353711655e-06, 3.5144606464728007e-05,
      7.1493725695598274e-07, -5.9201291138682972e-06, -6.2516361120926964e-07, 1.022096982337564e-06,
      2.6411007222310705e-07, -1.5689230510581585e-07, -7.7237268768105846e-08, 1.6279998803486143e-08,
      1.4682059822380293e-08, -4.0248857416203423e-10, -1.225767226472861e-09};
};

template <class V>
using ConstantsOf = MathConstants<typename V::T>;

// c[i] + c[i + 1] x + ... + c[n - 1] x^(n - 1 - i), by Horner's rule. c is a template's argument because a CUDA kernel
// may know an array of the host by the values of its elements alone.
template <class V, const auto& c, int i = 0>
SIXLOOP_HD V polynomial(V x) {
  constexpr typename V::T kCoefficient = c[i];
  if constexpr (i + 1 == sizeof c / sizeof c[0]) {
    return V::set1(kCoefficient);
  } else {
    return V::fma(polynomial<V, c, i + 1>(x), x, V::set1(kCoefficient));
  }
}

// p * 2^k.
template <class V>
struct Scaled {
  V p, k;
};

// Rounded once, so subnormal results are as exact as they can be. |k| is at most twice the largest exponent.
template <class V>
SIXLOOP_HD V value_of(Scaled<V> x) {
  const V half = V::round(x.k * V::set1(typename V::T(0.5)));
  return x.p * V::pow2(half) * V::pow2(x.k - half);
}

// x = k ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite); r errs by half an ulp.
template <class V>
struct ExpReduced {
  V k, r;
};

template <class V>
SIXLOOP_HD ExpReduced<V> exp_reduce(V x) {
  using C = ConstantsOf<V>;
  const V k = V::round(x * V::set1(C::kLog2e));
  return {k, V::fnma(k, V::set1(C::kLn2Low), V::fnma(k, V::set1(C::kLn2High), x))};
}

// e^r - 1 for |r| <= ln 2 / 2: r + r^2 q(r), q of degree 5 (float32, approximation error 2^-28.8 of the
// result) and 10 (float64, 2^-59.9).
template <class V>
SIXLOOP_HD V expm1_reduced(V r) {
  return V::fma(r * r, polynomial<V, ConstantsOf<V>::kExp>(r), r);
}

// e^x as p * 2^k. NaN goes through p. |x| is less than 2^20.
template <class V>
SIXLOOP_HD Scaled<V> exp_scaled(V x) {
  const ExpReduced<V> a = exp_reduce(x);
  return {V::set1(1) + expm1_reduced(a.r), a.k};
}

// e^x. exp(-inf) = 0, exp(inf) = inf; subnormal results are exact to half a unit plus the error of p.
template <class V>
SIXLOOP_HD V exp(V x) {
  using C = ConstantsOf<V>;
  return value_of(exp_scaled(V::min(V::set1(C::kExpHigh), V::max(V::set1(C::kExpLow), x))));
}

// e^x for x <= 0, two thirds of the work: exp(x), but 0 for the x whose 2^k is not normal (below -87.68 and -709.08),
// to which kExpZero belongs. NaN goes through p.
template <class V>
SIXLOOP_HD V exp_nonpositive(V x) {
  const ExpReduced<V> a = exp_reduce(V::max(V::set1(ConstantsOf<V>::kExpZero), x));
  // 2^k for k one below the normal exponents has no bit set.
  return (V::set1(1) + expm1_reduced(a.r)) * V::pow2(a.k);
}

// e^x - 1, with the sign of x. expm1(-inf) = -1, expm1(inf) = inf.
template <class V>
SIXLOOP_HD V expm1(V x) {
  using C = ConstantsOf<V>;
  using T = typename V::T;
  const ExpReduced<V> a = exp_reduce(V::min(V::set1(C::kExpHigh), V::max(V::set1(C::kExpm1Low), x)));
  const V p = expm1_reduced(a.r);
  // 2 (s p + (s - 1/2)) with s = 2^(k - 1): 2^k itself overflows for the largest results.
  const V s = V::pow2(a.k - V::set1(1));
  const V y = V::fma(s, p, s - V::set1(T(0.5)));
  return V::copysign(V::select(V::eq(a.k, V::zero()), p, y + y), x);
}

// log(1 + f) = f + f^2 (f q(f) - 1/2) for sqrt(1/2) <= 1 + f <= sqrt(2), q of degree 9 (float32, 2^-28.8) and
// 20 (float64, 2^-57.2).
template <class V>
struct LogReduced {
  V exponent, f;  // x = 2^exponent (1 + f); f is exact
};

// For 0 < x < inf, subnormal numbers too.
template <class V>
SIXLOOP_HD LogReduced<V> log_reduce(V x) {
  using C = ConstantsOf<V>;
  using T = typename V::T;
  const typename V::Mask subnormal = V::lt(x, V::set1(C::kTiny));
  const V normal = V::select(subnormal, x * V::set1(C::kTinyScale), x);
  const V e = V::exponent(normal) - V::select(subnormal, V::set1(C::kTinyExponent), V::zero());
  const V m = V::mantissa(normal);
  const typename V::Mask large = V::lt(V::set1(T(1.41421356237309505)), m);
  return {V::select(large, e + V::set1(1), e), V::select(large, m * V::set1(T(0.5)), m) - V::set1(1)};
}

// f^2 (f q(f) - 1/2) + low, so that log(1 + f) + low = f + it.
template <class V>
SIXLOOP_HD V log1p_tail(V f, V low) {
  const V half = V::set1(typename V::T(0.5));
  return V::fma(f * f, V::fma(f, polynomial<V, ConstantsOf<V>::kLog>(f), V::neg(half)), low);
}

// The natural logarithm. log(0) = -inf, log(inf) = inf, NaN for negative x.
template <class V>
SIXLOOP_HD V log(V x) {
  using C = ConstantsOf<V>;
  const LogReduced<V> a = log_reduce(x);
  const V tail = log1p_tail(a.f, a.exponent * V::set1(C::kLn2Low));
  const V infinity = V::set1(C::kInfinity);
  V y = V::fma(a.exponent, V::set1(C::kLn2High), a.f + tail);
  y = V::select(V::eq(x, infinity), infinity, y);
  y = V::select(V::eq(x, V::zero()), V::neg(infinity), y);
  return V::select(V::le(V::zero(), x), y, V::set1(C::kNaN));
}

// log(1 + x) for 0 <= x <= 1.
template <class V>
SIXLOOP_HD V log1p(V x) {
  using C = ConstantsOf<V>;
  using T = typename V::T;
  const V half = V::set1(T(0.5));
  const typename V::Mask large = V::lt(V::set1(T(0.41421356237309505)), x);
  const V f = V::select(large, V::fma(x, half, V::neg(half)), x);
  const V k = V::select(large, V::set1(1), V::zero());
  return V::fma(k, V::set1(C::kLn2High), f + log1p_tail(f, k * V::set1(C::kLn2Low)));
}

// x^y for x >= 0 and a finite y with |y| <= 1000; NaN for negative x. The logarithm is kept in two parts, or
// its rounding would be multiplied by y log x.
template <class V>
SIXLOOP_HD V pow(V x, typename V::T y) {
  using C = ConstantsOf<V>;
  using T = typename V::T;
  const LogReduced<V> a = log_reduce(x);
  const V square = a.f * a.f;
  const V square_low = V::fma(a.f, a.f, V::neg(square));
  const V half = V::set1(T(0.5));
  // high + low = exponent * ln2 + f - f^2/2 + f^3 q(f), added from the largest, each time with what rounding lost.
  const V e = a.exponent * V::set1(C::kLn2High);
  const V s = e + a.f;
  const V s_low = a.f - (s - e);
  const V t = V::fnma(half, square, s);
  const V t_low = V::fnma(half, square, s - t);
  V rest = V::fma(a.f * square, polynomial<V, C::kLog>(a.f), a.exponent * V::set1(C::kLn2Low));
  rest = V::fnma(half, square_low, rest) + (s_low + t_low);
  const V high = t + rest;
  const V low = rest - (high - t);

  const V factor = V::set1(y);
  const V product = high * factor;
  const V product_low = V::fma(low, factor, V::fma(high, factor, V::neg(product)));
  // Clamping |product| leaves product_low a rounding error: far below what it could change.
  const V clamped = V::min(V::set1(C::kExpHigh), V::max(V::set1(C::kExpLow), product));
  ExpReduced<V> r = exp_reduce(clamped);
  r.r = r.r + product_low;
  V result = value_of(Scaled<V>{V::set1(1) + expm1_reduced(r.r), r.k});
  const T at_zero = y > 0 ? T(0) : y < 0 ? C::kInfinity : T(1);
  const T at_infinity = y > 0 ? C::kInfinity : y < 0 ? T(0) : T(1);
  result = V::select(V::eq(x, V::zero()), V::set1(at_zero), result);
  result = V::select(V::eq(x, V::set1(C::kInfinity)), V::set1(at_infinity), result);
  return V::select(V::le(V::zero(), x), result, V::set1(C::kNaN));
}

// The hyperbolic tangent: x + x^3 q(x^2) up to |x| = 5/8, q of degree 5 (float32, 2^-28.5) and 11 (float64, 2^-57),
// then 1 - 2 e / (1 + e) with e = exp(-2 |x|). tanh(-0) = -0.
template <class V>
SIXLOOP_HD V tanh(V x) {
  using C = ConstantsOf<V>;
  using T = typename V::T;
  const V a = V::abs(x);
  const V z = a * a;
  const V near = V::fma(a * z, polynomial<V, C::kTanh>(z), a);
  const Scaled<V> s = exp_scaled(V::set1(-2) * V::min(V::set1(C::kTanhHigh), a));
  const V e = s.p * V::pow2(s.k);
  const V far = V::fnma(V::set1(2), e / (V::set1(1) + e), V::set1(1));
  return V::copysign(V::select(V::lt(a, V::set1(T(0.625))), near, far), x);
}

// 1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) for negative x: both tails keep their relative accuracy.
template <class V>
SIXLOOP_HD V sigmoid(V x) {
  const V one = V::set1(1);
  const V e = exp(V::neg(V::abs(x)));
  return V::select(V::lt(x, V::zero()), e, one) / (one + e);
}

// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)).
template <class V>
SIXLOOP_HD V softplus(V x) {
  return V::max(V::zero(), x) + log1p(exp(V::neg(V::abs(x))));
}

// exp(-factor a^2) as p * 2^k for factor 1 or 1/2. The rounding error of a^2 is taken into account, or the
// relative error would grow like a^2.
template <class V>
SIXLOOP_HD Scaled<V> exp_minus_square(V a, typename V::T factor) {
  const V square = a * a;
  const V square_low = V::fma(a, a, V::neg(square));
  const V f = V::set1(factor);
  Scaled<V> e = exp_scaled(V::neg(f * square));
  e.p = V::fnma(e.p, f * square_low, e.p);
  return e;
}

// The lower tail of the normal distribution, for 0 <= a <= kNormalHigh:
//
//     Phi(-a) = w q p 2^k, a Phi(-a) = u q p 2^k, exp(-a^2/2) = p 2^k, w = 1 / (a + 4), u = a w.
//
// q is a polynomial in (a - 4) / (a + 4) = 2u - 1, of degree 10 (float32, 2^-24.4) and 22 (float64, 2^-53.6): the
// map makes of [0, inf) a finite interval, and Mills' ratio falls like w, which leaves a smooth q.
template <class V>
struct NormalTail {
  V u, q;
  Scaled<V> e;
};

template <class V>
SIXLOOP_HD NormalTail<V> normal_tail(V a) {
  using T = typename V::T;
  const V u = a / (a + V::set1(4));
  const V t = V::fma(V::set1(2), u, V::set1(-1));
  return {u, polynomial<V, ConstantsOf<V>::kNormalTail>(t), exp_minus_square(a, T(0.5))};
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|): Phi near 1 is never formed, and both tails keep their relative accuracy.
template <class V>
SIXLOOP_HD V gelu(V x) {
  const V a = V::min(V::set1(ConstantsOf<V>::kNormalHigh), V::abs(x));
  const NormalTail<V> tail = normal_tail(a);
  return V::max(V::zero(), x) - value_of(Scaled<V>{tail.u * (tail.q * tail.e.p), tail.e.k});
}

// Phi(x) + x phi(x): with h = Phi(-|x|) - |x| phi(x) it is h for negative x, else 1 - h.
template <class V>
SIXLOOP_HD V gelu_slope(V x) {
  using T = typename V::T;
  const V a = V::min(V::set1(ConstantsOf<V>::kNormalHigh), V::abs(x));
  const NormalTail<V> tail = normal_tail(a);
  const V quarter = V::set1(T(0.25));
  const V w = V::fnma(quarter, tail.u, quarter);
  const V inverse_root_2_pi = V::set1(T(0.39894228040143268));
  const V h = value_of(Scaled<V>{V::fnma(a, inverse_root_2_pi, w * tail.q) * tail.e.p, tail.e.k});
  return V::select(V::lt(x, V::zero()), h, V::set1(1) - h);
}

// exp(-x^2).
template <class V>
SIXLOOP_HD V gaussian(V x) {
  const V a = V::min(V::set1(ConstantsOf<V>::kGaussianHigh), V::abs(x));
  return value_of(exp_minus_square(a, typename V::T(1)));
}

// -2 x exp(-x^2).
template <class V>
SIXLOOP_HD V gaussian_slope(V x) {
  const V a = V::min(V::set1(ConstantsOf<V>::kGaussianHigh), V::abs(x));
  const Scaled<V> e = exp_minus_square(a, typename V::T(1));
  return V::copysign(value_of(Scaled<V>{(a + a) * e.p, e.k}), V::neg(x));
}

}  // namespace
}  // namespace sixloop
