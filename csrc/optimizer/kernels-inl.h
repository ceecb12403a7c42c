// The kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include <cstdint>

#include "optimizer/optimizer.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// Whole vectors of memory, and the last ones of it: what a kernel's body reads and writes through.
template <class V>
struct Whole {
  V load(const typename V::T* p) const { return V::load(p); }
  void store(V v, typename V::T* p) const { v.store(p); }
};

template <class V>
struct Part {
  int64_t n;
  V load(const typename V::T* p) const { return V::load_n(p, n); }
  void store(V v, typename V::T* p) const { v.store_n(p, n); }
};

// Calls body(i, memory) for each vector of n elements.
template <class V, class F>
void for_vectors(int64_t n, F body) {
  int64_t i = 0;
  for (; i + V::N <= n; i += V::N) body(i, Whole<V>{});
  if (i < n) body(i, Part<V>{n - i});
}

template <class V>
void sgd_vectors(const SgdArgs<typename V::T>& a, int64_t n) {
  const V lr = V::set1(a.lr), momentum = V::set1(a.momentum), decay = V::set1(a.weight_decay);
  if (a.velocity == nullptr) {
    for_vectors<V>(n, [=](int64_t i, auto memory) {
      const V p = memory.load(a.param + i);
      const V g = V::fma(decay, p, memory.load(a.grad + i));
      memory.store(V::fnma(lr, g, p), a.param + i);
    });
    return;
  }
  for_vectors<V>(n, [=](int64_t i, auto memory) {
    const V p = memory.load(a.param + i);
    const V g = V::fma(decay, p, memory.load(a.grad + i));
    const V v = V::fma(momentum, memory.load(a.velocity + i), g);
    memory.store(v, a.velocity + i);
    memory.store(V::fnma(lr, a.nesterov ? V::fma(momentum, v, g) : v, p), a.param + i);
  });
}

template <class V>
void adam_vectors(const AdamArgs<typename V::T>& a, int64_t n) {
  const V beta1 = V::set1(a.beta1), rest1 = V::set1(a.one_minus_beta1);
  const V beta2 = V::set1(a.beta2), rest2 = V::set1(a.one_minus_beta2);
  const V epsilon = V::set1(a.epsilon), rate = V::set1(a.rate), root = V::set1(a.root);
  const V decay = V::set1(a.weight_decay), shrink = V::set1(a.shrink);
  for_vectors<V>(n, [=](int64_t i, auto memory) {
    const V p = memory.load(a.param + i);
    const V g = V::fma(decay, p, memory.load(a.grad + i));
    const V m = V::fma(beta1, memory.load(a.m + i), rest1 * g);
    const V v = V::fma(beta2, memory.load(a.v + i), rest2 * (g * g));
    memory.store(m, a.m + i);
    memory.store(v, a.v + i);
    memory.store(V::fnma(rate, m / V::fma(V::sqrt(v), root, epsilon), shrink * p), a.param + i);
  });
}

template <class V>
void rmsprop_vectors(const RmspropArgs<typename V::T>& a, int64_t n) {
  const V lr = V::set1(a.lr), epsilon = V::set1(a.epsilon), decay = V::set1(a.weight_decay);
  const V rho = V::set1(a.rho), rest = V::set1(a.one_minus_rho);
  for_vectors<V>(n, [=](int64_t i, auto memory) {
    const V p = memory.load(a.param + i);
    const V g = V::fma(decay, p, memory.load(a.grad + i));
    const V s = V::fma(rho, memory.load(a.square_avg + i), rest * (g * g));
    memory.store(s, a.square_avg + i);
    memory.store(V::fnma(lr, g / (V::sqrt(s) + epsilon), p), a.param + i);
  });
}

}  // namespace
}  // namespace sixloop
