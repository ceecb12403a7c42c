#include "gemm/wgmma_launch.h"

namespace sixloop::cuda {
namespace {

constexpr int kThreads = 256, kSide = 32;  // of a tile that is transposed

__device__ __forceinline__ float rounded(float x) { return std::bit_cast<float>(ptx::to_tf32(x)); }

// A thread has a chunk.
__global__ void __launch_bounds__(kThreads)
    round_taps_kernel(Tf32Taps from, int64_t x_end, int64_t k, int64_t chunks, float* to) {
  constexpr int W = Pack<float>::N;
  const int64_t chunk = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (chunk >= chunks) return;
  const int64_t row = chunk / (k / W), step = chunk % (k / W) * W;
  const int64_t tap = step / from.run;
  Pack<float> pack = load_pack(from.data + row / x_end * from.batch_step + row % x_end * from.step_x +
                               tap / from.taps_w * from.step_i + tap % from.taps_w * from.step_j + step % from.run);
#pragma unroll
  for (float& v : pack.v) v = rounded(v);
  store_pack(pack, to + chunk * W);
}

// A block has kSide steps of k and as many x. `filled`: k, filled up.
__global__ void __launch_bounds__(kThreads)
    round_transposed_kernel(const float* from, int64_t ld, int64_t batch_step, int64_t k, int64_t filled, int64_t x_end,
                            float* to) {
  constexpr int kLines = kThreads / kSide;
  float* const tile = shared_memory<float>();
  const int64_t blocks_x = ceil_div(x_end, kSide), blocks_k = ceil_div(filled, kSide);
  const int64_t block = blockIdx.x, batch = block / (blocks_x * blocks_k);
  const int64_t x0 = block % blocks_x * kSide, k0 = block / blocks_x % blocks_k * kSide;
  const int line = static_cast<int>(threadIdx.x) / kSide, place = static_cast<int>(threadIdx.x) % kSide;
  from += batch * batch_step;
  to += batch * x_end * filled;
#pragma unroll
  for (int i = line; i < kSide; i += kLines) {
    const bool inside = k0 + i < k && x0 + place < x_end;
    tile[i * (kSide + 1) + place] = inside ? rounded(from[(k0 + i) * ld + x0 + place]) : 0;
  }
  __syncthreads();
#pragma unroll
  for (int i = line; i < kSide; i += kLines) {
    if (x0 + i < x_end && k0 + place < filled) to[(x0 + i) * filled + k0 + place] = tile[place * (kSide + 1) + i];
  }
}

}  // namespace

Tensor tf32_rows(const Tf32Taps& from, int64_t x_end, int64_t k, int64_t batches) {
  const Tensor rows = Tensor::empty({batches, x_end, k}, DType::float32, Device::cuda);
  const int64_t chunks = rows.size() / Pack<float>::N;
  SIXLOOP_LAUNCH(round_taps_kernel, static_cast<unsigned>(ceil_div(chunks, kThreads)), kThreads, 0, current_stream(),
                 from, x_end, k, chunks, rows.data<float>());
  return rows;
}

Tensor tf32_rows(const MmaOperand<float>& from, int64_t k, int64_t batches) {
  if (from.turned) {
    return tf32_rows(Tf32Taps{from.data, 0, 0, from.ld, from.batch_step, 1, k}, from.x_end, k, batches);
  }
  const int64_t filled = ceil_div(k, Pack<float>::N) * Pack<float>::N;
  const Tensor rows = Tensor::empty({batches, from.x_end, filled}, DType::float32, Device::cuda);
  const int64_t blocks = ceil_div(from.x_end, kSide) * ceil_div(filled, kSide) * batches;
  SIXLOOP_LAUNCH(round_transposed_kernel, static_cast<unsigned>(blocks), kThreads, kSide * (kSide + 1) * sizeof(float),
                 current_stream(), from.data, from.ld, from.batch_step, k, filled, from.x_end, rows.data<float>());
  return rows;
}

MmaOperand<float> tf32_operand(const Tensor& rows) {
  const int64_t x_end = rows.shape()[1], k = rows.shape()[2];
  return mma_operand<float>(rows.data<float>(), true, k, x_end, k, x_end * k);
}

void wgmma_matrices(const ProductSizes& g, const MmaOperand<float>& left, const MmaOperand<float>& right,
                    const MmaResult& to, bool may_split) {
  const Tensor rows = tf32_rows(right, g.k, g.batches);
  const MmaOperand<float> turned = tf32_operand(rows);
  const WgmmaPlan plan = plan_wgmma(g.m, g.n, g.k, g.batches, may_split, kWgmmaLimitsHere);
  in_parts(g, plan, to, [&](const ProductSizes& sizes, const MmaSink<DenseRows>& sink) {
    with_wgmma_shape<float>(plan.tile,
                            [&](auto shape) { launch_wgmma_matrices<decltype(shape)>(sizes, left, turned, sink); });
  });
}

template void launch_wgmma_matrices<Wgmma128x256<float>>(const ProductSizes&, const MmaOperand<float>&,
                                                         const MmaOperand<float>&, const MmaSink<DenseRows>&);
template void launch_wgmma_matrices<Wgmma128x128<float>>(const ProductSizes&, const MmaOperand<float>&,
                                                         const MmaOperand<float>&, const MmaSink<DenseRows>&);
template void launch_wgmma_matrices<Wgmma128x64<float>>(const ProductSizes&, const MmaOperand<float>&,
                                                        const MmaOperand<float>&, const MmaSink<DenseRows>&);
template void launch_wgmma_matrices<Wgmma64x64<float>>(const ProductSizes&, const MmaOperand<float>&,
                                                       const MmaOperand<float>&, const MmaSink<DenseRows>&);

}  // namespace sixloop::cuda
