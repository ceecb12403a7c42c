// Random numbers that are functions of (seed, purpose, step, element): base/philox.h has the streams.
#pragma once

#include "base/kernel.h"
#include "base/philox.h"
#include "base/tensor.h"

namespace sixloop {

// All kernels make elements [first, first + n) of a stream. first is a multiple of 64.

// bits[i] = element i of the 64-bit stream.
struct RandomBits {
  static constexpr const char* name = "random_bits";
  template <class T>
  using Fn = void(const PhiloxKey& key, uint64_t first, int64_t n, T* bits);
  static Kernels kernels();
};

// y[i] = min(low + width u, top) with u = floor(bits / 2^11) / 2^53, computed in float64 and rounded once to T. `top`
// is the largest T that may come out: rounding could reach the upper limit itself.
struct RandomUniform {
  static constexpr const char* name = "random_uniform";
  template <class T>
  using Fn = void(const PhiloxKey& key, uint64_t first, int64_t n, double low, double width, T top, T* y);
  static Kernels kernels();
};

// y[i] = mean + std z, z the quantile of the normal distribution (AS 241) at (floor(bits / 2^12) + 1/2) / 2^52,
// computed in float64 and rounded once to T. |z| <= 8.21.
struct RandomNormal {
  static constexpr const char* name = "random_normal";
  template <class T>
  using Fn = void(const PhiloxKey& key, uint64_t first, int64_t n, double mean, double std, T* y);
  static Kernels kernels();
};

// y[i] = x[i] * scale where element i of the 32-bit stream is at least `threshold`, else 0. y may be x.
struct Dropout {
  static constexpr const char* name = "dropout";
  template <class T>
  using Fn = void(const PhiloxKey& key, uint64_t first, int64_t n, const T* x, uint32_t threshold, T scale, T* y);
  static Kernels kernels();
};

// bits: n numbers.
void random_bits(const PhiloxKey& key, int64_t n, int64_t* bits);
// Uniform on [low, high).
Tensor random_uniform(const Shape& shape, double low, double high, const PhiloxKey& key, DType dtype,
                      Device device = Device::cpu);
Tensor random_normal(const Shape& shape, double mean, double std, const PhiloxKey& key, DType dtype,
                     Device device = Device::cpu);
// Inverted dropout (Srivastava et al. 2014): an element is 0 with probability `rate`, else divided by 1 - rate. Its own
// gradient. `op` is the tag of errors.
Tensor dropout(const char* op, const Tensor& x, double rate, const PhiloxKey& key);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "random/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
