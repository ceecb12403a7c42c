#include "norm/simt.h"

#include <algorithm>

#include "cuda/parts.h"
#include "elementwise/kernels-inl.h"
#include "norm/kernels-inl.h"

namespace sixloop::cuda {
namespace {

constexpr int kThreads = 256;

using Double = Lane<double>;

// x, y and their gradients are T; statistics, parameters and all that is computed are C, which T is but for bfloat16.

// --- Sums over blocks of rows: each column has an accumulator that meets the block's rows in order.

// Columns of which a block of threads has all rows in shared memory: 128 bytes of each.
template <class T>
constexpr int kWidth = 128 / static_cast<int>(sizeof(T));

// base, sum, squares: [blocks, columns], as BatchMoments has them. x is read once.
template <class T, int W, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads) moments_kernel(const T* x, BatchCut cut, C* base, C* sum, C* squares) {
  using V = Lane<T>;
  T* const tile = shared_memory<T>();
  const int64_t blocks_across = ceil_div(cut.columns, kWidth<T>);
  const int64_t block = blockIdx.x / blocks_across;
  const int64_t column = (blockIdx.x - block * blocks_across) * kWidth<T>;
  const int64_t left = cut.rows - block * cut.block_rows;
  const int rows = static_cast<int>(left < cut.block_rows ? left : cut.block_rows);
  const int columns = static_cast<int>(cut.columns - column < kWidth<T> ? cut.columns - column : kWidth<T>);
  const T* const from = x + block * cut.block_rows * cut.columns + column;

  const int thread = static_cast<int>(threadIdx.x);
  constexpr int kLine = kWidth<T> / W, kStep = kThreads / kLine;
  const int c = thread % kLine * W;
  if (c < columns) {
#pragma unroll 8
    for (int r = thread / kLine; r < rows; r += kStep) {
      store(load<W>(from + r * cut.columns + c), tile + r * kWidth<T> + c);
    }
  }
  __syncthreads();
  if (thread >= columns) return;
  const V inverse = V::set1(C{1} / static_cast<C>(rows));
  V first = V::zero();
#pragma unroll 8
  for (int r = 0; r < rows; ++r) first = first + V{tile[r * kWidth<T> + thread]};
  first = first * inverse;
  V total = V::zero(), square = V::zero();
#pragma unroll 8
  for (int r = 0; r < rows; ++r) {
    const V d = V{tile[r * kWidth<T> + thread]} - first;
    total = total + d;
    square = V::fma(d, d, square);
  }
  const int64_t at = block * cut.columns + column + thread;
  base[at] = first.v;
  sum[at] = total.v;
  squares[at] = square.v;
}

// What normalisation and its gradient need of each channel, `channels` elements each.
template <class C>
struct PerChannel {
  C* center;
  C* scale;  // of the forward pass
  C* shift;
  C* a;  // as BatchGradInput has them
  C* b;
  C* c;
};
constexpr int kPerChannel = 6;

template <class C>
PerChannel<C> per_channel(const Tensor& memory, int64_t channels) {
  C* const p = memory.data<C>();
  return {p, p + channels, p + 2 * channels, p + 3 * channels, p + 4 * channels, p + 5 * channels};
}

// sum, dot: [blocks, columns], as BatchGradSums has them. A thread has a column.
template <class T, bool kRelu, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads)
    grad_sums_kernel(const T* dy, const T* x, const C* mean, const C* affine, BatchCut cut, C* sum, C* dot) {
  using V = Lane<T>;
  const int64_t block = thread_number() / cut.columns, column = thread_number() - block * cut.columns;
  if (block * cut.block_rows >= cut.rows) return;
  const int64_t left = cut.rows - block * cut.block_rows;
  const int rows = static_cast<int>(left < cut.block_rows ? left : cut.block_rows);
  const int64_t channel = column % cut.channels;
  const V center{mean[channel]};
  V scale{}, shift{};
  if constexpr (kRelu) scale = {affine[channel]}, shift = {affine[cut.channels + channel]};
  const int64_t first = block * cut.block_rows * cut.columns + column;
  V total = V::zero(), product = V::zero();
#pragma unroll 8
  for (int r = 0; r < rows; ++r) {
    const int64_t i = first + r * cut.columns;
    const V d = V{x[i]} - center;
    V g{dy[i]};
    if constexpr (kRelu) g = V::select(V::lt(V::zero(), V::fma(d, scale, shift)), g, V::zero());
    total = total + g;
    product = V::fma(g, d, product);
  }
  sum[thread_number()] = total.v;
  dot[thread_number()] = product.v;
}

