#include "base/tensor.h"

#include <cstring>

#include "base/allocator.h"
#include "base/error.h"

namespace sixloop {

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  Tensor t;
  t.shape_ = shape;
  t.size_ = shape.size();
  t.dtype_ = dtype;
  const size_t bytes = static_cast<size_t>(t.size_) * size_of(dtype);
  t.data_ = allocate(bytes);
  t.owner_ = std::shared_ptr<void>(t.data_, [bytes](void* block) { deallocate(block, bytes); });
  return t;
}

Tensor Tensor::zeros(const Shape& shape, DType dtype) {
  Tensor t = empty(shape, dtype);
  std::memset(t.data_, 0, static_cast<size_t>(t.bytes()));
  return t;
}

Tensor Tensor::borrow(void* data, const Shape& shape, DType dtype, std::shared_ptr<void> owner) {
  Tensor t;
  t.shape_ = shape;
  t.size_ = shape.size();
  t.dtype_ = dtype;
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

}  // namespace sixloop
