#include "base/simd/neon.h"

#include "norm/kernels-inl.h"
#include "norm/norm.h"

namespace sixloop {

void batch_moments_f32__neon(const float* x, int64_t rows, int64_t pitch, int64_t channels, float* base, float* sum,
                             float* squares) {
  batch_moments<neon::F32>(x, rows, pitch, channels, base, sum, squares);
}
void batch_normalize_f32__neon(const float* x, const float* residual, float* y, int64_t rows, int64_t channels,
                               const float* mean, const float* scale, const float* shift) {
  batch_normalize<neon::F32>(x, residual, y, rows, channels, mean, scale, shift);
}
void batch_grad_sums_f32__neon(const float* dy, const float* x, const float* mean, const BatchRelu<float>& relu,
                               int64_t rows, int64_t pitch, int64_t channels, float* sum, float* dot) {
  batch_grad_sums<neon::F32>(dy, x, mean, relu, rows, pitch, channels, sum, dot);
}
void batch_relu_grad_sums_f32__neon(const float* dy, const float* y, const float* x, const float* mean, int64_t rows,
                                    int64_t pitch, int64_t channels, float* dz, float* sum, float* dot) {
  batch_relu_grad_sums<neon::F32>(dy, y, x, mean, rows, pitch, channels, dz, sum, dot);
}
void batch_grad_input_f32__neon(const float* dy, const float* x, float* dx, int64_t rows, int64_t channels,
                                const float* mean, const BatchRelu<float>& relu, const float* a, const float* b,
                                const float* c) {
  batch_grad_input<neon::F32>(dy, x, dx, rows, channels, mean, relu, a, b, c);
}
void local_response_norm_f32__neon(const float* x, float* y, int64_t rows, int64_t channels,
                                   const ResponseParams<float>& params, float* scratch) {
  local_response<neon::F32>(x, y, rows, channels, params, scratch);
}
void local_response_norm_grad_f32__neon(const float* dy, const float* x, float* dx, int64_t rows, int64_t channels,
                                        const ResponseParams<float>& params, float* scratch) {
  local_response_grad<neon::F32>(dy, x, dx, rows, channels, params, scratch);
}
void batch_moments_f64__neon(const double* x, int64_t rows, int64_t pitch, int64_t channels, double* base, double* sum,
                             double* squares) {
  batch_moments<neon::F64>(x, rows, pitch, channels, base, sum, squares);
}
void batch_normalize_f64__neon(const double* x, const double* residual, double* y, int64_t rows, int64_t channels,
                               const double* mean, const double* scale, const double* shift) {
  batch_normalize<neon::F64>(x, residual, y, rows, channels, mean, scale, shift);
}
void batch_grad_sums_f64__neon(const double* dy, const double* x, const double* mean, const BatchRelu<double>& relu,
                               int64_t rows, int64_t pitch, int64_t channels, double* sum, double* dot) {
  batch_grad_sums<neon::F64>(dy, x, mean, relu, rows, pitch, channels, sum, dot);
}
void batch_relu_grad_sums_f64__neon(const double* dy, const double* y, const double* x, const double* mean,
                                    int64_t rows, int64_t pitch, int64_t channels, double* dz, double* sum,
                                    double* dot) {
  batch_relu_grad_sums<neon::F64>(dy, y, x, mean, rows, pitch, channels, dz, sum, dot);
}
void batch_grad_input_f64__neon(const double* dy, const double* x, double* dx, int64_t rows, int64_t channels,
                                const double* mean, const BatchRelu<double>& relu, const double* a, const double* b,
                                const double* c) {
  batch_grad_input<neon::F64>(dy, x, dx, rows, channels, mean, relu, a, b, c);
}
void local_response_norm_f64__neon(const double* x, double* y, int64_t rows, int64_t channels,
                                   const ResponseParams<double>& params, double* scratch) {
  local_response<neon::F64>(x, y, rows, channels, params, scratch);
}
void local_response_norm_grad_f64__neon(const double* dy, const double* x, double* dx, int64_t rows, int64_t channels,
                                        const ResponseParams<double>& params, double* scratch) {
  local_response_grad<neon::F64>(dy, x, dx, rows, channels, params, scratch);
}

}  // namespace sixloop
