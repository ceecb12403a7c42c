// What the files of the tiles are made of.
#pragma once

#include "gemm/wgmma_matrices.h"

namespace sixloop::cuda {

template <class Shape>
void launch_wgmma_matrices(const ProductSizes& g, const MmaOperand<typename Shape::T>& left,
                           const MmaOperand<typename Shape::T>& right, const MmaSink<DenseRows>& sink) {
  using T = typename Shape::T;
  const auto with = [](const MmaOperand<T>& operand, auto always_turned, const auto& f) {
    const auto matrix = [&](auto turned) {
      f(MmaMatrix<T, turned(), false>{operand.data, operand.ld, operand.x_end, operand.batch_step, operand.width});
    };
    if constexpr (!always_turned()) {
      if (!operand.turned) return matrix(std::false_type{});
    }
    matrix(std::true_type{});
  };
  constexpr std::bool_constant<sizeof(T) == 4> kTf32{};  // B's copy is
  with(left, std::false_type{},
       [&](const auto& a) { with(right, kTf32, [&](const auto& b) { launch_wgmma<Shape>(g, a, b, sink); }); });
}

}  // namespace sixloop::cuda
