#include "base/simd/neon.h"

#include "pool2d/kernels-inl.h"
#include "pool2d/pool2d.h"

namespace sixloop {

void max_pool2d_f32__neon(const PoolArgs<float>& args, int64_t begin, int64_t end) {
  pool_rows<neon::F32, MaxFold>(args, begin, end);
}
void max_pool2d_indices_f32__neon(const PoolArgs<float>& args, int64_t begin, int64_t end) {
  pool_rows<neon::F32, MaxFold, true>(args, begin, end);
}
void avg_pool2d_f32__neon(const PoolArgs<float>& args, int64_t begin, int64_t end) {
  pool_rows<neon::F32, SumFold>(args, begin, end);
}
void max_pool2d_grad_f32__neon(const PoolGradArgs<float>& args, int64_t begin, int64_t end, float* scratch) {
  max_grad_units<neon::F32>(args, begin, end, scratch);
}
void avg_pool2d_grad_f32__neon(const PoolGradArgs<float>& args, int64_t begin, int64_t end, float* scratch) {
  avg_grad_units<neon::F32>(args, begin, end, scratch);
}
void max_pool2d_f64__neon(const PoolArgs<double>& args, int64_t begin, int64_t end) {
  pool_rows<neon::F64, MaxFold>(args, begin, end);
}
void max_pool2d_indices_f64__neon(const PoolArgs<double>& args, int64_t begin, int64_t end) {
  pool_rows<neon::F64, MaxFold, true>(args, begin, end);
}
void avg_pool2d_f64__neon(const PoolArgs<double>& args, int64_t begin, int64_t end) {
  pool_rows<neon::F64, SumFold>(args, begin, end);
}
void max_pool2d_grad_f64__neon(const PoolGradArgs<double>& args, int64_t begin, int64_t end, double* scratch) {
  max_grad_units<neon::F64>(args, begin, end, scratch);
}
void avg_pool2d_grad_f64__neon(const PoolGradArgs<double>& args, int64_t begin, int64_t end, double* scratch) {
  avg_grad_units<neon::F64>(args, begin, end, scratch);
}

}  // namespace sixloop