// dz and the sums as BatchReluGradSums has them, and dz of the elements that are left over, a thread for each. Since no
// arrays overlap, the loads of several rows may precede their stores.
template <class T, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads)
    relu_grad_sums_kernel(const T* __restrict__ dy, const T* __restrict__ y, const T* __restrict__ x,
                          const C* __restrict__ mean, BatchCut cut, T* __restrict__ dz, C* sum, C* dot) {
  using V = Lane<T>;
  const auto behind_relu = [](T g, T value) { return V::select(V::lt(V::zero(), V{value}), V{g}, V::zero()); };
  const int64_t block = thread_number() / cut.columns, column = thread_number() - block * cut.columns;
  if (block * cut.block_rows >= cut.rows) {
    const int64_t rest = thread_number() - ceil_div(cut.rows, cut.block_rows) * cut.columns;
    const int64_t i = cut.rows * cut.columns + rest;
    if (rest < cut.rest) dz[i] = static_cast<T>(behind_relu(dy[i], y[i]).v);
    return;
  }
  const int64_t left = cut.rows - block * cut.block_rows;
  const int rows = static_cast<int>(left < cut.block_rows ? left : cut.block_rows);
  const V center{mean[column % cut.channels]};
  const int64_t first = block * cut.block_rows * cut.columns + column;
  V total = V::zero(), product = V::zero();
  [[maybe_unused]] constexpr int kRows = sizeof(T) == 8 ? 4 : 8;  // that registers hold
#pragma unroll kRows
  for (int r = 0; r < rows; ++r) {
    const int64_t i = first + r * cut.columns;
    const V g = behind_relu(dy[i], y[i]);
    dz[i] = static_cast<T>(g.v);
    total = total + g;
    product = V::fma(g, V{x[i]} - center, product);
  }
  sum[thread_number()] = total.v;
  dot[thread_number()] = product.v;
}

// --- Sums over the blocks, in float64.

// Blocks on a processor: leaves so many registers that divisions of float64 spill none.
constexpr int kBlocks = 2;
constexpr int kTogether = 8;  // channels of a block of threads
constexpr int kTerms = 128;   // of each channel, computed by all threads before one for each sum adds them up
template <int kSums>
constexpr int64_t kAddBytes = kSums * kTogether * (2 * kTerms + 1) * static_cast<int64_t>(sizeof(double));

// sums[s] = values[s] of term(t, channel, values) for all t in order, of the channel that this thread's number within
// the block, modulo kTogether, stands for. Every thread computes terms of its channel, one for each sum adds: of one
// tile, while the others fill the second one. At least one term.
template <int kSums, class F>
__device__ __forceinline__ void add_up(double* shared, int64_t terms, int64_t first, int64_t channels, const F& term,
                                       double* sums) {
  constexpr int kLine = kTerms * kTogether;
  const int thread = static_cast<int>(threadIdx.x), mine = thread % kTogether, line = thread / kTogether;
  const bool inside = first + mine < channels;
  double* tile = shared;
  double sum = 0;
  for (int64_t begin = 0; begin < terms; begin += kTerms) {
    const int count = static_cast<int>(terms - begin < kTerms ? terms - begin : kTerms);
    if (inside) {
      for (int t = line; t < count; t += kThreads / kTogether) {
        double values[kSums];
        term(begin + t, first + mine, values);
#pragma unroll
        for (int s = 0; s < kSums; ++s) tile[s * kLine + t * kTogether + mine] = values[s];
      }
    }
    __syncthreads();
    if (inside && line < kSums) {
#pragma unroll 8
      for (int t = 0; t < count; ++t) sum += tile[line * kLine + t * kTogether + mine];
    }
    tile = tile == shared ? shared + kSums * kLine : shared;
  }
  double* const totals = shared + 2 * kSums * kLine;
  if (line < kSums) totals[thread] = sum;
  __syncthreads();
#pragma unroll
  for (int s = 0; s < kSums; ++s) sums[s] = totals[s * kTogether + mine];
}

