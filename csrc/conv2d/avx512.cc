#include "base/simd/avx512.h"

#include "conv2d/depthwise-inl.h"
#include "conv2d/lane_sums-inl.h"
#include "conv2d/planar-inl.h"
#include "conv2d/winograd-inl.h"

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
void planar_f32_6x32__avx512(const PlanarTile<float>& tile) { planar_tile<avx512::F32, 6, 2>(tile); }
void planar_f32_3x64__avx512(const PlanarTile<float>& tile) { planar_tile<avx512::F32, 3, 4>(tile); }
void planar_f32_6x16__avx512(const PlanarTile<float>& tile) { planar_tile<avx512::F32, 6, 1>(tile); }
void planar_f64_6x8__avx512(const PlanarTile<double>& tile) { planar_tile<avx512::F64, 6, 1>(tile); }
void planar_f64_6x16__avx512(const PlanarTile<double>& tile) { planar_tile<avx512::F64, 6, 2>(tile); }
void planar_f64_3x32__avx512(const PlanarTile<double>& tile) { planar_tile<avx512::F64, 3, 4>(tile); }
void lane_sums_f32_5x3__avx512(const LaneSumsArgs<float>& s) { lane_sums<avx512::F32, 5, 3>(s); }
void lane_sums_f64_5x3__avx512(const LaneSumsArgs<double>& s) { lane_sums<avx512::F64, 5, 3>(s); }
void winograd_f32_4x4__avx512(const WinogradTile<float>& tile) { winograd_tile<avx512::F32, Winograd4x4>(tile); }
void winograd_f32_2x2__avx512(const WinogradTile<float>& tile) { winograd_tile<avx512::F32, Winograd2x2>(tile); }
void winograd_f64_4x4__avx512(const WinogradTile<double>& tile) { winograd_tile<avx512::F64, Winograd4x4>(tile); }
void winograd_f64_2x2__avx512(const WinogradTile<double>& tile) { winograd_tile<avx512::F64, Winograd2x2>(tile); }
void winograd5x5_f32_2x2__avx512(const WinogradTile<float>& tile) { winograd_tile<avx512::F32, Winograd5x5>(tile); }
void winograd5x5_f64_2x2__avx512(const WinogradTile<double>& tile) { winograd_tile<avx512::F64, Winograd5x5>(tile); }

}  // namespace sixloop
