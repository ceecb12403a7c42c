// The transforms of Winograd's convolution along one line of a tile, written once over a vector type V of base/simd/.
// Included by winograd-inl.h for each <isa>.cc, and by the CUDA kernels.
//
// Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016: Y = A^T [(G g G^T) * (B^T d B)] A. The
// matrices follow from the interpolation points (Cook and Toom): with numerator polynomials over the points, row a of
// B^T has the coefficients of the product of (x - b) over the other points b, A^T the powers of a, and G those powers
// divided by the product of (a - b).
#pragma once

#include "base/simd/host_device.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// Points 0, 1, -1 and infinity. Every function maps elements at from[0], from[from_step], ... to `to` likewise.
template <class V>
struct Winograd2x2 {
  using T = typename V::T;
  static constexpr int kTile = 2, kFilter = 3;

  SIXLOOP_HD static void input(const V* d, int s, V* to, int t) {
    to[0] = d[2 * s] - d[0];
    to[t] = d[s] + d[2 * s];
    to[2 * t] = d[2 * s] - d[s];
    to[3 * t] = d[3 * s] - d[s];
  }
  SIXLOOP_HD static void filter(const V* g, int s, V* to, int t) {
    const V half = V::set1(static_cast<T>(0.5));
    const V even = half * (g[0] + g[2 * s]);
    to[0] = V::neg(g[0]);
    to[t] = V::fma(half, g[s], even);
    to[2 * t] = V::fnma(half, g[s], even);
    to[3 * t] = g[2 * s];
  }
  SIXLOOP_HD static void output(const V* m, int s, V* to, int t) {
    to[0] = m[0] + (m[s] + m[2 * s]);
    to[t] = (m[s] - m[2 * s]) + m[3 * s];
  }
  SIXLOOP_HD static void grad_output(const V* y, int s, V* to, int t) {
    to[0] = y[0];
    to[t] = y[0] + y[s];
    to[2 * t] = y[0] - y[s];
    to[3 * t] = y[s];
  }
  SIXLOOP_HD static void grad_filter(const V* m, int s, V* to, int t) {
    const V half = V::set1(static_cast<T>(0.5));
    const V even = half * (m[s] + m[2 * s]);
    to[0] = even - m[0];
    to[t] = half * (m[s] - m[2 * s]);
    to[2 * t] = even + m[3 * s];
  }
};

// Points 0, 3/4, -3/4, 3/2, -3/2 and infinity: all coefficients of A and B are exact in binary, and the largest error
// is a quarter of that with the customary 0, 1, -1, 2, -2.
template <class V>
struct Winograd4x4 {
  using T = typename V::T;
  static constexpr int kTile = 4, kFilter = 3;
  static constexpr double p = 0.75, q = 1.5;
  // The reciprocals of the products of differences of points, for p and q; for 0 it is 1 / (p p q q).
  static constexpr double at_0 = 64.0 / 81.0, at_p = -128.0 / 243.0, at_q = 32.0 / 243.0;

  SIXLOOP_HD static V set(double x) { return V::set1(static_cast<T>(x)); }

