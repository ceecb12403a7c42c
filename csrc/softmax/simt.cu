#include "softmax/simt.h"

#include "base/simd/lanes.h"
#include "base/simd/math-inl.h"
#include "cuda/parts.h"

namespace sixloop::cuda {
namespace {

// Sums run over the virtual lanes of base/simd/lanes.h, a thread for each: it meets the elements of its lane in order,
// with zeros (exponentials: of -inf) up to whole lanes, as the CPU's vectors do.
template <class T>
constexpr int kLanes = Lanes<Lane<T>>::kCount;  // of what is computed in
template <class T>
constexpr T kLowest = -MathConstants<T>::kInfinity;

constexpr unsigned kWarp = 0xffffffffu;
constexpr int kThreads = 256;
// Blocks on a processor: leaves so many registers that divisions of float64 spill none.
constexpr int kBlocks = 2;

// Elements of a long row that are in shared memory at a time, 32 KiB of them. The emulator's tests meet several tiles
// in rows that are not long.
template <class T>
#if defined(SIXLOOP_SIMT)
constexpr int kTile = 64 * kLanes<T>;
#else
constexpr int kTile = 32768 / static_cast<int>(sizeof(Computed<T>));
#endif

// Combines lane i of `width` neighbouring threads with lane i + half for half = width / 2 ... 1. All threads of the
// group get the result: f commutes, so each of them follows the first one's order.
template <int width, class T, class F>
__device__ __forceinline__ T combine(T value, const F& f) {
#pragma unroll
  for (int half = width / 2; half > 0; half /= 2) value = f(value, __shfl_xor_sync(kWarp, value, half));
  return value;
}
template <class T>
struct Plus {
  __device__ T operator()(T a, T b) const { return a + b; }
};
// Of numbers, none of which is a NaN.
template <class T>
struct Larger {
  __device__ T operator()(T a, T b) const { return a > b ? a : b; }
};

// A NaN is no maximum.
template <class T>
__device__ __forceinline__ T larger(T x, T best) {
  return x > best ? x : best;
}
template <class T>
__device__ __forceinline__ T term(T x, T max) {
  return exp_nonpositive(Lane<T>{x - max}).v;
}
template <class T>
__device__ __forceinline__ T log_of(T x) {
  return log(Lane<T>{x}).v;
}

// Everything is computed in C; elements in memory are T, which C is for all but bfloat16.

// --- What becomes of a row. begin() learns its maximum and the sum of exp(x - max), on every thread of the row;
// value() makes a result of x and exp(x - max).

template <class C>
struct SoftmaxValue {
  C inverse;
  template <class T>
  __device__ void begin(int64_t, const T*, int64_t, C, C sum, bool) {
    inverse = C{1} / sum;
  }
  __device__ C value(int64_t, C, C e) const { return e * inverse; }
};

template <class C>
struct LogSoftmaxValue {
  C max, log_sum;
  template <class T>
  __device__ void begin(int64_t, const T*, int64_t, C row_max, C sum, bool) {
    max = row_max;
    log_sum = log_of(sum);
  }
  __device__ C value(int64_t, C x, C) const { return (x - max) - log_sum; }
};

struct Labels {
  const void* data;
  int bytes;  // of one: int64, int32 or uint8
  __device__ int64_t operator()(int64_t i) const {
    if (bytes == 8) return static_cast<const int64_t*>(data)[i];
    if (bytes == 4) return static_cast<const int32_t*>(data)[i];
    return static_cast<const uint8_t*>(data)[i];
  }
};

template <class C>
struct CrossEntropyValue {
  Labels labels;
  C* losses;
  C scale;
  int64_t label;
  C inverse, factor;
  // A label out of range is found by loss_kernel(), and the results are not used.
  template <class T>
  __device__ void begin(int64_t row, const T* x, int64_t n, C max, C sum, bool first) {
    label = labels(row);
    inverse = C{1} / sum;
    factor = inverse * scale;
    if (first) losses[row] = label >= 0 && label < n ? log_of(sum) + (max - static_cast<C>(x[label])) : C{0};
  }
  __device__ C value(int64_t i, C, C e) const { return i == label ? (e * inverse - C{1}) * scale : e * factor; }
};

// --- What becomes of a row's gradient: join() adds to a lane's sum, value() makes dx of dy, the result y and the
// total.

template <class C>
struct SoftmaxGradient {
  __device__ static C join(C sum, C dy, C y) { return Lane<C>::fma({dy}, {y}, {sum}).v; }
  __device__ static C value(C dy, C y, C total) { return y * (dy - total); }
};

template <class C>
struct LogSoftmaxGradient {
  __device__ static C join(C sum, C dy, C) { return sum + dy; }
  __device__ static C value(C dy, C y, C total) { return Lane<C>::fnma(exp(Lane<C>{y}), {total}, {dy}).v; }
};

// --- Short rows: a thread for each lane, several rows to a warp, K elements of each thread in registers.

template <class T, int K, class Value>
__global__ void __launch_bounds__(kThreads, kBlocks)
    short_rows_kernel(Value result, const T* x, T* y, int64_t rows, int n) {
  using C = Computed<T>;
  constexpr int L = kLanes<T>;
  const int lane = static_cast<int>(threadIdx.x) % L;
  const int64_t row = thread_number() / L;
  const bool there = row < rows;  // the others take part in the shuffles
  const T* const in = x + (there ? row * n : 0);
  C v[K], max = kLowest<C>, sum = 0;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    v[k] = there && lane + k * L < n ? static_cast<C>(in[lane + k * L]) : kLowest<C>;
    max = larger(v[k], max);
  }
  max = combine<L>(max, Larger<C>{});
  C e[K];
#pragma unroll
  for (int k = 0; k < K; ++k) {
    e[k] = 0;
    if (k * L < n) {
      e[k] = term(v[k], max);
      sum += e[k];
    }
  }
  sum = combine<L>(sum, Plus<C>{});
  if (!there) return;
  result.begin(row, in, n, max, sum, lane == 0);
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int i = lane + k * L;
    if (i < n) y[row * n + i] = static_cast<T>(result.value(i, v[k], e[k]));
  }
}

