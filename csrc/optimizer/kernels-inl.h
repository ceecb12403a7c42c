// The updates of one vector of elements, over a vector type V of base/simd/, and the CPU's loops over them. Included by
// each <isa>.cc, and by simt.cu for the updates.
#pragma once

#include <cstdint>

#include "base/simd/host_device.h"
#include "optimizer/optimizer.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// A step changes p by the gradient g, and the slots that the optimizer keeps for it.
template <class V>
struct SgdStep {
  V lr, decay;
  explicit SgdStep(const SgdArgs<typename V::T>& a) : lr(V::set1(a.lr)), decay(V::set1(a.weight_decay)) {}
  SIXLOOP_HD void operator()(V& p, V g) const { p = V::fnma(lr, V::fma(decay, p, g), p); }
};

template <class V>
struct MomentumStep {
  V lr, momentum, decay;
  bool nesterov;
  explicit MomentumStep(const SgdArgs<typename V::T>& a)
      : lr(V::set1(a.lr)), momentum(V::set1(a.momentum)), decay(V::set1(a.weight_decay)), nesterov(a.nesterov) {}
  SIXLOOP_HD void operator()(V& p, V g, V& velocity) const {
    g = V::fma(decay, p, g);
    velocity = V::fma(momentum, velocity, g);
    p = V::fnma(lr, nesterov ? V::fma(momentum, velocity, g) : velocity, p);
  }
};

template <class V>
struct AdamStep {
  V beta1, rest1, beta2, rest2, epsilon, rate, root, decay, shrink;
  explicit AdamStep(const AdamArgs<typename V::T>& a)
      : beta1(V::set1(a.beta1)),
        rest1(V::set1(a.one_minus_beta1)),
        beta2(V::set1(a.beta2)),
        rest2(V::set1(a.one_minus_beta2)),
        epsilon(V::set1(a.epsilon)),
        rate(V::set1(a.rate)),
        root(V::set1(a.root)),
        decay(V::set1(a.weight_decay)),
        shrink(V::set1(a.shrink)) {}
  SIXLOOP_HD void operator()(V& p, V g, V& m, V& v) const {
    g = V::fma(decay, p, g);
    m = V::fma(beta1, m, rest1 * g);
    v = V::fma(beta2, v, rest2 * (g * g));
    p = V::fnma(rate, m / V::fma(V::sqrt(v), root, epsilon), shrink * p);
  }
};

template <class V>
struct RmspropStep {
  V lr, epsilon, decay, rho, rest;
  explicit RmspropStep(const RmspropArgs<typename V::T>& a)
      : lr(V::set1(a.lr)),
        epsilon(V::set1(a.epsilon)),
        decay(V::set1(a.weight_decay)),
        rho(V::set1(a.rho)),
        rest(V::set1(a.one_minus_rho)) {}
  SIXLOOP_HD void operator()(V& p, V g, V& square_avg) const {
    g = V::fma(decay, p, g);
    square_avg = V::fma(rho, square_avg, rest * (g * g));
    p = V::fnma(lr, g / (V::sqrt(square_avg) + epsilon), p);
  }
};

// Whole vectors of memory, and the last ones of it.
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
  if (a.velocity == nullptr) {
    for_vectors<V>(n, [a, step = SgdStep<V>(a)](int64_t i, auto memory) {
      V p = memory.load(a.param + i);
      step(p, memory.load(a.grad + i));
      memory.store(p, a.param + i);
    });
    return;
  }
  for_vectors<V>(n, [a, step = MomentumStep<V>(a)](int64_t i, auto memory) {
    V p = memory.load(a.param + i), velocity = memory.load(a.velocity + i);
    step(p, memory.load(a.grad + i), velocity);
    memory.store(velocity, a.velocity + i);
    memory.store(p, a.param + i);
  });
}

template <class V>
void adam_vectors(const AdamArgs<typename V::T>& a, int64_t n) {
  for_vectors<V>(n, [a, step = AdamStep<V>(a)](int64_t i, auto memory) {
    V p = memory.load(a.param + i), m = memory.load(a.m + i), v = memory.load(a.v + i);
    step(p, memory.load(a.grad + i), m, v);
    memory.store(m, a.m + i);
    memory.store(v, a.v + i);
    memory.store(p, a.param + i);
  });
}

template <class V>
void rmsprop_vectors(const RmspropArgs<typename V::T>& a, int64_t n) {
  for_vectors<V>(n, [a, step = RmspropStep<V>(a)](int64_t i, auto memory) {
    V p = memory.load(a.param + i), square_avg = memory.load(a.square_avg + i);
    step(p, memory.load(a.grad + i), square_avg);
    memory.store(square_avg, a.square_avg + i);
    memory.store(p, a.param + i);
  });
}

}  // namespace
}  // namespace sixloop
