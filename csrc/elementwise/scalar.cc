#include "base/simd/scalar.h"

#include "elementwise/elementwise.h"
#include "elementwise/kernels-inl.h"

namespace sixloop {

void add_f32__scalar(const float* a, const float* b, float* y, int64_t n) { add_vectors<scalar::F32>(a, b, y, n); }
void add_f64__scalar(const double* a, const double* b, double* y, int64_t n) { add_vectors<scalar::F64>(a, b, y, n); }

}  // namespace sixloop
