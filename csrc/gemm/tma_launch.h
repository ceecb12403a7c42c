// What the files of the tiles are made of.
#pragma once

#include <algorithm>

#include "gemm/tma_product.h"

namespace sixloop::cuda {

template <class Shape>
bool launch_tma_matrices(const ProductSizes& g, const MmaOperand<BFloat16>& left, const MmaOperand<BFloat16>& right,
                         const MmaSink<DenseRows>& sink) {
  const PFN_cuTensorMapEncodeTiled_v12000 encode = tma_encoder();
  if (encode == nullptr) return false;
  const CUtensorMap map_a = tma_operand(encode, left, g.k, g.batches, left.turned ? Shape::BM : 64);
  const CUtensorMap map_b = tma_operand(encode, right, g.k, g.batches, right.turned ? Shape::BN : 64);
  const int64_t tiles = product_blocks(g, Shape::BM, Shape::BN);
  const auto blocks = static_cast<unsigned>(std::min(tiles, kTmaBlocks));
  const auto launch = [&](auto turned_a, auto turned_b) {
    SIXLOOP_LAUNCH((tma_kernel<Shape, turned_a(), turned_b()>), blocks, Shape::kThreads, Shape::kSharedBytes,
                   current_stream(), g, map_a, map_b, sink, tiles);
  };
  const auto with_right = [&](auto turned_a) {
    right.turned ? launch(turned_a, std::true_type{}) : launch(turned_a, std::false_type{});
  };
  left.turned ? with_right(std::true_type{}) : with_right(std::false_type{});
  return true;
}

}  // namespace sixloop::cuda