// Where a term comes from: a partial result, which is element t * channels + channel of [blocks, columns], or an
// element that is left over.
struct Terms {
  int64_t partials, all;  // numbers of them, for one channel

  __device__ explicit Terms(const BatchCut& cut)
      : partials(ceil_div(cut.rows, cut.block_rows) * (cut.columns / cut.channels)),
        all(partials + cut.rest / cut.channels) {}
  __device__ static double rows(const BatchCut& cut, int64_t t) {
    const int64_t left = cut.rows - t / (cut.columns / cut.channels) * cut.block_rows;
    return static_cast<double>(left < cut.block_rows ? left : cut.block_rows);
  }
  __device__ int64_t rest(const BatchCut& cut, int64_t t, int64_t channel) const {
    return cut.rows * cut.columns + (t - partials) * cut.channels + channel;
  }
};

template <class C>
struct Affine {
  const C* gamma;
  const C* beta;
  double epsilon;
  int64_t channels;
  PerChannel<C> out;
  C* affine;  // [2, channels], the op's result

  __device__ void write(int64_t c, double mean, double variance) const {
    const double scale = static_cast<double>(gamma[c]) / Double::sqrt({variance + epsilon}).v;
    const C center = static_cast<C>(mean);
    // What rounding took from the mean goes into the shift.
    const double lost = mean - static_cast<double>(center);
    out.center[c] = center;
    out.scale[c] = affine[c] = static_cast<C>(scale);
    out.shift[c] = affine[channels + c] = static_cast<C>(static_cast<double>(beta[c]) - lost * scale);
  }
};

template <class T, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads, kBlocks)
    statistics_kernel(const T* x, BatchCut cut, const C* base, const C* sum, const C* squares, C* mean_out,
                      C* variance_out, Affine<C> affine) {
  double* const shared = shared_memory<double>();
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTogether, channel = first + thread;
  const Terms terms(cut);
  const double count = static_cast<double>(cut.rows * (cut.columns / cut.channels) + cut.rest / cut.channels);
  const auto mean_of = [&](int64_t i, double rows) {
    return static_cast<double>(base[i]) + static_cast<double>(sum[i]) / rows;
  };
  double mean, variance;
  add_up<1>(
      shared, terms.all, first, cut.channels,
      [&](int64_t t, int64_t c, double* value) {
        if (t >= terms.partials) {
          *value = static_cast<double>(x[terms.rest(cut, t, c)]);
          return;
        }
        const double rows = Terms::rows(cut, t);
        *value = rows * mean_of(t * cut.channels + c, rows);
      },
      &mean);
  mean /= count;
  add_up<1>(
      shared, terms.all, first, cut.channels,
      [&](int64_t t, int64_t c, double* value) {
        if (t >= terms.partials) {
          const double d = static_cast<double>(x[terms.rest(cut, t, c)]) - mean;
          *value = d * d;
          return;
        }
        const int64_t i = t * cut.channels + c;
        const double rows = Terms::rows(cut, t);
        const double s = static_cast<double>(sum[i]);
        const double d = mean_of(i, rows) - mean;
        *value = static_cast<double>(squares[i]) - s * s / rows + rows * d * d;
      },
      &variance);
  if (thread >= kTogether || channel >= cut.channels) return;
  variance /= count;
  if (variance < 0) variance = 0;  // NaN stays
  mean_out[channel] = static_cast<C>(mean);
  variance_out[channel] = static_cast<C>(variance);
  affine.write(channel, mean, variance);
}

template <class C>
__global__ void __launch_bounds__(kThreads) affine_kernel(const C* mean, const C* variance, Affine<C> affine) {
  const int64_t c = thread_number();
  if (c < affine.channels) affine.write(c, static_cast<double>(mean[c]), static_cast<double>(variance[c]));
}