  SIXLOOP_HD static void input(const V* d, int s, V* to, int t) {
    const V minus_pp = set(-p * p), minus_qq = set(-q * q), both = set(p * p * q * q), sum = set(-p * p - q * q);
    const V even_p = V::fma(minus_qq, d[2 * s], d[4 * s]);
    const V even_q = V::fma(minus_pp, d[2 * s], d[4 * s]);
    const V odd_p = V::fma(minus_qq, d[s], d[3 * s]);
    const V odd_q = V::fma(minus_pp, d[s], d[3 * s]);
    to[0] = V::fma(both, d[0], V::fma(sum, d[2 * s], d[4 * s]));
    to[t] = V::fma(set(p), odd_p, even_p);
    to[2 * t] = V::fnma(set(p), odd_p, even_p);
    to[3 * t] = V::fma(set(q), odd_q, even_q);
    to[4 * t] = V::fnma(set(q), odd_q, even_q);
    to[5 * t] = V::fma(both, d[s], V::fma(sum, d[3 * s], d[5 * s]));
  }
  SIXLOOP_HD static void filter(const V* g, int s, V* to, int t) {
    const V even_p = V::fma(set(at_p * p * p), g[2 * s], set(at_p) * g[0]);
    const V even_q = V::fma(set(at_q * q * q), g[2 * s], set(at_q) * g[0]);
    to[0] = set(at_0) * g[0];
    to[t] = V::fma(set(at_p * p), g[s], even_p);
    to[2 * t] = V::fnma(set(at_p * p), g[s], even_p);
    to[3 * t] = V::fma(set(at_q * q), g[s], even_q);
    to[4 * t] = V::fnma(set(at_q * q), g[s], even_q);
    to[5 * t] = g[2 * s];
  }
  SIXLOOP_HD static void output(const V* m, int s, V* to, int t) {
    const V sum_p = m[s] + m[2 * s], sum_q = m[3 * s] + m[4 * s];
    const V difference_p = m[s] - m[2 * s], difference_q = m[3 * s] - m[4 * s];
    to[0] = m[0] + (sum_p + sum_q);
    to[t] = V::fma(set(p), difference_p, set(q) * difference_q);
    to[2 * t] = V::fma(set(p * p), sum_p, set(q * q) * sum_q);
    to[3 * t] = V::fma(set(p * p * p), difference_p, V::fma(set(q * q * q), difference_q, m[5 * s]));
  }
  SIXLOOP_HD static void grad_output(const V* y, int s, V* to, int t) {
    const V even_p = V::fma(set(p * p), y[2 * s], y[0]);
    const V even_q = V::fma(set(q * q), y[2 * s], y[0]);
    const V odd_p = V::fma(set(p * p * p), y[3 * s], set(p) * y[s]);
    const V odd_q = V::fma(set(q * q * q), y[3 * s], set(q) * y[s]);
    to[0] = y[0];
    to[t] = even_p + odd_p;
    to[2 * t] = even_p - odd_p;
    to[3 * t] = even_q + odd_q;
    to[4 * t] = even_q - odd_q;
    to[5 * t] = y[3 * s];
  }
  SIXLOOP_HD static void grad_filter(const V* m, int s, V* to, int t) {
    const V sum_p = m[s] + m[2 * s], sum_q = m[3 * s] + m[4 * s];
    const V difference_p = m[s] - m[2 * s], difference_q = m[3 * s] - m[4 * s];
    to[0] = V::fma(set(at_0), m[0], V::fma(set(at_p), sum_p, set(at_q) * sum_q));
    to[t] = V::fma(set(at_p * p), difference_p, set(at_q * q) * difference_q);
    to[2 * t] = V::fma(set(at_p * p * p), sum_p, V::fma(set(at_q * q * q), sum_q, m[5 * s]));
  }
};

// A line with kTile <= 4 outputs, at the edge of an image, for the same transformed filters. Its points are the first
// kTile + 1 of 0, p, -p, q, -q, and infinity: only these products are read and written. A filter's factor is that of
// all points; the factors (a - b) of the points b left out are taken back by the input's transform, exactly, since they
// are dyadic.
template <class V, int kTile>
struct Winograd4x4Edge;

template <class V>
struct Winograd4x4Edge<V, 4> : Winograd4x4<V> {};

template <class V>
struct Winograd4x4Edge<V, 3> {
  using Base = Winograd4x4<V>;
  static constexpr double p = Base::p, q = Base::q;

  SIXLOOP_HD static V set(double x) { return Base::set(x); }

