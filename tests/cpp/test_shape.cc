#include <limits>
#include <new>
#include <stdexcept>

#include "base/shape.h"
#include "base/tensor.h"
#include "base/validate.h"
#include "check.h"

namespace sixloop {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(size_is_the_product_of_the_extents) {
  CHECK_EQ(Shape().size(), 1);
  CHECK_EQ((Shape{3}).size(), 3);
  CHECK_EQ((Shape{2, 3, 4, 5}).size(), 120);
  CHECK_EQ((Shape{2, 0, 4}).size(), 0);
  CHECK_EQ((Shape{int64_t{1} << 31, int64_t{1} << 28}).size(), int64_t{1} << 59);
}

TEST(size_beyond_all_memory_is_out_of_memory) {
  CHECK_THROWS(std::bad_alloc, "", (Shape{kMax, kMax}).size());
  CHECK_THROWS(std::bad_alloc, "", (Shape{int64_t{1} << 31, int64_t{1} << 29}).size());
  CHECK_THROWS(std::bad_alloc, "", (Shape{3, kMax / 2}).size());
}

TEST(a_zero_extent_wins_over_any_other) {
  CHECK_EQ((Shape{0, kMax, kMax}).size(), 0);
  CHECK_EQ((Shape{kMax, kMax, 0}).size(), 0);
}

TEST(prints_as_a_python_tuple) {
  CHECK_EQ(Shape().str(), "()");
  CHECK_EQ((Shape{7}).str(), "(7,)");
  CHECK_EQ((Shape{1, 32, 32, 8}).str(), "(1, 32, 32, 8)");
}

TEST(equality_needs_rank_and_extents) {
  CHECK((Shape{2, 3}) == (Shape{2, 3}));
  CHECK((Shape{2, 3}) != (Shape{3, 2}));
  CHECK((Shape{2, 3}) != (Shape{2, 3, 1}));
}

TEST(nine_dimensions_are_too_many) {
  CHECK_EQ((Shape{1, 1, 1, 1, 1, 1, 1, 1}).rank(), 8);
  CHECK_THROWS(std::invalid_argument, "at most 8 dimensions", (Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}));
}

TEST(bytes_do_not_overflow) {
  CHECK_THROWS(std::bad_alloc, "", Tensor::empty({int64_t{1} << 61}, DType::float64));
  CHECK_THROWS(std::bad_alloc, "", Tensor::empty({int64_t{1} << 59}, DType::float64));
  CHECK_THROWS(std::bad_alloc, "", Tensor::empty({int64_t{1} << 59}, DType::uint8));
}

TEST(tensors_without_elements_exist) {
  const Tensor t = Tensor::zeros({0, 5}, DType::float32);
  CHECK_EQ(t.size(), 0);
  CHECK_EQ(t.bytes(), 0);
  CHECK(t.raw() != nullptr);
}

TEST(reshape_keeps_memory_and_size) {
  const Tensor t = Tensor::zeros({2, 6}, DType::float64);
  const Tensor r = t.reshape({3, 4});
  CHECK(r.raw() == t.raw());
  CHECK(r.owner() == t.owner());
  CHECK_THROWS(std::invalid_argument, "got shape (5, 2)", t.reshape({5, 2}));
}

TEST(negative_axes_count_from_the_end) {
  CHECK_EQ(check_axis("op", -1, 4), 3);
  CHECK_EQ(check_axis("op", 0, 4), 0);
  CHECK_THROWS(std::invalid_argument, "[op] axis must be from -4 to 3", check_axis("op", 4, 4));
  CHECK_THROWS(std::invalid_argument, "got -5", check_axis("op", -5, 4));
}

}  // namespace
}  // namespace sixloop