template <class T, class C = Computed<T>>
struct GradFactors {
  const T* dy;
  const T* x;
  const C* gamma;
  const C* mean;
  const C* variance;
  const C* affine;  // may be null
  double epsilon;
  const C* sum;
  const C* dot;
  C* dgamma;
  C* dbeta;
  PerChannel<C> out;
};

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks) grad_factors_kernel(GradFactors<T> g, BatchCut cut) {
  using V = Lane<T>;
  using C = Computed<T>;
  double* const shared = shared_memory<double>();
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTogether, c = first + thread;
  const Terms terms(cut);
  // Of the rows that are left over.
  const auto dy_at = [&](int64_t i, int64_t channel) {
    if (g.affine != nullptr) {
      const V d = V{g.x[i]} - V{g.mean[channel]};
      if (!(V::fma(d, {g.affine[channel]}, {g.affine[cut.channels + channel]}).v > 0)) return 0.0;
    }
    return static_cast<double>(g.dy[i]);
  };
  double both[2];
  add_up<2>(
      shared, terms.all, first, cut.channels,
      [&](int64_t t, int64_t channel, double* values) {
        if (t < terms.partials) {
          values[0] = static_cast<double>(g.sum[t * cut.channels + channel]);
          values[1] = static_cast<double>(g.dot[t * cut.channels + channel]);
          return;
        }
        const int64_t i = terms.rest(cut, t, channel);
        values[0] = dy_at(i, channel);
        values[1] = values[0] * (static_cast<double>(g.x[i]) - static_cast<double>(g.mean[channel]));
      },
      both);
  const double sums = both[0], dots = both[1];
  if (thread >= kTogether || c >= cut.channels) return;
  const double count = static_cast<double>(cut.rows * (cut.columns / cut.channels) + cut.rest / cut.channels);
  const double inverse_std = 1.0 / Double::sqrt({static_cast<double>(g.variance[c]) + g.epsilon}).v;
  const double factor = static_cast<double>(g.gamma[c]) * inverse_std;
  g.dgamma[c] = static_cast<C>(dots * inverse_std);
  g.dbeta[c] = static_cast<C>(sums);
  g.out.center[c] = g.mean[c];
  if (g.affine != nullptr) {
    g.out.scale[c] = g.affine[c];
    g.out.shift[c] = g.affine[cut.channels + c];
  }
  g.out.a[c] = static_cast<C>(factor);
  g.out.b[c] = static_cast<C>(-factor * inverse_std * inverse_std * dots / count);
  g.out.c[c] = static_cast<C>(-factor * sums / count);
}

// --- Maps.

// The channel of element i of `n`. Remainders of 32 bits are several times cheaper.
__device__ __forceinline__ int64_t channel_of(int64_t i, int64_t n, int64_t channels) {
  if (n <= UINT32_MAX) return static_cast<uint32_t>(i) % static_cast<uint32_t>(channels);
  return i % channels;
}

template <class T, int W, class Function, bool kResidual, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads)
    normalize_kernel(const T* x, const T* residual, T* y, int64_t n, int64_t channels, PerChannel<C> of, C alpha) {
  using V = Lane<T>;
  const int64_t i = thread_number() * W;
  if (i >= n) return;
  const int64_t c = channel_of(i, n, channels);
  const Part<T, W> in = load<W>(x + i);
  const Elements<C, W> center = load_elements<W>(of.center + c);
  const Elements<C, W> scale = load_elements<W>(of.scale + c), shift = load_elements<W>(of.shift + c);
  Part<T, W> other{}, out;
  if constexpr (kResidual) other = load<W>(residual + i);
#pragma unroll
  for (int j = 0; j < W; ++j) {
    const V d = V{in.v[j]} - V{center[j]};
    V value = V::fma(d, {scale[j]}, {shift[j]});
    // Rounded as the result of a normalisation on its own is.
    if constexpr (kResidual) value = V{static_cast<T>(value.v)} + V{other.v[j]};
    out.v[j] = static_cast<T>(Function::value(value, {alpha}).v);
  }
  store(out, y + i);
}