template <class T, int K, class Gradient>
__global__ void __launch_bounds__(kThreads, kBlocks)
    short_rows_grad_kernel(const T* dy, const T* y, T* dx, int64_t rows, int n) {
  using C = Computed<T>;
  constexpr int L = kLanes<T>;
  const int lane = static_cast<int>(threadIdx.x) % L;
  const int64_t row = thread_number() / L;
  const bool there = row < rows;
  const int64_t at = there ? row * n : 0;
  C g[K], p[K], sum = 0;
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int i = lane + k * L;
    const bool inside = there && i < n;
    g[k] = inside ? static_cast<C>(dy[at + i]) : C{0};
    p[k] = inside ? static_cast<C>(y[at + i]) : C{0};
    if (k * L < n) sum = Gradient::join(sum, g[k], p[k]);
  }
  sum = combine<L>(sum, Plus<C>{});
#pragma unroll
  for (int k = 0; k < K; ++k) {
    const int i = lane + k * L;
    if (there && i < n) dx[at + i] = static_cast<T>(Gradient::value(g[k], p[k], sum));
  }
}

// --- Long rows: a block for each. All threads compute terms, the lanes' threads add them up.

// Calls f(i) for the block's first elements i of packs (kPacks), or for its elements, in [begin, end).
template <class T, bool kPacks, class F>
__device__ __forceinline__ void for_row(int64_t begin, int64_t end, const F& f) {
  constexpr int W = kPacks ? Pack<T>::N : 1;
  for (int64_t i = begin + static_cast<int64_t>(threadIdx.x) * W; i < end; i += kThreads * W) f(i);
}

__device__ __forceinline__ int whole_lanes(int count, int lanes) { return (count + lanes - 1) / lanes * lanes; }

