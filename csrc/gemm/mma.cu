#include "gemm/mma.h"

#include "elementwise/simt.h"
#include "gemm/mma_matrices.h"

namespace sixloop::cuda {
namespace {

constexpr int kThreads = 128;

// A thread has W neighbours.
template <int W>
__global__ void __launch_bounds__(kThreads) add_parts_kernel(const float* sums, int64_t parts, MmaResult to) {
  using V = Lane<float>;
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * W;
  if (i >= to.size) return;
  float sum[W] = {};
  // The loads of several parts are on their way at the same time.
#pragma unroll 8
  for (int64_t part = 0; part < parts; ++part) {
    const float* const from = sums + part * to.size + i;
    if constexpr (W == Pack<float>::N) {
      const Pack<float> pack = load_pack(from);
#pragma unroll
      for (int j = 0; j < W; ++j) sum[j] += pack.v[j];
    } else {
      sum[0] += *from;
    }
  }
#pragma unroll
  for (int j = 0; j < W; ++j) {
    V value{sum[j]};
    if (to.bias.data != nullptr) value = value + V{to.bias.load((i + j) % to.ld)};
    if (to.residual.data != nullptr) value = value + V{to.residual.load(i + j)};
    if (to.relu) value = V::max(V::zero(), value);
    to.out.store(i + j, value.v);
  }
}

template <class T>
void gemm_of(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor* bias, bool relu,
             bool may_split, const Tensor& c) {
  const int64_t m = c.shape()[0], n = c.shape()[1], k = a.shape()[transpose_a ? 0 : 1];
  const T* const left = a.data<T>();
  const T* const right = b.data<T>();
  mma_matrices<T>({m, n, k}, mma_operand(left, !transpose_a, a.shape()[1], m, k),
                  mma_operand(right, transpose_b, b.shape()[1], n, k),
                  {float_or_bf16(&c), n, 0, m * n, float_or_bf16(bias), 0, relu}, may_split);
}

}  // namespace

void add_mma_parts(const float* sums, int64_t parts, const MmaResult& to) {
  constexpr int W = Pack<float>::N;
  if (to.size % W == 0) {
    SIXLOOP_LAUNCH(add_parts_kernel<W>, static_cast<unsigned>(ceil_div(to.size, kThreads * W)), kThreads, 0,
                   current_stream(), sums, parts, to);
  } else {
    SIXLOOP_LAUNCH(add_parts_kernel<1>, static_cast<unsigned>(ceil_div(to.size, kThreads)), kThreads, 0,
                   current_stream(), sums, parts, to);
  }
}

void mma_gemm(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor* bias,
              Activation activation, bool may_split, const Tensor& c) {
  const bool relu = activation == Activation::relu;
  if (c.dtype() == DType::bfloat16) {
    gemm_of<BFloat16>(a, transpose_a, b, transpose_b, bias, relu, may_split, c);
  } else {
    gemm_of<float>(a, transpose_a, b, transpose_b, bias, relu, may_split, c);
  }
  // Others are a pass of their own, over rounded results: all of them in the kernel would cost it registers.
  if (activation != Activation::none && !relu) activate(c, activation, default_alpha(activation), c);
}

}  // namespace sixloop::cuda