template <class T, int W, bool kRelu, bool kBatch, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads)
    grad_input_kernel(const T* dy, const T* x, T* dx, int64_t n, int64_t channels, PerChannel<C> of) {
  using V = Lane<T>;
  const int64_t i = thread_number() * W;
  if (i >= n) return;
  const int64_t channel = channel_of(i, n, channels);
  const Part<T, W> in = load<W>(dy + i);
  const Elements<C, W> a = load_elements<W>(of.a + channel);
  Elements<C, W> d{}, scale{}, shift{}, b{}, c{};
  if constexpr (kRelu || kBatch) {
    const Part<T, W> value = load<W>(x + i);
    const Elements<C, W> center = load_elements<W>(of.center + channel);
#pragma unroll
    for (int j = 0; j < W; ++j) d[j] = value.v[j] - center[j];
  }
  if constexpr (kRelu) scale = load_elements<W>(of.scale + channel), shift = load_elements<W>(of.shift + channel);
  if constexpr (kBatch) b = load_elements<W>(of.b + channel), c = load_elements<W>(of.c + channel);
  Part<T, W> out;
#pragma unroll
  for (int j = 0; j < W; ++j) {
    V g{in.v[j]};
    if constexpr (kRelu) {
      g = V::select(V::lt(V::zero(), V::fma({d[j]}, {scale[j]}, {shift[j]})), g, V::zero());
    }
    if constexpr (kBatch) {
      out.v[j] = static_cast<T>(V::fma({a[j]}, g, V::fma({b[j]}, {d[j]}, {c[j]})).v);
    } else {
      out.v[j] = static_cast<T>(a[j] * g.v);
    }
  }
  store(out, dx + i);
}

// --- Local response normalisation: a thread has a channel of a row.

// value(channel) summed over a window of channels from `begin` on, zeros where there are none.
template <class V, class F>
__device__ __forceinline__ V window_total(int64_t begin, int64_t window, int64_t channels, const F& value) {
  V sum = V::zero();
  for (int64_t j = 0; j < window; ++j) {
    const int64_t c = begin + j;
    const V v = c >= 0 && c < channels ? value(c) : V::zero();
    sum = j == 0 ? v : sum + v;
  }
  return sum;
}

// k + alpha * sum of x^2 around channel c, x being its row.
template <class T, class C = Computed<T>>
__device__ __forceinline__ Lane<T> response_base(const T* x, int64_t c, int64_t channels, const ResponseParams<C>& p) {
  using V = Lane<T>;
  const V sum = window_total<V>(c - p.before, p.before + 1 + p.after, channels, [&](int64_t i) {
    const V v{x[i]};
    return v * v;
  });
  return V::fma({p.alpha}, sum, {p.k});
}

template <class T, bool kThreeQuarters, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads)
    response_kernel(const T* x, T* y, int64_t n, int64_t channels, ResponseParams<C> p) {
  using V = Lane<T>;
  const int64_t i = thread_number();
  if (i >= n) return;
  const int64_t c = channel_of(i, n, channels);
  const V s = response_base(x + i - c, c, channels, p);
  y[i] = static_cast<T>((V{x[i]} * response_factor<V, kThreeQuarters>(s, p.beta)).v);
}

// direct = dy s^-beta, shares = dy x s^(-beta - 1).
template <class T, bool kThreeQuarters, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads) response_shares_kernel(const T* dy, const T* x, C* direct, C* shares,
                                                                   int64_t n, int64_t channels, ResponseParams<C> p) {
  using V = Lane<T>;
  const int64_t i = thread_number();
  if (i >= n) return;
  const int64_t c = channel_of(i, n, channels);
  const V s = response_base(x + i - c, c, channels, p);
  const V part = V{dy[i]} * response_factor<V, kThreeQuarters>(s, p.beta);
  direct[i] = part.v;
  shares[i] = (part * V{x[i]} / s).v;
}

// direct may be dx.
template <class T, class C = Computed<T>>
__global__ void __launch_bounds__(kThreads)
    response_grad_kernel(const T* x, const C* direct, const C* shares, T* dx, int64_t n, int64_t channels,
                         ResponseParams<C> p, C factor) {
  using V = Lane<T>;
  const int64_t i = thread_number();
  if (i >= n) return;
  const int64_t c = channel_of(i, n, channels);
  const C* const row = shares + i - c;
  // The windows that contain a channel belong to the channels after it as far as they reach back.
  const V sum = window_total<V>(c - p.after, p.before + 1 + p.after, channels, [&](int64_t j) { return V{row[j]}; });
  dx[i] = static_cast<T>(V::fnma(V{factor} * V{x[i]}, sum, {direct[i]}).v);
}

