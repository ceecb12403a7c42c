#include "base/tensor.h"

#include <cstring>

#include "base/error.h"
#include "base/own_memory.h"

namespace sixloop {

Device parse_device(const char* op, const std::string& name) {
  if (name == "cpu") return Device::cpu;
  if (name != "cuda") value_error("[", op, "] unknown device \"", name, "\"; valid: cpu, cuda");
  const std::string why = why_no_cuda();
  if (!why.empty()) throw std::runtime_error(message("[", op, "] cuda is not available: ", why));
  return Device::cuda;
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  Tensor t;
  t.shape_ = shape;
  t.size_ = shape.size();
  t.dtype_ = dtype;
  t.device_ = device;
  const size_t bytes = static_cast<size_t>(t.size_) * size_of(dtype);
  if (device == Device::cpu && dtype == DType::bfloat16) {
    type_error("[Tensor] bfloat16 is a dtype of cuda alone; got device cpu for shape ", shape,
               ": take float32 there, see ops.cast");
  }
  if (device == Device::cuda) {
    t.owner_ = allocate_on_cuda(bytes);
    t.data_ = t.owner_.get();
    return t;
  }
  t.owner_ = new_own_memory(bytes);
  t.data_ = t.owner_.get();
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  if (device == Device::cuda) {
    zero_on_cuda(t.data_, static_cast<size_t>(t.bytes()));
  } else {
    std::memset(t.data_, 0, static_cast<size_t>(t.bytes()));
  }
  return t;
}

Tensor Tensor::borrow(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> owner, Device device) {
  Tensor t;
  t.shape_ = shape;
  t.size_ = shape.size();
  t.dtype_ = dtype;
  t.device_ = device;
  t.data_ = data;
  t.owner_ = std::move(owner);
  return t;
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape.size() != size_) {
    value_error("[reshape] the number of elements must stay the same: expected ", size_, "; got shape ", shape,
                " with ", shape.size(), " from ", shape_);
  }
  Tensor t = *this;
  t.shape_ = shape;
  return t;
}

Tensor Tensor::copy_to(Device device) const {
  Tensor t = empty(shape_, dtype_, device);
  copy_bytes(t.data_, device, data_, device_, static_cast<size_t>(bytes()));
  return t;
}

}  // namespace sixloop