  SIXLOOP_HD static void input(const V* d, int s, V* to, int t) {
    // x^i (x - q), of which the polynomials are sums.
    const V x0 = V::fnma(set(q), d[0], d[s]), x1 = V::fnma(set(q), d[s], d[2 * s]);
    const V x2 = V::fnma(set(q), d[2 * s], d[3 * s]), x3 = V::fnma(set(q), d[3 * s], d[4 * s]);
    to[0] = set(q) * V::fnma(set(p * p), x0, x2);
    to[t] = set(p + q) * V::fma(set(p), x1, x2);
    to[2 * t] = set(q - p) * V::fnma(set(p), x1, x2);
    to[3 * t] = set(2 * q) * V::fnma(set(p * p), d[s], d[3 * s]);
    to[5 * t] = V::fnma(set(p * p), x1, x3);
  }
  SIXLOOP_HD static void output(const V* m, int s, V* to, int t) {
    const V sum_p = m[s] + m[2 * s], difference_p = m[s] - m[2 * s];
    to[0] = m[0] + (sum_p + m[3 * s]);
    to[t] = V::fma(set(p), difference_p, set(q) * m[3 * s]);
    to[2 * t] = V::fma(set(p * p), sum_p, V::fma(set(q * q), m[3 * s], m[5 * s]));
  }
  SIXLOOP_HD static void grad_output(const V* y, int s, V* to, int t) {
    const V even_p = V::fma(set(p * p), y[2 * s], y[0]);
    to[0] = y[0];
    to[t] = V::fma(set(p), y[s], even_p);
    to[2 * t] = V::fnma(set(p), y[s], even_p);
    to[3 * t] = V::fma(set(q * q), y[2 * s], V::fma(set(q), y[s], y[0]));
    to[5 * t] = y[2 * s];
  }
};

template <class V>
struct Winograd4x4Edge<V, 2> {
  using Base = Winograd4x4<V>;
  static constexpr double p = Base::p, q = Base::q;

  SIXLOOP_HD static V set(double x) { return Base::set(x); }

  SIXLOOP_HD static void input(const V* d, int s, V* to, int t) {
    const V even_p = set(p * p - q * q) * d[2 * s];
    to[0] = V::fma(set(p * p * q * q), d[0], set(-q * q) * d[2 * s]);
    to[t] = V::fma(set(p * (p * p - q * q)), d[s], even_p);
    to[2 * t] = V::fnma(set(p * (p * p - q * q)), d[s], even_p);
    to[5 * t] = V::fnma(set(p * p), d[s], d[3 * s]);
  }
  SIXLOOP_HD static void output(const V* m, int s, V* to, int t) {
    to[0] = m[0] + (m[s] + m[2 * s]);
    to[t] = V::fma(set(p), m[s] - m[2 * s], m[5 * s]);
  }
  SIXLOOP_HD static void grad_output(const V* y, int s, V* to, int t) {
    to[0] = y[0];
    to[t] = V::fma(set(p), y[s], y[0]);
    to[2 * t] = V::fnma(set(p), y[s], y[0]);
    to[5 * t] = y[s];
  }
};

template <class V>
struct Winograd4x4Edge<V, 1> {
  using Base = Winograd4x4<V>;
  static constexpr double p = Base::p, q = Base::q;

  SIXLOOP_HD static V set(double x) { return Base::set(x); }

  SIXLOOP_HD static void input(const V* d, int s, V* to, int t) {
    to[0] = V::fma(set(p * p * q * q), d[0], set(-p * q * q) * d[s]);
    to[t] = set(2 * p * (p * p - q * q)) * d[s];
    to[5 * t] = V::fnma(set(p), d[s], d[2 * s]);
  }
  SIXLOOP_HD static void output(const V* m, int s, V* to, int) { to[0] = m[0] + (m[s] + m[5 * s]); }
  SIXLOOP_HD static void grad_output(const V* y, int, V* to, int t) { to[0] = to[t] = to[5 * t] = y[0]; }
};