// Gives every thread of the block what the first warp's lanes have together. `shared` is one element.
template <class T>
__device__ __forceinline__ T lanes_total(T sum, T* shared) {
  if (threadIdx.x < 32) {
    sum = combine<kLanes<T>>(sum, Plus<T>{});
    if (threadIdx.x == 0) *shared = sum;
  }
  __syncthreads();
  return *shared;
}

// shared: a tile of terms, an element for each warp, one for the sum.
template <class T, bool kPacks, class Value>
__global__ void __launch_bounds__(kThreads, kBlocks)
    long_rows_kernel(Value result, const T* x, T* y, int64_t n, int tile) {
  using C = Computed<T>;
  constexpr int L = kLanes<T>, W = kPacks ? Pack<T>::N : 1;
  C* const terms = shared_memory<C>();
  C* const maxima = terms + tile;
  const int64_t row = blockIdx.x;
  const T* const in = x + row * n;
  const int thread = static_cast<int>(threadIdx.x);

  C max = kLowest<C>;
  for_row<T, kPacks>(0, n, [&](int64_t i) {
    const Part<T, W> part = load<W>(in + i);
#pragma unroll
    for (int j = 0; j < W; ++j) max = larger(static_cast<C>(part.v[j]), max);
  });
  max = combine<32>(max, Larger<C>{});
  if (thread % 32 == 0) maxima[thread / 32] = max;
  __syncthreads();
  for (int w = 0; w < kThreads / 32; ++w) max = larger(maxima[w], max);

  C sum = 0;
  for (int64_t begin = 0; begin < n; begin += tile) {
    const int64_t end = n - begin < tile ? n : begin + tile;
    const int count = static_cast<int>(end - begin), whole = whole_lanes(count, L);
    for_row<T, kPacks>(begin, end, [&](int64_t i) {
      const Part<T, W> part = load<W>(in + i);
      Elements<C, W> e;
#pragma unroll
      for (int j = 0; j < W; ++j) e[j] = term(static_cast<C>(part.v[j]), max);
      store_elements(e, terms + (i - begin));
    });
    if (thread < whole - count) terms[count + thread] = term(kLowest<C>, max);
    __syncthreads();
    if (thread < L) {
      for (int i = thread; i < whole; i += L) sum += terms[i];
    }
    if (end < n) __syncthreads();
  }
  sum = lanes_total(sum, maxima + kThreads / 32);

  result.begin(row, in, n, max, sum, thread == 0);
  const bool kept = n <= tile;
  for_row<T, kPacks>(0, n, [&](int64_t i) {
    const Part<T, W> part = load<W>(in + i);
    Part<T, W> out;
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const C v = part.v[j];
      out.v[j] = static_cast<T>(result.value(i + j, v, kept ? terms[i + j] : term(v, max)));
    }
    store(out, y + row * n + i);
  });
}

// shared: a tile of dy, one of y, an element for the sum.
template <class T, bool kPacks, class Gradient>
__global__ void __launch_bounds__(kThreads, kBlocks)
    long_rows_grad_kernel(const T* dy, const T* y, T* dx, int64_t n, int tile) {
  using C = Computed<T>;
  constexpr int L = kLanes<T>, W = kPacks ? Pack<T>::N : 1;
  T* const g = shared_memory<T>();
  T* const p = g + tile;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * n;
  const int thread = static_cast<int>(threadIdx.x);
  C sum = 0;
  for (int64_t begin = 0; begin < n; begin += tile) {
    const int64_t end = n - begin < tile ? n : begin + tile;
    const int count = static_cast<int>(end - begin), whole = whole_lanes(count, L);
    for_row<T, kPacks>(begin, end, [&](int64_t i) {
      store(load<W>(dy + row + i), g + (i - begin));
      store(load<W>(y + row + i), p + (i - begin));
    });
    if (thread < whole - count) g[count + thread] = p[count + thread] = static_cast<T>(C{0});
    __syncthreads();
    if (thread < L) {
      for (int i = thread; i < whole; i += L) sum = Gradient::join(sum, g[i], p[i]);
    }
    if (end < n) __syncthreads();
  }
  sum = lanes_total(sum, reinterpret_cast<C*>(p + tile));
  for_row<T, kPacks>(0, n, [&](int64_t i) {
    const Part<T, W> gradient = load<W>(dy + row + i), result = load<W>(y + row + i);
    Part<T, W> out;
#pragma unroll
    for (int j = 0; j < W; ++j) out.v[j] = static_cast<T>(Gradient::value(gradient.v[j], result.v[j], sum));
    store(out, dx + row + i);
  });
}

