// The kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include <cstdint>

#include "base/simd/lanes.h"
#include "base/simd/math-inl.h"
#include "base/simd/vectors.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// ---- rows

// Calls f(i, count) for the lanes' worth of elements from i on: count is the number of lanes, but for a last part.
template <class V, class F>
void for_lanes(int64_t n, F f) {
  int64_t i = 0;
  for (; i + Lanes<V>::kCount <= n; i += Lanes<V>::kCount) f(i, int64_t{Lanes<V>::kCount});
  if (i < n) f(i, n - i);
}

template <class V, class T = typename V::T>
Lanes<V> load_part(const T* p, int64_t count, T rest) {
  return count == Lanes<V>::kCount ? Lanes<V>::load(p) : Lanes<V>::load_n(p, count, rest);
}

template <class V, class T = typename V::T>
void store_part(const Lanes<V>& a, T* p, int64_t count) {
  if (count == Lanes<V>::kCount) {
    a.store(p);
    return;
  }
  T values[Lanes<V>::kCount];
  a.store(values);
  for (int64_t i = 0; i < count; ++i) p[i] = values[i];
}

template <class V, class F>
Lanes<V> map(Lanes<V> a, F f) {
  for (int i = 0; i < Lanes<V>::kVectors; ++i) a.v[i] = f(a.v[i]);
  return a;
}

template <class V>
Lanes<V> sum(const Lanes<V>& a, const Lanes<V>& b) {
  return Lanes<V>::zip(a, b, [](V p, V q) { return p + q; });
}

template <class V>
typename V::T total(const Lanes<V>& a) {
  using T = typename V::T;
  return a.combine([](T p, T q) { return p + q; });
}

template <class T>
constexpr T kLowest = static_cast<T>(-__builtin_inf());

// The largest element that is not NaN; -inf where there is none. The order does not matter: four chains hide the
// latency.
template <class V, class T = typename V::T>
T row_max(const T* x, int64_t n) {
  constexpr int kChains = 4;
  const auto larger = [](const Lanes<V>& a, const Lanes<V>& b) {
    return Lanes<V>::zip(a, b, [](V p, V q) { return V::max(p, q); });
  };
  Lanes<V> best[kChains];
  for (Lanes<V>& chain : best) chain = Lanes<V>::set1(kLowest<T>);
  int64_t i = 0;
  for (; i + kChains * Lanes<V>::kCount <= n; i += kChains * Lanes<V>::kCount) {
    for (int c = 0; c < kChains; ++c) best[c] = larger(Lanes<V>::load(x + i + c * Lanes<V>::kCount), best[c]);
  }
  for (int c = 1; c < kChains; ++c) best[0] = larger(best[c], best[0]);
  for_lanes<V>(
      n - i, [&](int64_t j, int64_t count) { best[0] = larger(load_part<V>(x + i + j, count, kLowest<T>), best[0]); });
  return best[0].combine([](T a, T b) { return a > b ? a : b; });
}

// Sums exp(x - m), and stores the terms in e if kStore. Lanes beyond the row are exp(-inf) = 0.
template <class V, bool kStore, class T = typename V::T>
T row_exp(const T* x, T m, T* e, int64_t n) {
  const V shift = V::set1(m);
  const auto exp_of = [&](V v) { return exp_nonpositive(v - shift); };
  Lanes<V> sums = Lanes<V>::set1(0);
  int64_t i = 0;
  for (; i + Lanes<V>::kCount <= n; i += Lanes<V>::kCount) {
    const Lanes<V> terms = map<V>(Lanes<V>::load(x + i), exp_of);
    sums = sum<V>(sums, terms);
    if constexpr (kStore) terms.store(e + i);
  }
  if (i < n) {
    const Lanes<V> terms = map<V>(Lanes<V>::load_n(x + i, n - i, kLowest<T>), exp_of);
    sums = sum<V>(sums, terms);
    if constexpr (kStore) store_part<V>(terms, e + i, n - i);
  }
  return total<V>(sums);
}

template <class V, class T = typename V::T>
T log_of(T x) {
  T values[V::N];
  log(V::set1(x)).store(values);
  return values[0];
}

// Rows of at most as many elements as there are lanes, in registers from load to store: the loops over parts cost more
// than what they do. The operations, and so the bits, are the same.
template <class V>
class ShortRow {
 public:
  using T = typename V::T;

