#include "base/simd/avx2.h"

#include "elementwise/elementwise.h"
#include "elementwise/kernels-inl.h"

namespace sixloop {

void add_f32__avx2(const float* a, const float* b, float* y, int64_t n) { add_vectors<avx2::F32>(a, b, y, n); }
void add_f64__avx2(const double* a, const double* b, double* y, int64_t n) { add_vectors<avx2::F64>(a, b, y, n); }

}  // namespace sixloop
