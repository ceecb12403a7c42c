// The kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
#pragma once

#include <cstdint>

#include "base/simd/math-inl.h"
#include "base/simd/vectors.h"
#include "norm/norm.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// Every column has one accumulator that meets the rows in order, so it does not matter how many columns a
// vector has.

template <class V, class T = typename V::T>
void batch_moments(const T* x, int64_t rows, int64_t pitch, int64_t channels, T* base, T* sum, T* squares) {
  const V inverse = V::set1(T{1} / static_cast<T>(rows));
  for_vectors<V, 4>(channels, false, [&]<int M>(auto lanes, int64_t c) {
    V first[M];
    for (int m = 0; m < M; ++m) first[m] = V::zero();
    for (int64_t r = 0; r < rows; ++r) {
      for (int m = 0; m < M; ++m) first[m] = first[m] + lanes.load(x + r * pitch + c + m * V::N);
    }
    V total[M], square[M];
    for (int m = 0; m < M; ++m) {
      first[m] = first[m] * inverse;
      total[m] = square[m] = V::zero();
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int m = 0; m < M; ++m) {
        const V d = lanes.load(x + r * pitch + c + m * V::N) - first[m];
        total[m] = total[m] + d;
        square[m] = V::fma(d, d, square[m]);
      }
    }
    for (int m = 0; m < M; ++m) {
      lanes.store(first[m], base + c + m * V::N);
      lanes.store(total[m], sum + c + m * V::N);
      lanes.store(square[m], squares + c + m * V::N);
    }
  });
}

template <class V, bool kResidual, class T = typename V::T>
void batch_normalize(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const T* mean, const T* scale,
                     const T* shift) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t row = r * channels;
    for_each_vector<V>(channels, [&](auto lanes, int64_t i) {
      const V d = lanes.load(x + row + i) - lanes.load(mean + i);
      V value = V::fma(d, lanes.load(scale + i), lanes.load(shift + i));
      if constexpr (kResidual) value = value + lanes.load(residual + row + i);
      lanes.store(value, y + row + i);
    });
  }
}

template <class V, class T = typename V::T>
void batch_normalize(const T* x, const T* residual, T* y, int64_t rows, int64_t channels, const T* mean, const T* scale,
                     const T* shift) {
  residual != nullptr ? batch_normalize<V, true>(x, residual, y, rows, channels, mean, scale, shift)
                      : batch_normalize<V, false>(x, residual, y, rows, channels, mean, scale, shift);
}

// dy where the ReLU let it through; d is x - mean.
template <class V, class Lanes, class T = typename V::T>
V through_relu(Lanes lanes, const BatchRelu<T>& relu, int64_t i, V dy, V d) {
  const V y = V::fma(d, lanes.load(relu.scale + i), lanes.load(relu.shift + i));
  return V::where(V::lt(V::zero(), y), dy);
}

template <class V, bool kRelu, class T = typename V::T>
void batch_grad_sums(const T* dy, const T* x, const T* mean, const BatchRelu<T>& relu, int64_t rows, int64_t pitch,
                     int64_t channels, T* sum, T* dot) {
  for_vectors<V, 4>(channels, false, [&]<int M>(auto lanes, int64_t c) {
    V center[M], total[M], product[M];
    for (int m = 0; m < M; ++m) {
      center[m] = lanes.load(mean + c + m * V::N);
      total[m] = product[m] = V::zero();
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int m = 0; m < M; ++m) {
        const int64_t i = r * pitch + c + m * V::N;
        const V d = lanes.load(x + i) - center[m];
        V g = lanes.load(dy + i);
        if constexpr (kRelu) g = through_relu<V>(lanes, relu, c + m * V::N, g, d);
        total[m] = total[m] + g;
        product[m] = V::fma(g, d, product[m]);
      }
    }
    for (int m = 0; m < M; ++m) {
      lanes.store(total[m], sum + c + m * V::N);
      lanes.store(product[m], dot + c + m * V::N);
    }
  });
}

template <class V, class T = typename V::T>
void batch_grad_sums(const T* dy, const T* x, const T* mean, const BatchRelu<T>& relu, int64_t rows, int64_t pitch,
                     int64_t channels, T* sum, T* dot) {
  if (relu.scale != nullptr) {
    batch_grad_sums<V, true>(dy, x, mean, relu, rows, pitch, channels, sum, dot);
  } else {
    batch_grad_sums<V, false>(dy, x, mean, relu, rows, pitch, channels, sum, dot);
  }
}

template <class V, class T = typename V::T>
void batch_relu_grad_sums(const T* dy, const T* y, const T* x, const T* mean, int64_t rows, int64_t pitch,
                          int64_t channels, T* dz, T* sum, T* dot) {
  for_vectors<V, 4>(channels, false, [&]<int M>(auto lanes, int64_t c) {
    V center[M], total[M], product[M];
    for (int m = 0; m < M; ++m) {
      center[m] = lanes.load(mean + c + m * V::N);
      total[m] = product[m] = V::zero();
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int m = 0; m < M; ++m) {
        const int64_t i = r * pitch + c + m * V::N;
        const V g = V::where(V::lt(V::zero(), lanes.load(y + i)), lanes.load(dy + i));
        lanes.store(g, dz + i);
        total[m] = total[m] + g;
        product[m] = V::fma(g, lanes.load(x + i) - center[m], product[m]);
      }
    }
    for (int m = 0; m < M; ++m) {
      lanes.store(total[m], sum + c + m * V::N);
      lanes.store(product[m], dot + c + m * V::N);
    }
  });
}

