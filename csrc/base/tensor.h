// A dense row-major array that owns or borrows its memory.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>

#include "base/device.h"
#include "base/dtype.h"
#include "base/shape.h"

namespace sixloop {

class Tensor {
 public:
  Tensor() = default;

  // New memory from the caching allocator, or from the GPU's pool; contents undefined. Throws TypeError for bfloat16 on
  // the CPU.
  static Tensor empty(const Shape& shape, DType dtype, Device device = Device::cpu);
  static Tensor zeros(const Shape& shape, DType dtype, Device device = Device::cpu);
  // Memory of someone else, kept alive by `owner`.
  static Tensor borrow(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> owner,
                       Device device = Device::cpu);

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  int64_t size() const { return size_; }
  int64_t bytes() const { return size_ * static_cast<int64_t>(size_of(dtype_)); }
  const std::shared_ptr<void>& owner() const { return owner_; }

  void* raw() const { return data_; }
  template <class T>
  T* data() const {
    return static_cast<T*>(data_);
  }

  // The same memory under another shape of the same size.
  Tensor reshape(const Shape& shape) const;
  // New memory with the same elements, on a device. copy_to() the device where it lies is a copy, too.
  Tensor copy_to(Device device) const;

 private:
  std::shared_ptr<void> owner_;
  void* data_ = nullptr;
  Shape shape_;
  int64_t size_ = 0;
  DType dtype_ = DType::float32;
  Device device_ = Device::cpu;
};

// Calls f(T{}) with the C++ type of a dtype that check_floating() let through.
template <class F>
decltype(auto) dispatch_floating(DType dtype, F&& f) {
  if (dtype == DType::bfloat16) throw std::logic_error("bfloat16 reached kernels of float32 and float64");
  return dtype == DType::float64 ? f(double{}) : f(float{});
}

// The same for one that check_floating_or_bfloat16() let through.
template <class F>
decltype(auto) dispatch_stored(DType dtype, F&& f) {
  if (dtype == DType::bfloat16) return f(BFloat16{});
  return dtype == DType::float64 ? f(double{}) : f(float{});
}

}  // namespace sixloop
