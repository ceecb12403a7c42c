#include "gemm/simt.h"

#include "elementwise/simt.h"
#include "gemm/simt_product.h"

namespace sixloop::cuda {
namespace {

// The largest tile that leaves enough blocks. Every tile gives the same bits.
template <class T, class Left, class Right>
void launch_gemm(const ProductSizes& g, const Left& left, const Right& right, const Sink<T, DenseRows>& sink) {
  if constexpr (std::is_same_v<T, float>) {  // 64 accumulators of float64 would take all registers
    if (product_blocks(g, 128, 128) >= kEnoughBlocks) {
      return launch_product<Tile<T, 128, 128, 8, 2, 2>>(g, left, right, sink);
    }
  }
  if (product_blocks(g, 64, 64) >= kEnoughBlocks) {
    return launch_product<Tile<T, 64, 64, 16, 1, 1>>(g, left, right, sink);
  }
  launch_product<Tile<T, 32, 32, 8, 1, 1>>(g, left, right, sink);
}

}  // namespace

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
      if (transpose_b) return launch_gemm(g, left, matrix<true>(data, ld, g.n), sink);
      launch_gemm(g, left, matrix<false>(data, ld, g.n), sink);
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

}  // namespace sixloop::cuda