// Memory for `count` results of each block of rows and column.
Tensor partials(const BatchCut& cut, int count, DType dtype) {
  return Tensor::empty({count, ceil_div(cut.rows, cut.block_rows), cut.columns}, dtype, Device::cuda);
}

unsigned groups_of_channels(int64_t channels) { return static_cast<unsigned>(ceil_div(channels, kTogether)); }

}  // namespace

void batch_norm(const Tensor& x_, const Tensor& gamma, const Tensor& beta, bool own_statistics, const Tensor& mean,
                const Tensor& variance, double epsilon, Activation activation, const Tensor* residual_,
                const BatchCut& cut, const Tensor& affine, const Tensor& y_) {
  dispatch_stored(x_.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    const T* const x = x_.data<T>();
    const T* const residual = residual_ != nullptr ? residual_->data<T>() : nullptr;
    T* const y = y_.data<T>();
    const cudaStream_t stream = current_stream();
    const Tensor memory = Tensor::empty({kPerChannel, cut.channels}, gamma.dtype(), Device::cuda);
    const PerChannel<C> of = per_channel<C>(memory, cut.channels);
    const Affine<C> write{gamma.data<C>(), beta.data<C>(), epsilon, cut.channels, of, affine.data<C>()};
    if (own_statistics) {
      const Tensor sums = partials(cut, 3, gamma.dtype());
      const int64_t blocks = sums.shape()[1], size = blocks * cut.columns;
      C* const base = sums.data<C>();
      if (blocks > 0) {
        const auto grid = static_cast<unsigned>(blocks * ceil_div(cut.columns, kWidth<T>));
        with_width<T>(cut.columns % Pack<T>::N == 0 && aligned_for_packs(x), [&](auto width) {
          SIXLOOP_LAUNCH((moments_kernel<T, decltype(width)::value>), grid, kThreads,
                         std::min(cut.rows, cut.block_rows) * kWidth<T> * sizeof(T), stream, x, cut, base, base + size,
                         base + 2 * size);
        });
      }
      SIXLOOP_LAUNCH(statistics_kernel<T>, groups_of_channels(cut.channels), kThreads, kAddBytes<1>, stream, x, cut,
                     base, base + size, base + 2 * size, mean.data<C>(), variance.data<C>(), write);
    } else {
      SIXLOOP_LAUNCH(affine_kernel<C>, blocks_for(cut.channels, kThreads), kThreads, 0, stream, mean.data<C>(),
                     variance.data<C>(), write);
    }
    const int64_t n = x_.size();
    with_activation<Lane<T>>(activation, [&](auto function) {
      with_width<T>(cut.channels % Pack<T>::N == 0 && aligned_for_packs(x, residual, y), [&](auto width) {
        constexpr int W = decltype(width)::value;
        const auto kernel = residual != nullptr ? normalize_kernel<T, W, decltype(function), true>
                                                : normalize_kernel<T, W, decltype(function), false>;
        SIXLOOP_LAUNCH(kernel, blocks_for(n / W, kThreads), kThreads, 0, stream, x, residual, y, n, cut.channels, of,
                       static_cast<C>(default_alpha(activation)));
      });
    });
  });
}