// --- Columns: a thread has W neighbouring ones, each with one accumulator that meets the n elements in order.

template <class T, int W, class Value>
__global__ void __launch_bounds__(kThreads, kBlocks)
    columns_kernel(Value result, const T* x, T* y, int64_t outer, int64_t n, int64_t inner) {
  using C = Computed<T>;
  const int64_t parts = inner / W, number = thread_number(), block = number / parts;
  if (block >= outer) return;
  const int64_t at = block * n * inner + (number - block * parts) * W;
  C max[W], sum[W];
#pragma unroll
  for (int j = 0; j < W; ++j) max[j] = kLowest<C>, sum[j] = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Part<T, W> part = load<W>(x + at + i * inner);
#pragma unroll
    for (int j = 0; j < W; ++j) max[j] = larger(static_cast<C>(part.v[j]), max[j]);
  }
  for (int64_t i = 0; i < n; ++i) {
    const Part<T, W> part = load<W>(x + at + i * inner);
#pragma unroll
    for (int j = 0; j < W; ++j) sum[j] += term(static_cast<C>(part.v[j]), max[j]);
  }
  Value results[W];
#pragma unroll
  for (int j = 0; j < W; ++j) {
    results[j] = result;
    results[j].begin(0, x, n, max[j], sum[j], false);
  }
  for (int64_t i = 0; i < n; ++i) {
    const Part<T, W> part = load<W>(x + at + i * inner);
    Part<T, W> out;
#pragma unroll
    for (int j = 0; j < W; ++j) {
      const C v = part.v[j];
      out.v[j] = static_cast<T>(results[j].value(i, v, term(v, max[j])));
    }
    store(out, y + at + i * inner);
  }
}

template <class T, int W, class Gradient>
__global__ void __launch_bounds__(kThreads, kBlocks)
    columns_grad_kernel(const T* dy, const T* y, T* dx, int64_t outer, int64_t n, int64_t inner) {
  using C = Computed<T>;
  const int64_t parts = inner / W, number = thread_number(), block = number / parts;
  if (block >= outer) return;
  const int64_t at = block * n * inner + (number - block * parts) * W;
  C sum[W] = {};
  for (int64_t i = 0; i < n; ++i) {
    const Part<T, W> g = load<W>(dy + at + i * inner), p = load<W>(y + at + i * inner);
#pragma unroll
    for (int j = 0; j < W; ++j) sum[j] = Gradient::join(sum[j], g.v[j], p.v[j]);
  }
  for (int64_t i = 0; i < n; ++i) {
    const Part<T, W> g = load<W>(dy + at + i * inner), p = load<W>(y + at + i * inner);
    Part<T, W> out;
#pragma unroll
    for (int j = 0; j < W; ++j) out.v[j] = static_cast<T>(Gradient::value(g.v[j], p.v[j], sum[j]));
    store(out, dx + at + i * inner);
  }
}

// --- Launches.

// Calls f with the number of elements that a thread keeps of a short row, a std::integral_constant; false where the
// row is long.
template <class T, class F>
bool with_short_row(int64_t n, const F& f) {
  constexpr int L = kLanes<T>;
  if (n <= L) {
    f(std::integral_constant<int, 1>{});
  } else if (n <= 4 * L) {
    f(std::integral_constant<int, 4>{});
  } else if (n <= 16 * L) {
    f(std::integral_constant<int, 16>{});
  } else {
    return false;
  }
  return true;
}

