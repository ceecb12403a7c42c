#include "gemm/simt.h"

#include "elementwise/simt.h"
#include "gemm/simt_product.h"

namespace sixloop::cuda {

// The largest tile that leaves enough blocks and is not mostly empty. Every tile gives the same bits.
template <class T, bool kTurnedLeft, bool kTurnedRight>
void multiply(const ProductSizes& g, const Matrix<T, kTurnedLeft>& left, const Matrix<T, kTurnedRight>& right,
              const Sink<T, DenseRows>& sink) {
  const auto fills = [&](int64_t bm, int64_t bn) {
    return 2 * g.m > bm && 2 * g.n > bn && product_blocks(g, bm, bn) >= kEnoughBlocks;
  };
  if constexpr (kTurnedLeft) {  // few channels of many pixels
    constexpr int kSteps = sizeof(T) == 4 ? 16 : 8;
    if (g.n <= 16 && fills(64, 16)) return launch_product<Tile<T, 64, 16, kSteps, 1, 1>>(g, left, right, sink);
  }
  if constexpr (std::is_same_v<T, float>) {  // 64 accumulators of float64 would take all registers
    if (fills(128, 128)) return launch_product<Tile<T, 128, 128, 8, 2, 2>>(g, left, right, sink);
    if (fills(128, 64)) return launch_product<Tile<T, 128, 64, 16, 2, 1>>(g, left, right, sink);
  }
  if (fills(64, 64)) return launch_product<Tile<T, 64, 64, 16, 1, 1>>(g, left, right, sink);
  launch_product<Tile<T, 32, 32, 8, 1, 1>>(g, left, right, sink);
}

void gemm(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor* bias,
          Activation activation, const Tensor& c) {
  dispatch_floating(c.dtype(), [&](auto t) {
    using T = decltype(t);
    const ProductSizes g{c.shape()[0], c.shape()[1], a.shape()[transpose_a ? 0 : 1]};
    Sink<T, DenseRows> sink{};
    sink.data = c.data<T>();
    sink.rows = {g.n};
    sink.bias = bias != nullptr ? bias->data<T>() : nullptr;
    sink.relu = activation == Activation::relu;
    sink.packs = g.n % Pack<T>::N == 0 && aligned_for_packs(sink.data);
    const auto with_right = [&](const auto& left) {
      const T* const data = b.data<T>();
      const int64_t ld = b.shape()[1];
      if (transpose_b) return multiply(g, left, matrix<true>(data, ld, g.n), sink);
      multiply(g, left, matrix<false>(data, ld, g.n), sink);
    };
    const T* const data = a.data<T>();
    const int64_t ld = a.shape()[1];
    if (transpose_a) return with_right(matrix<false>(data, ld, g.m));
    with_right(matrix<true>(data, ld, g.m));
  });
  // Others are a pass of their own: all of them in the kernel would cost it registers.
  if (activation != Activation::none && activation != Activation::relu) {
    activate(c, activation, default_alpha(activation), c);
  }
}

#define SIXLOOP_INSTANTIATE(T, left, right)                                                    \
  template void multiply(const ProductSizes&, const Matrix<T, left>&, const Matrix<T, right>&, \
                         const Sink<T, DenseRows>&);
SIXLOOP_INSTANTIATE(float, false, false)
SIXLOOP_INSTANTIATE(float, false, true)
SIXLOOP_INSTANTIATE(float, true, false)
SIXLOOP_INSTANTIATE(float, true, true)
SIXLOOP_INSTANTIATE(double, false, false)
SIXLOOP_INSTANTIATE(double, false, true)
SIXLOOP_INSTANTIATE(double, true, false)
SIXLOOP_INSTANTIATE(double, true, true)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop::cuda
