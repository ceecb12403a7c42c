// Rows of elements, taken W at a time: 16 bytes by one instruction where all rows begin at such bounds, else one
// element, neighbours for neighbouring threads.
#pragma once

#include "cuda/map.h"

namespace sixloop::cuda {

template <class T, int W>
struct alignas(W * sizeof(T)) Part {
  T v[W];
};
template <int W, class T>
__device__ __forceinline__ Part<T, W> load(const T* p) {
  return *reinterpret_cast<const Part<T, W>*>(p);
}
template <class T, int W>
__device__ __forceinline__ void store(const Part<T, W>& part, T* p) {
  *reinterpret_cast<Part<T, W>*>(p) = part;
}

// W neighbours of any type: beside a part of narrower elements they are several loads of 16 bytes.
template <class T, int W>
struct Elements {
  static constexpr int kPart = W < Pack<T>::N ? W : Pack<T>::N;
  Part<T, kPart> parts[W / kPart];
  __device__ T& operator[](int j) { return parts[j / kPart].v[j % kPart]; }
  __device__ const T& operator[](int j) const { return parts[j / kPart].v[j % kPart]; }
};
template <int W, class T>
__device__ __forceinline__ Elements<T, W> load_elements(const T* p) {
  using E = Elements<T, W>;
  E elements;
#pragma unroll
  for (int k = 0; k < W / E::kPart; ++k) elements.parts[k] = load<E::kPart>(p + k * E::kPart);
  return elements;
}
template <class T, int W>
__device__ __forceinline__ void store_elements(const Elements<T, W>& elements, T* p) {
  using E = Elements<T, W>;
#pragma unroll
  for (int k = 0; k < W / E::kPart; ++k) store(elements.parts[k], p + k * E::kPart);
}

// Calls f with a constant of that width: std::integral_constant<int, W>.
template <class T, class F>
void with_width(bool packs, const F& f) {
  if (packs) {
    f(std::integral_constant<int, Pack<T>::N>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

// The number of this thread among all of the launch.
__device__ __forceinline__ int64_t thread_number() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
inline unsigned blocks_for(int64_t threads, int64_t block) { return static_cast<unsigned>(ceil_div(threads, block)); }

}  // namespace sixloop::cuda