// The same points for 2x2 outputs of a 5x5 filter.
template <class V>
struct Winograd5x5 : Winograd4x4<V> {
  using Base = Winograd4x4<V>;
  static constexpr int kTile = 2, kFilter = 5;
  static constexpr double p = Base::p, q = Base::q, at_p = Base::at_p, at_q = Base::at_q;

  SIXLOOP_HD static V set(double x) { return Base::set(x); }

  SIXLOOP_HD static void filter(const V* g, int s, V* to, int t) {
    const V even_p = V::fma(set(at_p * p * p * p * p), g[4 * s], V::fma(set(at_p * p * p), g[2 * s], set(at_p) * g[0]));
    const V even_q = V::fma(set(at_q * q * q * q * q), g[4 * s], V::fma(set(at_q * q * q), g[2 * s], set(at_q) * g[0]));
    const V odd_p = V::fma(set(at_p * p * p * p), g[3 * s], set(at_p * p) * g[s]);
    const V odd_q = V::fma(set(at_q * q * q * q), g[3 * s], set(at_q * q) * g[s]);
    to[0] = set(Base::at_0) * g[0];
    to[t] = even_p + odd_p;
    to[2 * t] = even_p - odd_p;
    to[3 * t] = even_q + odd_q;
    to[4 * t] = even_q - odd_q;
    to[5 * t] = g[4 * s];
  }
  SIXLOOP_HD static void output(const V* m, int s, V* to, int t) {
    const V sum_p = m[s] + m[2 * s], sum_q = m[3 * s] + m[4 * s];
    const V difference_p = m[s] - m[2 * s], difference_q = m[3 * s] - m[4 * s];
    to[0] = m[0] + (sum_p + sum_q);
    to[t] = V::fma(set(p), difference_p, V::fma(set(q), difference_q, m[5 * s]));
  }
  SIXLOOP_HD static void grad_output(const V* y, int s, V* to, int t) {
    to[0] = y[0];
    to[t] = V::fma(set(p), y[s], y[0]);
    to[2 * t] = V::fnma(set(p), y[s], y[0]);
    to[3 * t] = V::fma(set(q), y[s], y[0]);
    to[4 * t] = V::fnma(set(q), y[s], y[0]);
    to[5 * t] = y[s];
  }
  SIXLOOP_HD static void grad_filter(const V* m, int s, V* to, int t) {
    const V sum_p = m[s] + m[2 * s], sum_q = m[3 * s] + m[4 * s];
    const V difference_p = m[s] - m[2 * s], difference_q = m[3 * s] - m[4 * s];
    to[0] = V::fma(set(Base::at_0), m[0], V::fma(set(at_p), sum_p, set(at_q) * sum_q));
    to[t] = V::fma(set(at_p * p), difference_p, set(at_q * q) * difference_q);
    to[2 * t] = V::fma(set(at_p * p * p), sum_p, set(at_q * q * q) * sum_q);
    to[3 * t] = V::fma(set(at_p * p * p * p), difference_p, set(at_q * q * q * q) * difference_q);
    to[4 * t] = V::fma(set(at_p * p * p * p * p), sum_p, V::fma(set(at_q * q * q * q * q), sum_q, m[5 * s]));
  }
};

enum class EdgeLine { input, output, grad_output };

template <class V, int kTile, EdgeLine kLine>
SIXLOOP_HD inline void edge_line(const V* from, int from_step, V* to, int to_step) {
  using F = Winograd4x4Edge<V, kTile>;
  if constexpr (kLine == EdgeLine::input) F::input(from, from_step, to, to_step);
  if constexpr (kLine == EdgeLine::output) F::output(from, from_step, to, to_step);
  if constexpr (kLine == EdgeLine::grad_output) F::grad_output(from, from_step, to, to_step);
}

template <class V>
using WinogradLine = void(const V* from, int from_step, V* to, int to_step);

}  // namespace
}  // namespace sixloop
