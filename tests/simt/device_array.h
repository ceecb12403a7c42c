// What tests of instructions multiply and copy.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "base/tensor.h"
#include "cuda/launch.h"

namespace sixloop {

// Device memory of any plain type.
template <class T>
struct Array {
  Tensor memory;
  explicit Array(const std::vector<T>& values)
      : memory(Tensor::empty({static_cast<int64_t>(values.size() * sizeof(T) + 3) / 4}, DType::float32, Device::cuda)) {
    copy_bytes(memory.raw(), Device::cuda, values.data(), Device::cpu, values.size() * sizeof(T));
  }
  T* data() const { return static_cast<T*>(memory.raw()); }
  std::vector<T> host() const {
    cuda::synchronize();  // so that an error comes before there is a copy
    std::vector<T> values(static_cast<size_t>(memory.size()) * 4 / sizeof(T));
    copy_bytes(values.data(), Device::cpu, memory.raw(), Device::cuda, values.size() * sizeof(T));
    return values;
  }
};

// bfloat16 and TF32 hold these integers exactly.
inline uint16_t bf16(float x) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16); }
inline std::vector<uint16_t> bf16(const std::vector<float>& x) {
  std::vector<uint16_t> y;
  for (const float v : x) y.push_back(bf16(v));
  return y;
}

inline std::vector<float> integers(size_t n, unsigned seed) {
  std::vector<float> values;
  uint32_t state = seed;
  for (size_t i = 0; i < n; ++i) {
    state = state * 1664525u + 1013904223u;
    values.push_back(static_cast<float>(static_cast<int>(state >> 16 & 31u) - 15));
  }
  return values;
}

}  // namespace sixloop
