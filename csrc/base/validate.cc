#include "base/validate.h"

namespace sixloop {

void check_floating(const char* op, const char* arg, const Tensor& t) {
  if (!is_floating(t.dtype()) || t.dtype() == DType::bfloat16) {
    type_error("[", op, "] ", arg, " must be float32 or float64; got ", name_of(t.dtype()), " of shape ", t.shape());
  }
}

void check_floating_or_bfloat16(const char* op, const char* arg, const Tensor& t) {
  if (t.device() == Device::cpu) return check_floating(op, arg, t);
  if (!is_floating(t.dtype())) {
    type_error("[", op, "] ", arg, " must be float32, float64 or bfloat16; got ", name_of(t.dtype()), " of shape ",
               t.shape());
  }
}

void check_rank(const char* op, const char* arg, const Tensor& t, int rank, const char* layout) {
  if (t.shape().rank() != rank) {
    value_error("[", op, "] ", arg, " must have ", rank, " dimensions ", layout, "; got ", t.shape().rank(),
                " in shape ", t.shape());
  }
}

void check_min_rank(const char* op, const char* arg, const Tensor& t, int rank) {
  if (t.shape().rank() < rank) {
    value_error("[", op, "] ", arg, " must have at least ", rank, rank == 1 ? " dimension" : " dimensions",
                "; got shape ", t.shape());
  }
}

void check_same_dtype(const char* op, const char* arg_a, const Tensor& a, const char* arg_b, const Tensor& b) {
  if (a.dtype() != b.dtype()) {
    type_error("[", op, "] ", arg_a, " and ", arg_b, " must have one dtype; got ", name_of(a.dtype()), " and ",
               name_of(b.dtype()));
  }
}

void check_same_shape(const char* op, const char* arg_a, const Tensor& a, const char* arg_b, const Tensor& b) {
  if (a.shape() != b.shape()) {
    value_error("[", op, "] ", arg_a, " and ", arg_b, " must have the same shape; got ", a.shape(), " and ", b.shape());
  }
}

void check_shape(const char* op, const char* arg, const Tensor& t, const Shape& expected) {
  if (t.shape() != expected) {
    value_error("[", op, "] ", arg, " must have shape ", expected, "; got ", t.shape());
  }
}

void check_vector(const char* op, const char* arg, const Tensor& t, int64_t length, const char* meaning) {
  if (t.shape().rank() != 1 || t.shape()[0] != length) {
    value_error("[", op, "] ", arg, " must have shape (", length, ",), one value per ", meaning, "; got ", t.shape());
  }
}

int check_axis(const char* op, int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    value_error("[", op, "] axis must be from ", -rank, " to ", rank - 1, " for an array of ", rank,
                rank == 1 ? " dimension" : " dimensions", "; got ", axis);
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

}  // namespace sixloop
