// The extents of a dense row-major array.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

namespace sixloop {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  Shape(const int64_t* dims, int rank);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return dims_[axis]; }
  int64_t& operator[](int axis) { return dims_[axis]; }
  int64_t back() const { return dims_[rank_ - 1]; }

  // Product of the extents. Throws std::bad_alloc beyond 2^59: no memory holds that many elements,
  // and at 8 bytes each their size still fits into 63 bits.
  int64_t size() const;

  bool operator==(const Shape& other) const;
  bool operator!=(const Shape& other) const { return !(*this == other); }

  // "(1, 32, 32, 8)", as Python prints a tuple.
  std::string str() const;

 private:
  int rank_ = 0;
  int64_t dims_[kMaxRank] = {};
};

}  // namespace sixloop
