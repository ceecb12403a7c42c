#include "conv2d/mma_algorithms.h"

namespace sixloop::cuda {
namespace {

constexpr int kChannels = 4;  // of a block of threads: 32 bytes of each block's moments
constexpr int kLines = 128;   // that share the blocks of rows
constexpr int kThreads = kChannels * kLines;

// The sum of all lines' values, by halves, for every thread of the channel.
__device__ double add_lines(double* shared, double value) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();
  shared[thread] = value;
  for (int half = kThreads / 2; half >= kChannels; half /= 2) {
    __syncthreads();
    if (thread < half) shared[thread] += shared[thread + half];
  }
  __syncthreads();
  return shared[thread % kChannels];
}

// Chan, Golub and LeVeque 1979, in float64: deviations from the mean of a block, and of that from the mean of all.
// One block on a processor: with the registers of two a division of float64 spills one.
__global__ void __launch_bounds__(kThreads, 1)
    statistics_kernel(const float2* moments, int64_t rows, int64_t channels, float* mean, float* variance) {
  double* const shared = shared_memory<double>();
  const int line = static_cast<int>(threadIdx.x) / kChannels;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kChannels + threadIdx.x % kChannels;
  const int64_t blocks = c < channels ? ceil_div(rows, kMomentRows) : 0;
  const auto count = [&](int64_t block) {
    const int64_t left = rows - block * kMomentRows;
    return static_cast<double>(left < kMomentRows ? left : kMomentRows);
  };
  double sum = 0;
#pragma unroll 8
  for (int64_t b = line; b < blocks; b += kLines) {
    sum += count(b) * static_cast<double>(moments[b * channels + c].x);
  }
  const double center = add_lines(shared, sum) / static_cast<double>(rows);
  double squares = 0;
#pragma unroll 8
  for (int64_t b = line; b < blocks; b += kLines) {
    const float2 of = moments[b * channels + c];
    const double d = static_cast<double>(of.x) - center;
    squares += static_cast<double>(of.y) + count(b) * d * d;
  }
  squares = add_lines(shared, squares);
  if (line > 0 || c >= channels) return;
  mean[c] = static_cast<float>(center);
  variance[c] = static_cast<float>(squares / static_cast<double>(rows));
}

}  // namespace

void merge_statistics(const float2* moments, int64_t rows, int64_t channels, float* mean, float* variance) {
  SIXLOOP_LAUNCH(statistics_kernel, static_cast<unsigned>(ceil_div(channels, kChannels)), kThreads,
                 kThreads * sizeof(double), current_stream(), moments, rows, channels, mean, variance);
}

}  // namespace sixloop::cuda
