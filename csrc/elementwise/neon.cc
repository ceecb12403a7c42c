#include "base/simd/neon.h"

#include "elementwise/elementwise.h"
#include "elementwise/kernels-inl.h"

namespace sixloop {

void add_f32__neon(const float* a, const float* b, float* y, int64_t n) { add_vectors<neon::F32>(a, b, y, n); }
void add_f64__neon(const double* a, const double* b, double* y, int64_t n) { add_vectors<neon::F64>(a, b, y, n); }

void scale_f32__neon(const float* x, float s, float* y, int64_t n) { scale_vectors<neon::F32>(x, s, y, n); }
void scale_f64__neon(const double* x, double s, double* y, int64_t n) { scale_vectors<neon::F64>(x, s, y, n); }

void activate_f32__neon(const float* x, float* y, int64_t n, Activation activation, float alpha) {
  activate_vectors<neon::F32>(x, y, n, activation, alpha);
}
void activate_f64__neon(const double* x, double* y, int64_t n, Activation activation, double alpha) {
  activate_vectors<neon::F64>(x, y, n, activation, alpha);
}

void activate_grad_f32__neon(const float* dy, const float* x, float* dx, int64_t n, Activation activation,
                             float alpha) {
  activate_grad_vectors<neon::F32>(dy, x, dx, n, activation, alpha);
}
void activate_grad_f64__neon(const double* dy, const double* x, double* dx, int64_t n, Activation activation,
                             double alpha) {
  activate_grad_vectors<neon::F64>(dy, x, dx, n, activation, alpha);
}

void activate_grad_of_f32__neon(const float* dy, const float* y, float* dz, int64_t n, Activation activation) {
  activate_grad_of_vectors<neon::F32>(dy, y, dz, n, activation);
}
void activate_grad_of_f64__neon(const double* dy, const double* y, double* dz, int64_t n, Activation activation) {
  activate_grad_of_vectors<neon::F64>(dy, y, dz, n, activation);
}

void column_sum_f32__neon(const float* x, int64_t rows, int64_t columns, int64_t ld, float* sum) {
  column_sum_vectors<neon::F32>(x, rows, columns, ld, sum);
}
void column_sum_f64__neon(const double* x, int64_t rows, int64_t columns, int64_t ld, double* sum) {
  column_sum_vectors<neon::F64>(x, rows, columns, ld, sum);
}

}  // namespace sixloop