// Elements of each of `arrays` that share a tile.
template <class T>
int tile_of(int64_t n, int arrays) {
  const int64_t whole = ceil_div(n, kLanes<T>) * kLanes<T>, most = kTile<T> / arrays;
  return static_cast<int>(whole < most ? whole : most);
}

template <class T, class Value>
void rows_forward(const Value& value, const T* x, T* y, int64_t rows, int64_t n) {
  const bool is_short = with_short_row<T>(n, [&](auto count) {
    SIXLOOP_LAUNCH((short_rows_kernel<T, decltype(count)::value, Value>), blocks_for(rows * kLanes<T>, kThreads),
                   kThreads, 0, current_stream(), value, x, y, rows, static_cast<int>(n));
  });
  if (is_short) return;
  const int tile = tile_of<T>(n, 1);
  const bool packs = n % Pack<T>::N == 0 && aligned_for_packs(x, y);
  const auto kernel = packs ? long_rows_kernel<T, true, Value> : long_rows_kernel<T, false, Value>;
  SIXLOOP_LAUNCH(kernel, static_cast<unsigned>(rows), kThreads, (tile + kThreads / 32 + 1) * sizeof(Computed<T>),
                 current_stream(), value, x, y, n, tile);
}

template <template <class> class Value>
void forward(const Tensor& x, int64_t outer, int64_t n, int64_t inner, const Tensor& y) {
  dispatch_stored(x.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    if (inner == 1) return rows_forward<T>(Value<C>{}, x.data<T>(), y.data<T>(), outer, n);
    with_width<T>(inner % Pack<T>::N == 0 && aligned_for_packs(x.data<T>(), y.data<T>()), [&](auto width) {
      constexpr int W = decltype(width)::value;
      SIXLOOP_LAUNCH((columns_kernel<T, W, Value<C>>), blocks_for(outer * inner / W, kThreads), kThreads, 0,
                     current_stream(), Value<C>{}, x.data<T>(), y.data<T>(), outer, n, inner);
    });
  });
}

template <template <class> class Gradient>
void backward(const Tensor& dy_, const Tensor& y_, int64_t outer, int64_t n, int64_t inner, const Tensor& dx_) {
  dispatch_stored(y_.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    const T* dy = dy_.data<T>();
    const T* y = y_.data<T>();
    T* dx = dx_.data<T>();
    const bool packs = (inner == 1 ? n : inner) % Pack<T>::N == 0 && aligned_for_packs(dy, y, dx);
    if (inner > 1) {
      return with_width<T>(packs, [&](auto width) {
        constexpr int W = decltype(width)::value;
        SIXLOOP_LAUNCH((columns_grad_kernel<T, W, Gradient<C>>), blocks_for(outer * inner / W, kThreads), kThreads, 0,
                       current_stream(), dy, y, dx, outer, n, inner);
      });
    }
    const bool is_short = with_short_row<T>(n, [&](auto count) {
      SIXLOOP_LAUNCH((short_rows_grad_kernel<T, decltype(count)::value, Gradient<C>>),
                     blocks_for(outer * kLanes<T>, kThreads), kThreads, 0, current_stream(), dy, y, dx, outer,
                     static_cast<int>(n));
    });
    if (is_short) return;
    const int tile = tile_of<T>(n, 2);
    const auto kernel =
        packs ? long_rows_grad_kernel<T, true, Gradient<C>> : long_rows_grad_kernel<T, false, Gradient<C>>;
    SIXLOOP_LAUNCH(kernel, static_cast<unsigned>(outer), kThreads, 2 * tile * sizeof(T) + sizeof(C), current_stream(),
                   dy, y, dx, n, tile);
  });
}

