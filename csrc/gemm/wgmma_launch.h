// What the files of the tiles are made of.
#pragma once

#include "gemm/wgmma_matrices.h"

namespace sixloop::cuda {

template <class Shape>
void launch_wgmma_matrices(const ProductSizes& g, const MmaOperand<BFloat16>& left, const MmaOperand<BFloat16>& right,
                           const MmaSink<DenseRows>& sink) {
  const auto with = [](const MmaOperand<BFloat16>& operand, const auto& f) {
    const auto matrix = [&](auto turned) {
      f(MmaMatrix<BFloat16, turned(), false>{operand.data, operand.ld, operand.x_end, operand.batch_step,
                                             operand.width});
    };
    operand.turned ? matrix(std::true_type{}) : matrix(std::false_type{});
  };
  with(left, [&](const auto& a) { with(right, [&](const auto& b) { launch_wgmma<Shape>(g, a, b, sink); }); });
}

}  // namespace sixloop::cuda