// kBatch: the statistics are those of the batch.
template <class V, bool kRelu, bool kBatch, class T = typename V::T>
void batch_grad_input(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const T* mean,
                      const BatchRelu<T>& relu, const T* a, const T* b, const T* c) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t row = r * channels;
    for_each_vector<V>(channels, [&](auto lanes, int64_t i) {
      V g = lanes.load(dy + row + i);
      V d = V::zero();
      if constexpr (kRelu || kBatch) d = lanes.load(x + row + i) - lanes.load(mean + i);
      if constexpr (kRelu) g = through_relu<V>(lanes, relu, i, g, d);
      const V factor = lanes.load(a + i);
      if constexpr (kBatch) {
        const V rest = V::fma(lanes.load(b + i), d, lanes.load(c + i));
        lanes.store(V::fma(factor, g, rest), dx + row + i);
      } else {
        lanes.store(factor * g, dx + row + i);
      }
    });
  }
}

template <class V, class T = typename V::T>
void batch_grad_input(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const T* mean,
                      const BatchRelu<T>& relu, const T* a, const T* b, const T* c) {
  if (relu.scale != nullptr) {
    b != nullptr ? batch_grad_input<V, true, true>(dy, x, dx, rows, channels, mean, relu, a, b, c)
                 : batch_grad_input<V, true, false>(dy, x, dx, rows, channels, mean, relu, a, b, c);
  } else {
    b != nullptr ? batch_grad_input<V, false, true>(dy, x, dx, rows, channels, mean, relu, a, b, c)
                 : batch_grad_input<V, false, false>(dy, x, dx, rows, channels, mean, relu, a, b, c);
  }
}

// s^-beta. The usual exponent needs no logarithm.
template <class V, bool kThreeQuarters, class T = typename V::T>
SIXLOOP_HD V response_factor(V s, T beta) {
  if constexpr (kThreeQuarters) {
    const V root = V::sqrt(s);
    return V::set1(1) / (root * V::sqrt(root));
  } else {
    return pow(s, -beta);
  }
}

// The sums of `count` consecutive elements that begin at p and at the elements after it, in order.
template <class V, class T = typename V::T>
V window_sum(const T* p, int64_t count) {
  V sum = V::load(p);
  for (int64_t j = 1; j < count; ++j) sum = sum + V::load(p + j);
  return sum;
}

// A row of scratch: `left` zeros, the channels, zeros. Returns where the channels begin.
template <class T>
T* clear_row(T* row, int64_t left, int64_t size) {
  for (int64_t i = 0; i < size; ++i) row[i] = 0;
  return row + left;
}

template <class V, class T = typename V::T>
void store_squares(const T* x, T* squares, int64_t channels) {
  for_each_vector<V>(channels, [&](auto lanes, int64_t c) {
    const V v = lanes.load(x + c);
    lanes.store(v * v, squares + c);
  });
}

template <class V, bool kThreeQuarters, class T = typename V::T>
void response_rows(const T* x, T* y, int64_t rows, int64_t channels, const ResponseParams<T>& p, T* scratch) {
  T* squares = clear_row(scratch, p.before, p.before + channels + p.after + 16);
  const int64_t window = p.before + 1 + p.after;
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    store_squares<V>(x, squares, channels);
    for_each_vector<V>(channels, [&](auto lanes, int64_t c) {
      const V sum = window_sum<V>(squares - p.before + c, window);
      const V s = V::fma(V::set1(p.alpha), sum, V::set1(p.k));
      lanes.store(lanes.load(x + c) * response_factor<V, kThreeQuarters>(s, p.beta), y + c);
    });
  }
}

template <class V, bool kThreeQuarters, class T = typename V::T>
void response_grad_rows(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const ResponseParams<T>& p,
                        T* scratch) {
  const int64_t size = p.before + channels + p.after + 16;
  T* squares = clear_row(scratch, p.before, size);
  // The windows that contain a channel belong to the channels after it as far as they reach back.
  T* shares = clear_row(scratch + size, p.after, size);
  const int64_t window = p.before + 1 + p.after;
  const V factor = V::set1(T{2} * p.alpha * p.beta);
  for (int64_t r = 0; r < rows; ++r, dy += channels, x += channels, dx += channels) {
    store_squares<V>(x, squares, channels);
    for_each_vector<V>(channels, [&](auto lanes, int64_t c) {
      const V sum = window_sum<V>(squares - p.before + c, window);
      const V s = V::fma(V::set1(p.alpha), sum, V::set1(p.k));
      const V part = lanes.load(dy + c) * response_factor<V, kThreeQuarters>(s, p.beta);
      lanes.store(part, dx + c);
      lanes.store(part * lanes.load(x + c) / s, shares + c);
    });
    for_each_vector<V>(channels, [&](auto lanes, int64_t c) {
      const V sum = window_sum<V>(shares - p.after + c, window);
      lanes.store(V::fnma(factor * lanes.load(x + c), sum, lanes.load(dx + c)), dx + c);
    });
  }
}

template <class V, class T = typename V::T>
void local_response(const T* x, T* y, int64_t rows, int64_t channels, const ResponseParams<T>& p, T* scratch) {
  if (p.beta == T(0.75)) {
    response_rows<V, true>(x, y, rows, channels, p, scratch);
  } else {
    response_rows<V, false>(x, y, rows, channels, p, scratch);
  }
}

template <class V, class T = typename V::T>
void local_response_grad(const T* dy, const T* x, T* dx, int64_t rows, int64_t channels, const ResponseParams<T>& p,
                         T* scratch) {
  if (p.beta == T(0.75)) {
    response_grad_rows<V, true>(dy, x, dx, rows, channels, p, scratch);
  } else {
    response_grad_rows<V, false>(dy, x, dx, rows, channels, p, scratch);
  }
}

}  // namespace
}  // namespace sixloop
