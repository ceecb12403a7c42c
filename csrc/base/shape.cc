#include "base/shape.h"

#include <new>

#include "base/error.h"

namespace sixloop {

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(dims.begin(), static_cast<int>(dims.size())) {}

Shape::Shape(const int64_t* dims, int rank) : rank_(rank) {
  if (rank > kMaxRank) {
    value_error("[shape] at most ", kMaxRank, " dimensions are supported; got ", rank);
  }
  for (int i = 0; i < rank; ++i) dims_[i] = dims[i];
}

int64_t Shape::size() const {
  // The bytes of 2^59 elements of 8 bytes still fit into 63 bits.
  constexpr int64_t kLimit = int64_t{1} << 59;
  int64_t product = 1;
  bool too_large = false;
  for (int i = 0; i < rank_; ++i) {
    if (dims_[i] == 0) return 0;
    if (too_large || dims_[i] > kLimit / product) {
      too_large = true;
    } else {
      product *= dims_[i];
    }
  }
  if (too_large) throw std::bad_alloc();
  return product;
}

bool Shape::operator==(const Shape& other) const {
  if (rank_ != other.rank_) return false;
  for (int i = 0; i < rank_; ++i) {
    if (dims_[i] != other.dims_[i]) return false;
  }
  return true;
}

std::string Shape::str() const {
  std::string text = "(";
  for (int i = 0; i < rank_; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(dims_[i]);
  }
  if (rank_ == 1) text += ",";
  return text + ")";
}

}  // namespace sixloop
