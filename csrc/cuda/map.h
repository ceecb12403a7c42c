// What kernels share: 16 bytes at a time, the arithmetic of one element, and maps over dense elements.
#pragma once

#include <type_traits>

#include "base/simd/scalar.h"
#include "cuda/launch.h"

namespace sixloop::cuda {

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

// Whether packs may be loaded from there: memory of other libraries is aligned to its elements alone.
template <class... T>
bool aligned_for_packs(const T*... p) {
  return ((reinterpret_cast<uintptr_t>(p) | ...) & 15) == 0;
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int kMapThreads = 256;

// y[i] = f(i, x[i]...); y may be one of x. A thread has one pack of elements.
template <class F, class T, class... X>
__global__ void __launch_bounds__(kMapThreads) map_kernel(F f, T* y, int64_t n, bool packs, const X*... x) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kMapThreads + threadIdx.x) * Pack<T>::N;
  if (packs && i + Pack<T>::N <= n) {
    [&](const Pack<X>&... in) {
      Pack<T> out;
#pragma unroll
      for (int j = 0; j < Pack<T>::N; ++j) out.v[j] = f(i + j, in.v[j]...);
      store_pack(out, y + i);
    }(load_pack(x + i)...);
  } else {
    for (int64_t j = i; j < n && j < i + Pack<T>::N; ++j) y[j] = f(j, x[j]...);
  }
}

// Launches the map over n elements. f is a struct with a __device__ operator()(int64_t i, T... x) const -> T.
template <class F, class T, class... X>
void map(const F& f, T* y, int64_t n, const X*... x) {
  static_assert((std::is_same_v<T, X> && ...));
  if (n == 0) return;
  const auto blocks = static_cast<unsigned>(ceil_div(n, int64_t{kMapThreads} * Pack<T>::N));
  SIXLOOP_LAUNCH((map_kernel<F, T, X...>), blocks, kMapThreads, 0, current_stream(), f, y, n,
                 aligned_for_packs(y, x...), x...);
}

}  // namespace sixloop::cuda
