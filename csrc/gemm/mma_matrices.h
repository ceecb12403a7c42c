// Products of dense matrices on the tensor cores, and what all products in parts end with.
#pragma once

#include "base/tensor.h"
#include "gemm/mma_product.h"
#include "gemm/wgmma_plan.h"

namespace sixloop::cuda {

// [x_end, k] with neighbours along k (turned), or [k, x_end], ld apart.
template <class T>
struct MmaOperand {
  const T* data;
  bool turned;
  int64_t ld, x_end, batch_step;
  int width;  // as of mma_width()
};
template <class T>
MmaOperand<T> mma_operand(const T* data, bool turned, int64_t ld, int64_t x_end, int64_t k, int64_t batch_step = 0) {
  return {data, turned, ld, x_end, batch_step, mma_width(data, ld, turned ? k : x_end, batch_step)};
}

// Where results go: rows of `ld` elements, those of a batch `batch_step` further, all in an array of `size` elements.
struct MmaResult {
  FloatOrBf16 out;
  int64_t ld, batch_step, size;
  FloatOrBf16 bias = {};
  int64_t bias_step = 0;
  bool relu = false;
  FloatOrBf16 residual = {};  // laid out as `out` is
  float2* moments = nullptr;  // as MmaSink has them, of ld columns; not where the sums are made in parts
};

inline FloatOrBf16 float_or_bf16(const Tensor* t) {
  return t != nullptr ? FloatOrBf16{t->raw(), t->dtype() == DType::bfloat16} : FloatOrBf16{};
}

template <class Rows>
MmaSink<Rows> mma_sink(const MmaResult& to, const Rows& rows) {
  MmaSink<Rows> sink{};
  sink.out = to.out;
  sink.rows = rows;
  sink.batch_step = to.batch_step;
  sink.bias = to.bias;
  sink.bias_step = to.bias_step;
  sink.residual = to.residual;
  sink.relu = to.relu;
  sink.moments = to.moments;
  sink.moments_ld = to.ld;
  const int64_t pack = to.out.is_bf16 ? Pack<BFloat16>::N : Pack<float>::N;
  sink.packs = to.ld % pack == 0 && to.batch_step % pack == 0 &&
               ((reinterpret_cast<uintptr_t>(to.out.data) | reinterpret_cast<uintptr_t>(to.residual.data)) & 15) == 0;
  return sink;
}

// out[i] = relu(the sum of element i of `parts` arrays of `size` that follow each other, in order, + bias + residual).
void add_mma_parts(const float* sums, int64_t parts, const MmaResult& to);

// Calls launch(sizes, sink) for the product as it was planned, and adds the parts.
template <class Plan, class Launch>
void in_parts(ProductSizes g, const Plan& plan, const MmaResult& to, const Launch& launch) {
  g.parts = plan.parts;
  g.part_k = plan.part_k;
  if (g.parts == 1) return launch(g, mma_sink(to, DenseRows{to.ld}));
  const Tensor sums = Tensor::empty({g.parts, to.size}, DType::float32, Device::cuda);
  MmaSink<DenseRows> sink = mma_sink({{sums.data<float>(), false}, to.ld, to.batch_step, to.size}, DenseRows{to.ld});
  sink.part_step = to.size;
  sink.packs = sink.packs && to.size % Pack<float>::N == 0;
  launch(g, sink);
  add_mma_parts(sums.data<float>(), g.parts, to);
}

// The emulator's tests meet both ways in small sizes.
#if defined(SIXLOOP_SIMT)
constexpr Tf32Limits kTf32LimitsHere{20, kTf32Limits.workspace};
#else
constexpr Tf32Limits kTf32LimitsHere = kTf32Limits;
#endif

// Whether this GPU, and this build, has wgmma: Hopper's, 9.0, alone.
bool has_wgmma();
// C = A B + ... by wgmma, which takes operands of whole chunks: gemm/wgmma_matrices.h.
void wgmma_matrices(const ProductSizes& g, const MmaOperand<BFloat16>& left, const MmaOperand<BFloat16>& right,
                    const MmaResult& to, bool may_split);
// In tf32, where plan_wgmma_tf32() says so.
void wgmma_matrices(const ProductSizes& g, const MmaOperand<float>& left, const MmaOperand<float>& right,
                    const MmaResult& to, bool may_split);

// Whether a product goes through wgmma. `any`: an operand is not made of whole chunks; left_across, may_split: as
// plan_wgmma_tf32() has them.
template <class T>
bool takes_wgmma(const ProductSizes& g, bool any, bool left_across, bool may_split, const Tf32Limits& limits) {
  if (any) {
    note_reason("rows are not whole 16 bytes");
    return false;
  }
  if (g.k == 0 || !has_wgmma()) {
    note_reason(g.k == 0 ? "nothing to add up" : "no wgmma on this GPU");
    return false;
  }
  if (sizeof(T) != 2 && !plan_wgmma_tf32(g.m, g.n, g.k, g.batches, left_across, may_split, limits)) {
    note_reason("rounded copies for wgmma would not pay");
    return false;
  }
  note_reason("Hopper, rows of whole 16 bytes");
  return true;
}

// Every tile is compiled in a file of its own. kAnyWidth: operands whose chunks may be copied in smaller pieces.
template <class Shape, bool kAnyWidth>
void launch_mma_matrices(const ProductSizes& g, const MmaOperand<typename Shape::T>& left,
                         const MmaOperand<typename Shape::T>& right, const MmaSink<DenseRows>& sink);

// C = A B + ... for dense matrices, by the tile that plan_mma() chooses.
template <class T>
void mma_matrices(const ProductSizes& g, const MmaOperand<T>& left, const MmaOperand<T>& right, const MmaResult& to,
                  bool may_split) {
  using Smallest = Mma64x64<T>;
  const bool any = left.width != Smallest::kChunk || right.width != Smallest::kChunk;
  if (takes_wgmma<T>(g, any, !left.turned, may_split, kTf32LimitsHere)) {
    return wgmma_matrices(g, left, right, to, may_split);
  }
  const MmaPlan plan = plan_mma(g.m, g.n, g.k, g.batches, Smallest::BK, any, may_split, kMmaLimitsHere);
  in_parts(g, plan, to, [&](const ProductSizes& sizes, const MmaSink<DenseRows>& sink) {
    if (any) return launch_mma_matrices<MmaAnyWidth<T>, true>(sizes, left, right, sink);
    switch (plan.tile) {
      case MmaTile::m128n128:
        return launch_mma_matrices<Mma128x128<T>, false>(sizes, left, right, sink);
      case MmaTile::m128n64:
        return launch_mma_matrices<Mma128x64<T>, false>(sizes, left, right, sink);
      case MmaTile::m64n64:
        return launch_mma_matrices<Smallest, false>(sizes, left, right, sink);
    }
  });
}

}  // namespace sixloop::cuda
