// Maps over the elements of arrays, with gradients.
#pragma once

#include "base/kernel.h"
#include "base/tensor.h"

namespace sixloop {

// y[i] = a[i] + b[i]. Any alignment; y may be a or b.
struct Add {
  static constexpr const char* name = "add";
  template <class T>
  using Fn = void(const T* a, const T* b, T* y, int64_t n);
  static Kernels kernels();
};

Tensor add(const Tensor& a, const Tensor& b);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "elementwise/kernels.inc"
#undef SIXLOOP_KERNEL

}  // namespace sixloop