  explicit ShortRow(int64_t n) : n_(n) {
    T number[Lanes<V>::kCount];
    for (int i = 0; i < Lanes<V>::kCount; ++i) number[i] = static_cast<T>(i);
    for (int v = 0; v < Lanes<V>::kVectors; ++v) {
      inside_[v] = V::lt(V::load(number + v * V::N), V::set1(static_cast<T>(n)));
    }
  }

  // The terms exp(x - max), and their sum.
  Lanes<V> terms(const T* x, T* max, T* sum) const {
    Lanes<V> row;
    for (int v = 0; v < Lanes<V>::kVectors; ++v) {
      row.v[v] = V::select(inside_[v], V::load_n(x + v * V::N, count(v)), V::set1(kLowest<T>));
    }
    // As in row_max(): a NaN is no maximum.
    const Lanes<V> lowest = Lanes<V>::set1(kLowest<T>);
    *max = Lanes<V>::zip(row, lowest, [](V a, V b) { return V::max(a, b); }).combine([](T a, T b) {
      return a > b ? a : b;
    });
    const V shift = V::set1(*max);
    row = map<V>(row, [&](V v) { return exp_nonpositive(v - shift); });
    *sum = total<V>(row);
    return row;
  }

  void store(const Lanes<V>& row, T* y) const {
    for (int v = 0; v < Lanes<V>::kVectors; ++v) row.v[v].store_n(y + v * V::N, count(v));
  }

 private:
  int64_t count(int v) const {
    const int64_t left = n_ - v * V::N;
    return left < 0 ? 0 : left < V::N ? left : V::N;
  }

  int64_t n_;
  typename V::Mask inside_[Lanes<V>::kVectors];
};

template <class V, class T = typename V::T>
void softmax_rows(const T* x, T* y, int64_t rows, int64_t n) {
  if (n <= Lanes<V>::kCount) {
    const ShortRow<V> row(n);
    for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
      T max, sum;
      const Lanes<V> terms = row.terms(x, &max, &sum);
      const V inverse = V::set1(T{1} / sum);
      row.store(map<V>(terms, [&](V e) { return e * inverse; }), y);
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const V inverse = V::set1(T{1} / row_exp<V, true>(x, row_max<V>(x, n), y, n));
    for_lanes<V>(n, [&](int64_t i, int64_t count) {
      store_part<V>(map<V>(load_part<V>(y + i, count, T{0}), [&](V e) { return e * inverse; }), y + i, count);
    });
  }
}

template <class V, class T = typename V::T>
void log_softmax_rows(const T* x, T* y, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r, x += n, y += n) {
    const T m = row_max<V>(x, n);
    const V shift = V::set1(m);
    const V log_sum = V::set1(log_of<V>(row_exp<V, false>(x, m, static_cast<T*>(nullptr), n)));
    for_lanes<V>(n, [&](int64_t i, int64_t count) {
      store_part<V>(map<V>(load_part<V>(x + i, count, T{0}), [&](V v) { return (v - shift) - log_sum; }), y + i, count);
    });
  }
}

// dx = y (dy - sum_j dy_j y_j)
template <class V, class T = typename V::T>
void softmax_grad_rows(const T* dy, const T* y, T* dx, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r, dy += n, y += n, dx += n) {
    Lanes<V> sums = Lanes<V>::set1(0);
    for_lanes<V>(n, [&](int64_t i, int64_t count) {
      const Lanes<V> g = load_part<V>(dy + i, count, T{0});
      const Lanes<V> p = load_part<V>(y + i, count, T{0});
      for (int v = 0; v < Lanes<V>::kVectors; ++v) sums.v[v] = V::fma(g.v[v], p.v[v], sums.v[v]);
    });
    const V dot = V::set1(total<V>(sums));
    for_lanes<V>(n, [&](int64_t i, int64_t count) {
      const Lanes<V> g = load_part<V>(dy + i, count, T{0});
      const Lanes<V> p = load_part<V>(y + i, count, T{0});
      store_part<V>(Lanes<V>::zip(g, p, [&](V a, V b) { return b * (a - dot); }), dx + i, count);
    });
  }
}

// dx = dy - exp(y) sum_j dy_j
template <class V, class T = typename V::T>
void log_softmax_grad_rows(const T* dy, const T* y, T* dx, int64_t rows, int64_t n) {
  for (int64_t r = 0; r < rows; ++r, dy += n, y += n, dx += n) {
    Lanes<V> sums = Lanes<V>::set1(0);
    for_lanes<V>(n, [&](int64_t i, int64_t count) { sums = sum<V>(sums, load_part<V>(dy + i, count, T{0})); });
    const V all = V::set1(total<V>(sums));
    for_lanes<V>(n, [&](int64_t i, int64_t count) {
      const Lanes<V> g = load_part<V>(dy + i, count, T{0});
      const Lanes<V> p = load_part<V>(y + i, count, T{0});
      store_part<V>(Lanes<V>::zip(g, p, [&](V a, V b) { return V::fnma(exp(b), all, a); }), dx + i, count);
    });
  }
}

