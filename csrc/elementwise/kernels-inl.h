// The kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include <cstdint>

#include "base/simd/math-inl.h"
#include "elementwise/activation.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// y[i] = f(a[i]). y may be a.
template <class V, class F>
void map(const typename V::T* a, typename V::T* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + V::N <= n; i += V::N) f(V::load(a + i)).store(y + i);
  if (i < n) f(V::load_n(a + i, n - i)).store_n(y + i, n - i);
}

// y[i] = f(a[i], b[i]). y may be a or b.
template <class V, class F>
void map(const typename V::T* a, const typename V::T* b, typename V::T* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + V::N <= n; i += V::N) f(V::load(a + i), V::load(b + i)).store(y + i);
  if (i < n) f(V::load_n(a + i, n - i), V::load_n(b + i, n - i)).store_n(y + i, n - i);
}

// An activation is a struct of three functions. value(x, alpha); gradient(dy, x, alpha) from the input x;
// gradient_of(dy, y) from the output y, with the default alpha. Comparisons put a NaN with the numbers that
// are not above zero, so value() and smooth gradients let it through and the others give what stands there.
template <class V>
struct Identity {
  SIXLOOP_HD static V value(V x, V) { return x; }
  SIXLOOP_HD static V gradient(V dy, V, V) { return dy; }
  SIXLOOP_HD static V gradient_of(V dy, V) { return dy; }
};

template <class V>
struct Relu {
  SIXLOOP_HD static V value(V x, V) { return V::max(V::zero(), x); }
  SIXLOOP_HD static V gradient(V dy, V x, V) { return V::where(V::lt(V::zero(), x), dy); }
  SIXLOOP_HD static V gradient_of(V dy, V y) { return V::where(V::lt(V::zero(), y), dy); }
};

template <class V>
struct Sigmoid {
  SIXLOOP_HD static V value(V x, V) { return sigmoid(x); }
  // s(x) s(-x) = e / (1 + e)^2, exact in both tails.
  SIXLOOP_HD static V gradient(V dy, V x, V) {
    const V e = exp(V::neg(V::abs(x)));
    const V d = V::set1(1) + e;
    return dy * (e / (d * d));
  }
  SIXLOOP_HD static V gradient_of(V dy, V y) { return dy * (y * (V::set1(1) - y)); }
};

template <class V>
struct Tanh {
  SIXLOOP_HD static V value(V x, V) { return tanh(x); }
  // 1 - tanh(x)^2 = 4 e / (1 + e)^2 with e = exp(-2 |x|), exact in both tails.
  SIXLOOP_HD static V gradient(V dy, V x, V) {
    const V e = exp(V::set1(-2) * V::abs(x));
    const V d = V::set1(1) + e;
    return dy * (V::set1(4) * e / (d * d));
  }
  SIXLOOP_HD static V gradient_of(V dy, V y) { return dy * V::fnma(y, y, V::set1(1)); }
};

template <class V>
struct LeakyRelu {
  SIXLOOP_HD static V value(V x, V alpha) { return V::select(V::lt(V::zero(), x), x, alpha * x); }
  SIXLOOP_HD static V gradient(V dy, V x, V alpha) { return V::select(V::lt(V::zero(), x), dy, alpha * dy); }
  SIXLOOP_HD static V gradient_of(V dy, V y) { return gradient(dy, y, V::set1(typename V::T(0.01))); }
};

template <class V>
struct Elu {
  SIXLOOP_HD static V value(V x, V alpha) { return V::select(V::lt(V::zero(), x), x, alpha * expm1(x)); }
  SIXLOOP_HD static V gradient(V dy, V x, V alpha) { return V::select(V::lt(V::zero(), x), dy, dy * (alpha * exp(x))); }
  // alpha = 1: exp(x) = y + 1.
  SIXLOOP_HD static V gradient_of(V dy, V y) { return V::select(V::lt(V::zero(), y), dy, dy * (y + V::set1(1))); }
};

template <class V>
struct Gelu {
  SIXLOOP_HD static V value(V x, V) { return gelu(x); }
  SIXLOOP_HD static V gradient(V dy, V x, V) { return dy * gelu_slope(x); }
};

template <class V>
struct Softplus {
  SIXLOOP_HD static V value(V x, V) { return softplus(x); }
  SIXLOOP_HD static V gradient(V dy, V x, V) { return dy * sigmoid(x); }
  // sigmoid(x) = 1 - exp(-y).
  SIXLOOP_HD static V gradient_of(V dy, V y) { return dy * V::neg(expm1(V::neg(y))); }
};

