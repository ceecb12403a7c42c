// The checks that ops share. Each throws with "[op] rule; got values". An op checks rank, then dtype, then
// positive sizes, then divisibility, then derived sizes.
#pragma once

#include "base/error.h"
#include "base/tensor.h"

namespace sixloop {

// float32 or float64.
void check_floating(const char* op, const char* arg, const Tensor& t);
// These, or bfloat16, which there is on the GPU alone.
void check_floating_or_bfloat16(const char* op, const char* arg, const Tensor& t);
void check_rank(const char* op, const char* arg, const Tensor& t, int rank, const char* layout);
void check_min_rank(const char* op, const char* arg, const Tensor& t, int rank);
void check_same_dtype(const char* op, const char* arg_a, const Tensor& a, const char* arg_b, const Tensor& b);
void check_same_shape(const char* op, const char* arg_a, const Tensor& a, const char* arg_b, const Tensor& b);
void check_shape(const char* op, const char* arg, const Tensor& t, const Shape& expected);
// A vector of one value per channel.
void check_vector(const char* op, const char* arg, const Tensor& t, int64_t length, const char* meaning);
// Negative axes count from the end. Returns the axis in [0, rank).
int check_axis(const char* op, int64_t axis, int rank);

}  // namespace sixloop
