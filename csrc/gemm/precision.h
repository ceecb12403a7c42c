// How exact the products of float32 arrays are to be.
#pragma once

#include <string>

#include "base/tensor.h"

namespace sixloop {

enum class Precision { fp32, tf32 };

// "fp32" or "tf32". An unknown name throws and lists the valid ones.
Precision parse_precision(const char* op, const std::string& name);

// Throws where arrays like x cannot be multiplied so.
void check_precision(const char* op, Precision precision, const char* arg, const Tensor& x);

// Whether the tensor cores multiply arrays like x: bfloat16, and float32 where tf32 was asked for.
inline bool on_tensor_cores(Precision precision, const Tensor& x) {
  return x.dtype() == DType::bfloat16 || precision == Precision::tf32;
}

// A bias of float32 or of x's dtype for bfloat16 x, of x's dtype otherwise.
void check_bias_dtype(const char* op, const char* arg, const Tensor& x, const Tensor& bias);

}  // namespace sixloop