// The sum of the losses in order, by one thread of the one block, and the first label out of range; with `only_sum` not
// null the sum alone, infinite for such a label. shared: kThreads doubles and int64.
template <class C>
__global__ void __launch_bounds__(kThreads, kBlocks)
    loss_kernel(const C* losses, Labels labels, int64_t rows, int64_t classes, CrossEntropyOutcome* outcome,
                double* only_sum) {
  double* const shared = shared_memory<double>();
  int64_t* const wrong = reinterpret_cast<int64_t*>(shared + kThreads);
  const int thread = static_cast<int>(threadIdx.x);
  int64_t first = rows;
  double sum = 0;
  for (int64_t begin = 0; begin < rows; begin += kThreads) {
    const int64_t i = begin + thread;
    if (i < rows) {
      shared[thread] = static_cast<double>(losses[i]);
      const int64_t label = labels(i);
      if (first == rows && (label < 0 || label >= classes)) first = i;
    }
    __syncthreads();
    if (thread == 0) {
      const int count = static_cast<int>(rows - begin < kThreads ? rows - begin : kThreads);
      for (int j = 0; j < count; ++j) sum += shared[j];
    }
    __syncthreads();
  }
  wrong[thread] = first;
  __syncthreads();
  if (thread > 0) return;
  for (int j = 1; j < kThreads; ++j) first = wrong[j] < first ? wrong[j] : first;
  if (only_sum != nullptr) {
    *only_sum = first < rows ? MathConstants<double>::kInfinity : sum;
    return;
  }
  outcome->loss = sum;
  outcome->wrong = first < rows ? first : -1;
  outcome->label = first < rows ? labels(first) : 0;
}

}  // namespace

void softmax(const Tensor& x, int64_t outer, int64_t n, int64_t inner, const Tensor& y) {
  forward<SoftmaxValue>(x, outer, n, inner, y);
}
void log_softmax(const Tensor& x, int64_t outer, int64_t n, int64_t inner, const Tensor& y) {
  forward<LogSoftmaxValue>(x, outer, n, inner, y);
}
void softmax_grad(const Tensor& dy, const Tensor& y, int64_t outer, int64_t n, int64_t inner, const Tensor& dx) {
  backward<SoftmaxGradient>(dy, y, outer, n, inner, dx);
}
void log_softmax_grad(const Tensor& dy, const Tensor& y, int64_t outer, int64_t n, int64_t inner, const Tensor& dx) {
  backward<LogSoftmaxGradient>(dy, y, outer, n, inner, dx);
}

namespace {

void launch_cross_entropy(const Tensor& logits, const Tensor& labels, const Tensor& dlogits,
                          CrossEntropyOutcome* outcome, double* only_sum) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  const Labels view{labels.raw(), static_cast<int>(size_of(labels.dtype()))};
  const DType computed = logits.dtype() == DType::float64 ? DType::float64 : DType::float32;
  const Tensor losses = Tensor::zeros({rows}, computed, Device::cuda);
  dispatch_stored(logits.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    if (classes > 0) {
      CrossEntropyValue<C> value{};
      value.labels = view;
      value.losses = losses.data<C>();
      value.scale = C{1} / static_cast<C>(rows);
      rows_forward<T>(value, logits.data<T>(), dlogits.data<T>(), rows, classes);
    }
    SIXLOOP_LAUNCH(loss_kernel<C>, 1, kThreads, kThreads * (sizeof(double) + sizeof(int64_t)), current_stream(),
                   losses.data<C>(), view, rows, classes, outcome, only_sum);
  });
}

}  // namespace

CrossEntropyOutcome cross_entropy(const Tensor& logits, const Tensor& labels, const Tensor& dlogits) {
  const Tensor outcome = Tensor::empty({sizeof(CrossEntropyOutcome)}, DType::uint8, Device::cuda);
  launch_cross_entropy(logits, labels, dlogits, static_cast<CrossEntropyOutcome*>(outcome.raw()), nullptr);
  CrossEntropyOutcome result;
  copy_bytes(&result, Device::cpu, outcome.raw(), Device::cuda, sizeof result);
  return result;
}

void cross_entropy_sum(const Tensor& logits, const Tensor& labels, const Tensor& dlogits, const Tensor& sum) {
  launch_cross_entropy(logits, labels, dlogits, nullptr, sum.data<double>());
}

}  // namespace sixloop::cuda
