// What the files of the tiles are made of.
#pragma once

#include "gemm/mma_matrices.h"

namespace sixloop::cuda {

template <class Shape, bool kAnyWidth>
void launch_mma_matrices(const ProductSizes& g, const MmaOperand<typename Shape::T>& left,
                         const MmaOperand<typename Shape::T>& right, const MmaSink<DenseRows>& sink) {
  using T = typename Shape::T;
  const auto with = [](const MmaOperand<T>& operand, const auto& f) {
    const auto matrix = [&](auto turned) {
      f(MmaMatrix<T, turned(), kAnyWidth>{operand.data, operand.ld, operand.x_end, operand.batch_step, operand.width});
    };
    operand.turned ? matrix(std::true_type{}) : matrix(std::false_type{});
  };
  with(left, [&](const auto& a) { with(right, [&](const auto& b) { launch_mma<Shape>(g, a, b, sink); }); });
}

}  // namespace sixloop::cuda
