#include "base/simd/neon.h"
#include "base/simd/u64_neon.h"

#include "random/kernels-inl.h"
#include "random/random.h"

namespace sixloop {

void random_bits_i64__neon(const PhiloxKey& key, uint64_t first, int64_t n, int64_t* bits) {
  random_bits_vectors<neon::U64>(key, first, n, bits);
}

void random_uniform_f32__neon(const PhiloxKey& key, uint64_t first, int64_t n, double low, double width, float top,
                              float* y) {
  random_uniform_vectors<neon::U64>(key, first, n, low, width, top, y);
}
void random_uniform_f64__neon(const PhiloxKey& key, uint64_t first, int64_t n, double low, double width, double top,
                              double* y) {
  random_uniform_vectors<neon::U64>(key, first, n, low, width, top, y);
}

void random_normal_f32__neon(const PhiloxKey& key, uint64_t first, int64_t n, double mean, double std, float* y) {
  random_normal_vectors<neon::U64, neon::F64>(key, first, n, mean, std, y);
}
void random_normal_f64__neon(const PhiloxKey& key, uint64_t first, int64_t n, double mean, double std, double* y) {
  random_normal_vectors<neon::U64, neon::F64>(key, first, n, mean, std, y);
}

void dropout_f32__neon(const PhiloxKey& key, uint64_t first, int64_t n, const float* x, uint32_t threshold, float scale,
                       float* y) {
  dropout_vectors<neon::U64>(key, first, n, x, threshold, scale, y);
}
void dropout_f64__neon(const PhiloxKey& key, uint64_t first, int64_t n, const double* x, uint32_t threshold,
                       double scale, double* y) {
  dropout_vectors<neon::U64>(key, first, n, x, threshold, scale, y);
}

}  // namespace sixloop
