// The kernels of random.h on the GPU, with the bits of the CPU's. Pointers are the GPU's.
#pragma once

#include "base/bfloat16.h"
#include "base/philox.h"

namespace sixloop::cuda {

void random_uniform(const PhiloxKey& key, double low, double width, float top, float* y, int64_t n);
void random_uniform(const PhiloxKey& key, double low, double width, double top, double* y, int64_t n);
void random_normal(const PhiloxKey& key, double mean, double std, float* y, int64_t n);
void random_normal(const PhiloxKey& key, double mean, double std, double* y, int64_t n);
void dropout(const PhiloxKey& key, const float* x, uint32_t threshold, float scale, float* y, int64_t n);
void dropout(const PhiloxKey& key, const double* x, uint32_t threshold, double scale, double* y, int64_t n);
void dropout(const PhiloxKey& key, const BFloat16* x, uint32_t threshold, float scale, BFloat16* y, int64_t n);

}  // namespace sixloop::cuda
