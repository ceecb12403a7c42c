// What the files of the tiles are made of.
#pragma once

#include "gemm/tma_product.h"

namespace sixloop::cuda {

template <class Shape>
bool launch_tma_matrices(const ProductSizes& g, const MmaOperand<BFloat16>& left, const MmaOperand<BFloat16>& right,
                         const MmaSink<DenseRows>& sink) {
  const PFN_cuTensorMapEncodeTiled_v12000 encode = tma_encoder();
  if (encode == nullptr) return false;
  const auto launch = [&](auto turned_a, auto turned_b) {
    TmaMatrices<turned_a(), turned_b()> operands;
    tma_operand(encode, left, g.k, g.batches, turned_a() ? Shape::BM : 64, &operands.a);
    tma_operand(encode, right, g.k, g.batches, turned_b() ? Shape::BN : 64, &operands.b);
    launch_tma<Shape>(g, operands, sink);
  };
  const auto with_right = [&](auto turned_a) {
    right.turned ? launch(turned_a, std::true_type{}) : launch(turned_a, std::false_type{});
  };
  left.turned ? with_right(std::true_type{}) : with_right(std::false_type{});
  return true;
}

}  // namespace sixloop::cuda