template <class V>
struct Step {
  SIXLOOP_HD static V value(V x, V) { return V::where(V::lt(V::zero(), x), V::set1(1)); }
  SIXLOOP_HD static V gradient(V, V, V) { return V::zero(); }
  SIXLOOP_HD static V gradient_of(V, V) { return V::zero(); }
};

template <class V>
struct Ramp {
  SIXLOOP_HD static V value(V x, V) { return V::min(V::set1(1), V::max(V::zero(), x)); }
  SIXLOOP_HD static V gradient(V dy, V x, V) { return V::where(V::lt(V::zero(), x) & V::lt(x, V::set1(1)), dy); }
  SIXLOOP_HD static V gradient_of(V dy, V y) { return gradient(dy, y, V::zero()); }
};

template <class V>
struct Gaussian {
  SIXLOOP_HD static V value(V x, V) { return gaussian(x); }
  SIXLOOP_HD static V gradient(V dy, V x, V) { return dy * gaussian_slope(x); }
};

// Calls f with the struct of an activation, outside the loops over elements.
template <class V, class F>
void with_activation(Activation activation, F f) {
  switch (activation) {
    case Activation::none:
      return f(Identity<V>{});
    case Activation::relu:
      return f(Relu<V>{});
    case Activation::sigmoid:
      return f(Sigmoid<V>{});
    case Activation::tanh:
      return f(Tanh<V>{});
    case Activation::leaky_relu:
      return f(LeakyRelu<V>{});
    case Activation::elu:
      return f(Elu<V>{});
    case Activation::gelu:
      return f(Gelu<V>{});
    case Activation::softplus:
      return f(Softplus<V>{});
    case Activation::step:
      return f(Step<V>{});
    case Activation::ramp:
      return f(Ramp<V>{});
    case Activation::gaussian:
      return f(Gaussian<V>{});
  }
}

template <class V>
void activate_vectors(const typename V::T* x, typename V::T* y, int64_t n, Activation activation, typename V::T alpha) {
  with_activation<V>(activation, [=](auto function) {
    using Function = decltype(function);
    const V a = V::set1(alpha);
    map<V>(x, y, n, [a](V v) { return Function::value(v, a); });
  });
}

template <class V>
void activate_grad_vectors(const typename V::T* dy, const typename V::T* x, typename V::T* dx, int64_t n,
                           Activation activation, typename V::T alpha) {
  with_activation<V>(activation, [=](auto function) {
    using Function = decltype(function);
    const V a = V::set1(alpha);
    map<V>(dy, x, dx, n, [a](V g, V v) { return Function::gradient(g, v, a); });
  });
}

template <class V>
void activate_grad_of_vectors(const typename V::T* dy, const typename V::T* y, typename V::T* dz, int64_t n,
                              Activation activation) {
  with_activation<V>(activation, [=](auto function) {
    using Function = decltype(function);
    if constexpr (requires(V v) { Function::gradient_of(v, v); }) {
      map<V>(dy, y, dz, n, [](V g, V v) { return Function::gradient_of(g, v); });
    }
  });
}

template <class V>
void add_vectors(const typename V::T* a, const typename V::T* b, typename V::T* y, int64_t n) {
  map<V>(a, b, y, n, [](V u, V v) { return u + v; });
}

template <class V>
void scale_vectors(const typename V::T* x, typename V::T s, typename V::T* y, int64_t n) {
  const V factor = V::set1(s);
  map<V>(x, y, n, [factor](V v) { return v * factor; });
}

// Four vectors of columns at a time: the accumulators stay in registers while the rows pass.
template <class V>
void column_sum_vectors(const typename V::T* x, int64_t rows, int64_t columns, int64_t ld, typename V::T* sum) {
  constexpr int kVectors = 4;
  int64_t c = 0;
  for (; c + kVectors * V::N <= columns; c += kVectors * V::N) {
    V s[kVectors];
    for (int i = 0; i < kVectors; ++i) s[i] = V::load(sum + c + i * V::N);
    for (int64_t r = 0; r < rows; ++r) {
      const typename V::T* row = x + r * ld + c;
      for (int i = 0; i < kVectors; ++i) s[i] = s[i] + V::load(row + i * V::N);
    }
    for (int i = 0; i < kVectors; ++i) s[i].store(sum + c + i * V::N);
  }
  for (; c < columns; c += V::N) {
    const int64_t n = columns - c < V::N ? columns - c : V::N;
    V s = V::load_n(sum + c, n);
    for (int64_t r = 0; r < rows; ++r) s = s + V::load_n(x + r * ld + c, n);
    s.store_n(sum + c, n);
  }
}

}  // namespace
}  // namespace sixloop
