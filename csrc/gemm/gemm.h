// Matrix product.
#pragma once

#include <optional>

#include "base/kernel.h"
#include "base/tensor.h"
#include "elementwise/activation.h"
#include "gemm/precision.h"

namespace sixloop {

namespace cuda {  // cuda/dry_run.h
struct Plan;
struct Capability;
}  // namespace cuda

// activation(op(a) op(b) + bias), op being transposition where asked for: [M, K] x [K, N] -> [M, N]; bias [N]. bfloat16
// on the GPU has float32 sums, and may have a float32 bias.
Tensor gemm(const Tensor& a, const Tensor& b, const std::optional<Tensor>& bias, bool transpose_a, bool transpose_b,
            Activation activation, Precision precision = Precision::fp32);

// How a product is done: by shape alone.
enum class GemmWay { panels, strips, turned_strips, turned_rows, vectors, turned_vectors, rows };
struct GemmPlan {
  GemmWay way;
  const Kernel* kernel;
};
GemmPlan plan_gemm(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, DType dtype);
const char* name_of(GemmWay way);
// Bytes that the product takes from the allocator besides its result, at most, with the present number of threads.
int64_t gemm_scratch(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, DType dtype);

// The same on a GPU, which need not be here: by a dry run of gemm().
cuda::Plan plan_gemm_on_cuda(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, DType dtype,
                             Precision precision, std::optional<cuda::Capability> capability);

}  // namespace sixloop
