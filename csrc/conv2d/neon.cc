#include "base/simd/neon.h"

#include "conv2d/depthwise-inl.h"
#include "conv2d/lane_sums-inl.h"
#include "conv2d/planar-inl.h"
#include "conv2d/winograd-inl.h"

namespace sixloop {

void depthwise_f32__neon(const DepthwiseTile<float>& tile) { depthwise_tile<neon::F32>(tile); }
void depthwise_f64__neon(const DepthwiseTile<double>& tile) { depthwise_tile<neon::F64>(tile); }
void depthwise_grad_weight_f32__neon(int64_t pixels, int64_t channels, const float* const* a, const float* dy,
                                     int64_t ld, float* sum) {
  depthwise_sum<neon::F32>(pixels, channels, a, dy, ld, sum);
}
void depthwise_grad_weight_f64__neon(int64_t pixels, int64_t channels, const double* const* a, const double* dy,
                                     int64_t ld, double* sum) {
  depthwise_sum<neon::F64>(pixels, channels, a, dy, ld, sum);
}
void planar_f32_6x16__neon(const PlanarTile<float>& tile) { planar_tile<neon::F32, 6, 4>(tile); }
void planar_f32_6x8__neon(const PlanarTile<float>& tile) { planar_tile<neon::F32, 6, 2>(tile); }
void planar_f32_3x16__neon(const PlanarTile<float>& tile) { planar_tile<neon::F32, 3, 4>(tile); }
void planar_f64_6x8__neon(const PlanarTile<double>& tile) { planar_tile<neon::F64, 6, 4>(tile); }
void planar_f64_6x4__neon(const PlanarTile<double>& tile) { planar_tile<neon::F64, 6, 2>(tile); }
void planar_f64_3x8__neon(const PlanarTile<double>& tile) { planar_tile<neon::F64, 3, 4>(tile); }
void lane_sums_f32_5x3__neon(const LaneSumsArgs<float>& s) { lane_sums<neon::F32, 5, 3>(s); }
void lane_sums_f64_5x3__neon(const LaneSumsArgs<double>& s) { lane_sums<neon::F64, 5, 3>(s); }
void winograd_f32_4x4__neon(const WinogradTile<float>& tile) { winograd_tile<neon::F32, Winograd4x4>(tile); }
void winograd_f32_2x2__neon(const WinogradTile<float>& tile) { winograd_tile<neon::F32, Winograd2x2>(tile); }
void winograd_f64_4x4__neon(const WinogradTile<double>& tile) { winograd_tile<neon::F64, Winograd4x4>(tile); }
void winograd_f64_2x2__neon(const WinogradTile<double>& tile) { winograd_tile<neon::F64, Winograd2x2>(tile); }
void winograd5x5_f32_2x2__neon(const WinogradTile<float>& tile) { winograd_tile<neon::F32, Winograd5x5>(tile); }
void winograd5x5_f64_2x2__neon(const WinogradTile<double>& tile) { winograd_tile<neon::F64, Winograd5x5>(tile); }

}  // namespace sixloop