void batch_norm_grad(const Tensor& dy_, const Tensor& x_, const Tensor& gamma, const Tensor& mean,
                     const Tensor& variance, double epsilon, bool training, const Tensor* affine,
                     const Tensor* relu_output, const BatchCut& cut, const Tensor& dx_, const Tensor& dgamma,
                     const Tensor& dbeta, const Tensor* dresidual) {
  dispatch_stored(x_.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    const cudaStream_t stream = current_stream();
    // Behind the ReLU after a residual, once the sums are there.
    const T* const dy = dresidual != nullptr ? dresidual->data<T>() : dy_.data<T>();
    const T* const x = x_.data<T>();
    T* const dx = dx_.data<T>();
    const C* const relu = affine != nullptr ? affine->data<C>() : nullptr;
    const Tensor memory = Tensor::empty({kPerChannel, cut.channels}, gamma.dtype(), Device::cuda);
    const PerChannel<C> of = per_channel<C>(memory, cut.channels);
    const Tensor sums = partials(cut, 2, gamma.dtype());
    const int64_t blocks = sums.shape()[1];
    C* const sum = sums.data<C>();
    C* const dot = sum + blocks * cut.columns;
    if (dresidual != nullptr) {
      SIXLOOP_LAUNCH(relu_grad_sums_kernel<T>, blocks_for(blocks * cut.columns + cut.rest, kThreads), kThreads, 0,
                     stream, dy_.data<T>(), relu_output->data<T>(), x, mean.data<C>(), cut, dresidual->data<T>(), sum,
                     dot);
    } else if (blocks > 0) {
      const auto kernel = relu != nullptr ? grad_sums_kernel<T, true> : grad_sums_kernel<T, false>;
      SIXLOOP_LAUNCH(kernel, blocks_for(blocks * cut.columns, kThreads), kThreads, 0, stream, dy, x, mean.data<C>(),
                     relu, cut, sum, dot);
    }
    const GradFactors<T> factors{dy,
                                 x,
                                 gamma.data<C>(),
                                 mean.data<C>(),
                                 variance.data<C>(),
                                 relu,
                                 epsilon,
                                 sum,
                                 dot,
                                 dgamma.data<C>(),
                                 dbeta.data<C>(),
                                 of};
    SIXLOOP_LAUNCH(grad_factors_kernel<T>, groups_of_channels(cut.channels), kThreads, kAddBytes<2>, stream, factors,
                   cut);
    const int64_t n = x_.size();
    with_width<T>(cut.channels % Pack<T>::N == 0 && aligned_for_packs(dy, x, dx), [&](auto width) {
      constexpr int W = decltype(width)::value;
      const auto kernel = relu != nullptr
                              ? training ? grad_input_kernel<T, W, true, true> : grad_input_kernel<T, W, true, false>
                          : training ? grad_input_kernel<T, W, false, true>
                                     : grad_input_kernel<T, W, false, false>;
      SIXLOOP_LAUNCH(kernel, blocks_for(n / W, kThreads), kThreads, 0, stream, dy, x, dx, n, cut.channels, of);
    });
  });
}

void local_response_norm(const Tensor& x, int64_t before, int64_t after, double alpha, double beta, double k,
                         const Tensor& y) {
  dispatch_stored(x.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    const ResponseParams<C> p{before, after, static_cast<C>(alpha), static_cast<C>(beta), static_cast<C>(k)};
    const auto kernel = p.beta == C(0.75) ? response_kernel<T, true> : response_kernel<T, false>;
    SIXLOOP_LAUNCH(kernel, blocks_for(x.size(), kThreads), kThreads, 0, current_stream(), x.data<T>(), y.data<T>(),
                   x.size(), x.shape().back(), p);
  });
}

void local_response_norm_grad(const Tensor& dy, const Tensor& x, int64_t before, int64_t after, double alpha,
                              double beta, double k, const Tensor& dx) {
  dispatch_stored(x.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    const ResponseParams<C> p{before, after, static_cast<C>(alpha), static_cast<C>(beta), static_cast<C>(k)};
    constexpr bool kNarrow = !std::is_same_v<T, C>;
    const DType computed = kNarrow ? DType::float32 : x.dtype();
    const Tensor shares = Tensor::empty(x.shape(), computed, Device::cuda);
    const Tensor direct = kNarrow ? Tensor::empty(x.shape(), computed, Device::cuda) : dx;
    const int64_t n = x.size(), channels = x.shape().back();
    const auto kernel = p.beta == C(0.75) ? response_shares_kernel<T, true> : response_shares_kernel<T, false>;
    SIXLOOP_LAUNCH(kernel, blocks_for(n, kThreads), kThreads, 0, current_stream(), dy.data<T>(), x.data<T>(),
                   direct.data<C>(), shares.data<C>(), n, channels, p);
    SIXLOOP_LAUNCH(response_grad_kernel<T>, blocks_for(n, kThreads), kThreads, 0, current_stream(), x.data<T>(),
                   direct.data<C>(), shares.data<C>(), dx.data<T>(), n, channels, p, C{2} * p.alpha * p.beta);
  });
}

}  // namespace sixloop::cuda
