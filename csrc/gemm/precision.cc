#include "gemm/precision.h"

#include "base/validate.h"

namespace sixloop {

Precision parse_precision(const char* op, const std::string& name) {
  if (name == "fp32") return Precision::fp32;
  if (name == "tf32") return Precision::tf32;
  value_error("[", op, "] unknown precision \"", name, "\"; valid: fp32, tf32");
}

void check_precision(const char* op, Precision precision, const char* arg, const Tensor& x) {
  if (precision == Precision::fp32 || (x.device() == Device::cuda && x.dtype() == DType::float32)) return;
  value_error("[", op, "] precision \"tf32\" is for float32 arrays on cuda; got ", arg, " of dtype ",
              name_of(x.dtype()), " on ", name_of(x.device()));
}

void check_bias_dtype(const char* op, const char* arg, const Tensor& x, const Tensor& bias) {
  if (x.dtype() == DType::bfloat16 && bias.dtype() == DType::float32) return;
  check_same_dtype(op, arg, x, "bias", bias);
}

}  // namespace sixloop
