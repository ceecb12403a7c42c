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

// Stores the thread's elements, of which the last thread may have less than kElements.
template <class T>
__device__ __forceinline__ void store_elements(const T* values, T* y, int64_t i, int64_t n, bool packs) {
  if (packs && i + kElements <= n) {
#pragma unroll
    for (int j = 0; j < kElements; j += Pack<T>::N) {
      Pack<T> pack;
#pragma unroll
      for (int k = 0; k < Pack<T>::N; ++k) pack.v[k] = values[j + k];
      store_pack(pack, y + i + j);
    }
  } else {
#pragma unroll
    for (int j = 0; j < kElements; ++j) {
      if (i + j < n) y[i + j] = values[j];
    }
  }
}

__device__ __forceinline__ int64_t first_element() {
  return (static_cast<int64_t>(blockIdx.x) * kRandomThreads + threadIdx.x) * kElements;
}

// y[i] = f(number i of the 64-bit stream).
template <class F, class T>
__global__ void __launch_bounds__(kRandomThreads) numbers_kernel(PhiloxKey key, F f, T* y, int64_t n, bool packs) {
  const int64_t i = first_element();
  if (i >= n) return;
  T values[kElements];
#pragma unroll
  for (int j = 0; j < kElements; j += 2) {
    uint32_t words[4];
    philox_blocks<scalar::U64>(key, static_cast<uint64_t>(i + j) / 2, words);
    values[j] = f(words[0] | static_cast<uint64_t>(words[1]) << 32);
    values[j + 1] = f(words[2] | static_cast<uint64_t>(words[3]) << 32);
  }
  store_elements(values, y, i, n, packs);
}

template <class T>
__global__ void __launch_bounds__(kRandomThreads)
    dropout_kernel(PhiloxKey key, const T* x, uint32_t threshold, T scale, T* y, int64_t n, bool packs) {
  const int64_t i = first_element();
  if (i >= n) return;
  T values[kElements] = {};
  if (packs && i + kElements <= n) {
#pragma unroll
    for (int j = 0; j < kElements; j += Pack<T>::N) {
      const Pack<T> pack = load_pack(x + i + j);
#pragma unroll
      for (int k = 0; k < Pack<T>::N; ++k) values[j + k] = pack.v[k];
    }
  } else {
#pragma unroll
    for (int j = 0; j < kElements; ++j) {
      if (i + j < n) values[j] = x[i + j];
    }
  }
  uint32_t words[4];
  philox_blocks<scalar::U64>(key, static_cast<uint64_t>(i) / kElements, words);
#pragma unroll
  for (int j = 0; j < kElements; ++j) values[j] = kept_or_zero(values[j] * scale, words[j] >= threshold);
  store_elements(values, y, i, n, packs);
}

unsigned blocks_for(int64_t n) { return static_cast<unsigned>(ceil_div(n, int64_t{kRandomThreads} * kElements)); }

template <class F, class T>
void make(const PhiloxKey& key, const F& f, T* y, int64_t n) {
  if (n == 0) return;
  SIXLOOP_LAUNCH((numbers_kernel<F, T>), blocks_for(n), kRandomThreads, 0, current_stream(), key, f, y, n,
                 aligned_for_packs(y));
}

template <class T>
void drop(const PhiloxKey& key, const T* x, uint32_t threshold, T scale, T* y, int64_t n) {
  if (n == 0) return;
  SIXLOOP_LAUNCH(dropout_kernel<T>, blocks_for(n), kRandomThreads, 0, current_stream(), key, x, threshold, scale, y, n,
                 aligned_for_packs(x, y));
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

}  // namespace sixloop::cuda
