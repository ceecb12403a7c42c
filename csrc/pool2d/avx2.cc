#include "base/simd/avx2.h"

#include "pool2d/kernels-inl.h"
#include "pool2d/pool2d.h"

namespace sixloop {

void max_pool2d_f32__avx2(const PoolArgs<float>& args, int64_t begin, int64_t end) {
  pool_rows<avx2::F32, MaxFold>(args, begin, end);
}
void max_pool2d_indices_f32__avx2(const PoolArgs<float>& args, int64_t begin, int64_t end) {
  pool_rows<avx2::F32, MaxFold, true>(args, begin, end);
}
void avg_pool2d_f32__avx2(const PoolArgs<float>& args, int64_t begin, int64_t end) {
  pool_rows<avx2::F32, SumFold>(args, begin, end);
}
void max_pool2d_grad_f32__avx2(const PoolGradArgs<float>& args, int64_t begin, int64_t end, float* scratch) {
  max_grad_units<avx2::F32>(args, begin, end, scratch);
}
void avg_pool2d_grad_f32__avx2(const PoolGradArgs<float>& args, int64_t begin, int64_t end, float* scratch) {
  avg_grad_units<avx2::F32>(args, begin, end, scratch);
}
void max_pool2d_f64__avx2(const PoolArgs<double>& args, int64_t begin, int64_t end) {
  pool_rows<avx2::F64, MaxFold>(args, begin, end);
}
void max_pool2d_indices_f64__avx2(const PoolArgs<double>& args, int64_t begin, int64_t end) {
  pool_rows<avx2::F64, MaxFold, true>(args, begin, end);
}
void avg_pool2d_f64__avx2(const PoolArgs<double>& args, int64_t begin, int64_t end) {
  pool_rows<avx2::F64, SumFold>(args, begin, end);
}
void max_pool2d_grad_f64__avx2(const PoolGradArgs<double>& args, int64_t begin, int64_t end, double* scratch) {
  max_grad_units<avx2::F64>(args, begin, end, scratch);
}
void avg_pool2d_grad_f64__avx2(const PoolGradArgs<double>& args, int64_t begin, int64_t end, double* scratch) {
  avg_grad_units<avx2::F64>(args, begin, end, scratch);
}

}  // namespace sixloop