template <class V, class T = typename V::T>
void cross_entropy_rows(const T* x, const int64_t* labels, T* dx, T* losses, int64_t rows, int64_t n, T scale) {
  if (n <= Lanes<V>::kCount) {
    const ShortRow<V> row(n);
    for (int64_t r = 0; r < rows; ++r, x += n, dx += n) {
      T max, all;
      const Lanes<V> terms = row.terms(x, &max, &all);
      const T inverse = T{1} / all;
      const int64_t label = labels[r];
      losses[r] = log_of<V>(all) + (max - x[label]);
      T values[Lanes<V>::kCount];
      terms.store(values);
      const V factor = V::set1(inverse * scale);
      row.store(map<V>(terms, [&](V e) { return e * factor; }), dx);
      dx[label] = (values[label] * inverse - T{1}) * scale;
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r, x += n, dx += n) {
    const T m = row_max<V>(x, n);
    const T all = row_exp<V, true>(x, m, dx, n);
    const T inverse = T{1} / all;
    const int64_t label = labels[r];
    losses[r] = log_of<V>(all) + (m - x[label]);
    const T at_label = (dx[label] * inverse - T{1}) * scale;
    const V factor = V::set1(inverse * scale);
    for_lanes<V>(n, [&](int64_t i, int64_t count) {
      store_part<V>(map<V>(load_part<V>(dx + i, count, T{0}), [&](V e) { return e * factor; }), dx + i, count);
    });
    dx[label] = at_label;
  }
}

// ---- columns

template <class V, class C, class T = typename V::T>
V column_max(C columns, const T* x, int64_t n, int64_t stride) {
  V best = V::set1(kLowest<T>);
  for (int64_t i = 0; i < n; ++i) best = V::max(columns.load(x + i * stride), best);
  return best;
}

template <class V, class T = typename V::T>
void softmax_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t count) {
  for_each_vector<V>(count, [&](auto columns, int64_t j) {
    const V m = column_max<V>(columns, x + j, n, stride);
    V all = V::zero();
    for (int64_t i = 0; i < n; ++i) {
      const V e = exp_nonpositive(columns.load(x + j + i * stride) - m);
      all = all + e;
      columns.store(e, y + j + i * stride);
    }
    const V inverse = V::set1(1) / all;
    for (int64_t i = 0; i < n; ++i) columns.store(columns.load(y + j + i * stride) * inverse, y + j + i * stride);
  });
}

template <class V, class T = typename V::T>
void log_softmax_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t count) {
  for_each_vector<V>(count, [&](auto columns, int64_t j) {
    const V m = column_max<V>(columns, x + j, n, stride);
    V all = V::zero();
    for (int64_t i = 0; i < n; ++i) all = all + exp_nonpositive(columns.load(x + j + i * stride) - m);
    const V log_sum = log(all);
    for (int64_t i = 0; i < n; ++i) {
      columns.store((columns.load(x + j + i * stride) - m) - log_sum, y + j + i * stride);
    }
  });
}

template <class V, class T = typename V::T>
void softmax_grad_columns(const T* dy, const T* y, T* dx, int64_t n, int64_t stride, int64_t count) {
  for_each_vector<V>(count, [&](auto columns, int64_t j) {
    V dot = V::zero();
    for (int64_t i = 0; i < n; ++i) {
      dot = V::fma(columns.load(dy + j + i * stride), columns.load(y + j + i * stride), dot);
    }
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = j + i * stride;
      columns.store(columns.load(y + at) * (columns.load(dy + at) - dot), dx + at);
    }
  });
}

template <class V, class T = typename V::T>
void log_softmax_grad_columns(const T* dy, const T* y, T* dx, int64_t n, int64_t stride, int64_t count) {
  for_each_vector<V>(count, [&](auto columns, int64_t j) {
    V all = V::zero();
    for (int64_t i = 0; i < n; ++i) all = all + columns.load(dy + j + i * stride);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = j + i * stride;
      columns.store(V::fnma(exp(columns.load(y + at)), all, columns.load(dy + at)), dx + at);
    }
  });
}

}  // namespace
}  // namespace sixloop
