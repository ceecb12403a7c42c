#include "random/simt.h"

#include "base/simd/u64_scalar.h"
#include "cuda/map.h"
#include "random/kernels-inl.h"

namespace sixloop::cuda {
namespace {

constexpr int kRandomThreads = 256;
// Elements of a thread: as many as a block of Philox has words.
constexpr int kElements = 4;

template <class T>
struct Uniform {
  double low, width;
  T top;
  __device__ T operator()(uint64_t number) const { return uniform_of(number, low, width, top); }
};

template <class T>
struct Normal {
  double mean, std;
  __device__ T operator()(uint64_t number) const {
    using V = Lane<double>;
    return static_cast<T>(V::fma({std}, normal_quantile(V{open_unit_of(number)}), {mean}).v);
  }
};

// y[i] = f(number i of the 64-bit stream).
template <class F, class T>
__global__ void __launch_bounds__(kRandomThreads) numbers_kernel(PhiloxKey key, F f, T* y, int64_t n, bool packs) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kRandomThreads + threadIdx.x) * kElements;
  if (i >= n) return;
  Run<T, kElements> values;
#pragma unroll
  for (int j = 0; j < kElements; j += 2) {
    uint32_t words[4];
    philox_blocks<scalar::U64>(key, static_cast<uint64_t>(i + j) / 2, words);
    values[j] = f(words[0] | static_cast<uint64_t>(words[1]) << 32);
    values[j + 1] = f(words[2] | static_cast<uint64_t>(words[3]) << 32);
  }
  if (packs && i + kElements <= n) {
    store_run(values, y + i);
  } else {
#pragma unroll
    for (int j = 0; j < kElements; ++j) {
      if (i + j < n) y[i + j] = values[j];
    }
  }
}

// A thread has whole blocks of words and whole packs.
template <class T>
constexpr int kDropped = Pack<T>::N > kElements ? Pack<T>::N : kElements;

template <class T>
__global__ void __launch_bounds__(kRandomThreads)
    dropout_kernel(PhiloxKey key, const T* x, uint32_t threshold, Computed<T> scale, T* y, int64_t n, bool packs) {
  constexpr int N = kDropped<T>;
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kRandomThreads + threadIdx.x) * N;
  if (i >= n) return;
  const bool whole = packs && i + N <= n;
  Run<T, N> run{};
  if (whole) {
    run = load_run<N>(x + i);
  } else {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (i + j < n) run[j] = x[i + j];
    }
  }
  if (key.live_step != nullptr) key.step = static_cast<uint32_t>(*key.live_step);
#pragma unroll
  for (int j = 0; j < N; j += kElements) {
    uint32_t words[kElements];
    philox_blocks<scalar::U64>(key, static_cast<uint64_t>(i + j) / kElements, words);
#pragma unroll
    for (int k = 0; k < kElements; ++k) {
      run[j + k] = static_cast<T>(kept_or_zero(run[j + k] * scale, words[k] >= threshold));
    }
  }
  if (whole) {
    store_run(run, y + i);
  } else {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (i + j < n) y[i + j] = run[j];
    }
  }
}

unsigned blocks_for(int64_t n, int elements) {
  return static_cast<unsigned>(ceil_div(n, int64_t{kRandomThreads} * elements));
}

template <class F, class T>
void make(const PhiloxKey& key, const F& f, T* y, int64_t n) {
  if (n == 0) return;
  SIXLOOP_LAUNCH((numbers_kernel<F, T>), blocks_for(n, kElements), kRandomThreads, 0, current_stream(), key, f, y, n,
                 aligned_for_packs(y));
}

template <class T>
void drop(const PhiloxKey& key, const T* x, uint32_t threshold, Computed<T> scale, T* y, int64_t n) {
  if (n == 0) return;
  SIXLOOP_LAUNCH(dropout_kernel<T>, blocks_for(n, kDropped<T>), kRandomThreads, 0, current_stream(), key, x, threshold,
                 scale, y, n, aligned_for_packs(x, y));
}

}  // namespace

void random_uniform(const PhiloxKey& key, double low, double width, float top, float* y, int64_t n) {
  make(key, Uniform<float>{low, width, top}, y, n);
}
void random_uniform(const PhiloxKey& key, double low, double width, double top, double* y, int64_t n) {
  make(key, Uniform<double>{low, width, top}, y, n);
}
void random_normal(const PhiloxKey& key, double mean, double std, float* y, int64_t n) {
  make(key, Normal<float>{mean, std}, y, n);
}
void random_normal(const PhiloxKey& key, double mean, double std, double* y, int64_t n) {
  make(key, Normal<double>{mean, std}, y, n);
}
void dropout(const PhiloxKey& key, const float* x, uint32_t threshold, float scale, float* y, int64_t n) {
  drop(key, x, threshold, scale, y, n);
}
void dropout(const PhiloxKey& key, const double* x, uint32_t threshold, double scale, double* y, int64_t n) {
  drop(key, x, threshold, scale, y, n);
}
void dropout(const PhiloxKey& key, const BFloat16* x, uint32_t threshold, float scale, BFloat16* y, int64_t n) {
  drop(key, x, threshold, scale, y, n);
}

}  // namespace sixloop::cuda
