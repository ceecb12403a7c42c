#include "base/simd/neon.h"

#include "softmax/kernels-inl.h"
#include "softmax/softmax.h"

namespace sixloop {

void softmax_rows_f32__neon(const float* x, float* y, int64_t rows, int64_t n) {
  softmax_rows<neon::F32>(x, y, rows, n);
}
void log_softmax_rows_f32__neon(const float* x, float* y, int64_t rows, int64_t n) {
  log_softmax_rows<neon::F32>(x, y, rows, n);
}
void softmax_grad_rows_f32__neon(const float* dy, const float* y, float* dx, int64_t rows, int64_t n) {
  softmax_grad_rows<neon::F32>(dy, y, dx, rows, n);
}
void log_softmax_grad_rows_f32__neon(const float* dy, const float* y, float* dx, int64_t rows, int64_t n) {
  log_softmax_grad_rows<neon::F32>(dy, y, dx, rows, n);
}
void softmax_columns_f32__neon(const float* x, float* y, int64_t n, int64_t stride, int64_t count) {
  softmax_columns<neon::F32>(x, y, n, stride, count);
}
void log_softmax_columns_f32__neon(const float* x, float* y, int64_t n, int64_t stride, int64_t count) {
  log_softmax_columns<neon::F32>(x, y, n, stride, count);
}
void softmax_grad_columns_f32__neon(const float* dy, const float* y, float* dx, int64_t n, int64_t stride,
                                    int64_t count) {
  softmax_grad_columns<neon::F32>(dy, y, dx, n, stride, count);
}
void log_softmax_grad_columns_f32__neon(const float* dy, const float* y, float* dx, int64_t n, int64_t stride,
                                        int64_t count) {
  log_softmax_grad_columns<neon::F32>(dy, y, dx, n, stride, count);
}
void cross_entropy_rows_f32__neon(const float* x, const int64_t* labels, float* dx, float* losses, int64_t rows,
                                  int64_t n, float scale) {
  cross_entropy_rows<neon::F32>(x, labels, dx, losses, rows, n, scale);
}
void softmax_rows_f64__neon(const double* x, double* y, int64_t rows, int64_t n) {
  softmax_rows<neon::F64>(x, y, rows, n);
}
void log_softmax_rows_f64__neon(const double* x, double* y, int64_t rows, int64_t n) {
  log_softmax_rows<neon::F64>(x, y, rows, n);
}
void softmax_grad_rows_f64__neon(const double* dy, const double* y, double* dx, int64_t rows, int64_t n) {
  softmax_grad_rows<neon::F64>(dy, y, dx, rows, n);
}
void log_softmax_grad_rows_f64__neon(const double* dy, const double* y, double* dx, int64_t rows, int64_t n) {
  log_softmax_grad_rows<neon::F64>(dy, y, dx, rows, n);
}
void softmax_columns_f64__neon(const double* x, double* y, int64_t n, int64_t stride, int64_t count) {
  softmax_columns<neon::F64>(x, y, n, stride, count);
}
void log_softmax_columns_f64__neon(const double* x, double* y, int64_t n, int64_t stride, int64_t count) {
  log_softmax_columns<neon::F64>(x, y, n, stride, count);
}
void softmax_grad_columns_f64__neon(const double* dy, const double* y, double* dx, int64_t n, int64_t stride,
                                    int64_t count) {
  softmax_grad_columns<neon::F64>(dy, y, dx, n, stride, count);
}
void log_softmax_grad_columns_f64__neon(const double* dy, const double* y, double* dx, int64_t n, int64_t stride,
                                        int64_t count) {
  log_softmax_grad_columns<neon::F64>(dy, y, dx, n, stride, count);
}
void cross_entropy_rows_f64__neon(const double* x, const int64_t* labels, double* dx, double* losses, int64_t rows,
                                  int64_t n, double scale) {
  cross_entropy_rows<neon::F64>(x, labels, dx, losses, rows, n, scale);
}

}  // namespace sixloop
