// What kernels share: 16 bytes at a time, the arithmetic of one element, and maps over dense elements.
#pragma once

#include <algorithm>
#include <type_traits>

#include "base/bfloat16.h"
#include "base/simd/scalar.h"
#include "cuda/launch.h"

namespace sixloop::cuda {

// What elements in memory are computed in: bfloat16 widens by itself and is rounded by static_cast<BFloat16>().
template <class T>
using Computed = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

// The vector type of one lane: with it the templates of kernels-inl.h and math-inl.h compute on the GPU what they
// compute on the CPU, to the bit.
template <class T>
using Lane = std::conditional_t<std::is_same_v<T, double>, scalar::F64, scalar::F32>;

// 16 bytes, one instruction to load or store.
template <class T>
struct alignas(16) Pack {
  static constexpr int N = 16 / static_cast<int>(sizeof(T));
  T v[N];
};
template <class T>
__device__ __forceinline__ Pack<T> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T>*>(p);
}
template <class T>
__device__ __forceinline__ void store_pack(const Pack<T>& pack, T* p) {
  *reinterpret_cast<Pack<T>*>(p) = pack;
}
// The same for global memory, where another branch stores single elements: nvcc would merge these stores with those of
// the pack, and make it four instructions.
template <class T>
__device__ __forceinline__ void store_whole_pack(const Pack<T>& pack, T* p) {
#if defined(__CUDACC__)
  __stwb(reinterpret_cast<uint4*>(p), *reinterpret_cast<const uint4*>(&pack));
#else
  store_pack(pack, p);
#endif
}

// Whether packs may be loaded from there: memory of other libraries is aligned to its elements alone.
template <class... T>
bool aligned_for_packs(const T*... p) {
  return ((reinterpret_cast<uintptr_t>(p) | ...) & 15) == 0;
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int kMapThreads = 256;

// Elements of a thread of a map over arrays of these types: a pack of the narrowest one.
template <class... T>
constexpr int kRun = std::max({Pack<T>::N...});
// N neighbouring elements.
template <class T, int N>
struct Run {
  Pack<T> packs[N / Pack<T>::N];
  __device__ T& operator[](int j) { return packs[j / Pack<T>::N].v[j % Pack<T>::N]; }
  __device__ const T& operator[](int j) const { return packs[j / Pack<T>::N].v[j % Pack<T>::N]; }
};
template <int N, class T>
__device__ __forceinline__ Run<T, N> load_run(const T* p) {
  Run<T, N> run;
#pragma unroll
  for (int k = 0; k < N / Pack<T>::N; ++k) run.packs[k] = load_pack(p + k * Pack<T>::N);
  return run;
}
template <class T, int N>
__device__ __forceinline__ void store_run(const Run<T, N>& run, T* p) {
#pragma unroll
  for (int k = 0; k < N / Pack<T>::N; ++k) store_pack(run.packs[k], p + k * Pack<T>::N);
}

// y[i] = f(i, x[i]...), rounded to T; y may be one of x that has its type.
template <class F, class T, class... X>
__global__ void __launch_bounds__(kMapThreads) map_kernel(F f, T* y, int64_t n, bool packs, const X*... x) {
  constexpr int N = kRun<T, X...>;
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kMapThreads + threadIdx.x) * N;
  if (packs && i + N <= n) {
    [&](const Run<X, N>&... in) {
      Run<T, N> out;
#pragma unroll
      for (int j = 0; j < N; ++j) out[j] = static_cast<T>(f(i + j, in[j]...));
      store_run(out, y + i);
    }(load_run<N>(x + i)...);
  } else {
    for (int64_t j = i; j < n && j < i + N; ++j) y[j] = static_cast<T>(f(j, x[j]...));
  }
}

// Launches the map over n elements. f is a struct with a __device__ operator()(int64_t i, Computed<X>... x) const.
template <class F, class T, class... X>
void map(const F& f, T* y, int64_t n, const X*... x) {
  if (n == 0) return;
  const auto blocks = static_cast<unsigned>(ceil_div(n, int64_t{kMapThreads} * kRun<T, X...>));
  SIXLOOP_LAUNCH((map_kernel<F, T, X...>), blocks, kMapThreads, 0, current_stream(), f, y, n,
                 aligned_for_packs(y, x...), x...);
}

}  // namespace sixloop::cuda
