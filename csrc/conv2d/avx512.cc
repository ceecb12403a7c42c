#include "base/simd/avx512.h"

#include "conv2d/depthwise-inl.h"

namespace sixloop {

void depthwise_f32__avx512(const DepthwiseTile<float>& tile) { depthwise_tile<avx512::F32>(tile); }
void depthwise_f64__avx512(const DepthwiseTile<double>& tile) { depthwise_tile<avx512::F64>(tile); }
void depthwise_grad_weight_f32__avx512(int64_t pixels, int64_t channels, const float* const* a, const float* dy,
                                       int64_t ld, float* sum) {
  depthwise_sum<avx512::F32>(pixels, channels, a, dy, ld, sum);
}
void depthwise_grad_weight_f64__avx512(int64_t pixels, int64_t channels, const double* const* a, const double* dy,
                                       int64_t ld, double* sum) {
  depthwise_sum<avx512::F64>(pixels, channels, a, dy, ld, sum);
}

}  // namespace sixloop
