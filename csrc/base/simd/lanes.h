// Reductions with the same bits on every instruction set: a sum over n elements is kept in 64 bytes of
// virtual lanes (16 of float32, 8 of float64); element i goes to lane i % lanes; the lanes are combined
// by halves, in a fixed order.
#pragma once

#include <cstdint>

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

template <class V>
struct Lanes {
  using T = typename V::T;
  static constexpr int kCount = 64 / static_cast<int>(sizeof(T));
  static constexpr int kVectors = kCount / V::N;

  V v[kVectors];

  static Lanes set1(T x) {
    Lanes a;
    for (int i = 0; i < kVectors; ++i) a.v[i] = V::set1(x);
    return a;
  }
  static Lanes load(const T* p) {
    Lanes a;
    for (int i = 0; i < kVectors; ++i) a.v[i] = V::load(p + i * V::N);
    return a;
  }
  // The first n lanes from memory, the others from `rest`.
  static Lanes load_n(const T* p, int64_t n, T rest) {
    T values[kCount];
    for (int i = 0; i < kCount; ++i) values[i] = i < n ? p[i] : rest;
    return load(values);
  }
  void store(T* p) const {
    for (int i = 0; i < kVectors; ++i) v[i].store(p + i * V::N);
  }

  // Lane by lane: f(V, V) -> V.
  template <class F>
  static Lanes zip(const Lanes& a, const Lanes& b, F f) {
    Lanes r;
    for (int i = 0; i < kVectors; ++i) r.v[i] = f(a.v[i], b.v[i]);
    return r;
  }

  // Combines lane i with lane i + half for half = lanes / 2 ... 1. f takes and returns T.
  template <class F>
  T combine(F f) const {
    T values[kCount];
    store(values);
    for (int half = kCount / 2; half > 0; half /= 2) {
      for (int i = 0; i < half; ++i) values[i] = f(values[i], values[i + half]);
    }
    return values[0];
  }
};

}  // namespace
}  // namespace sixloop
