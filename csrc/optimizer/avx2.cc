#include "base/simd/avx2.h"

#include "optimizer/kernels-inl.h"
#include "optimizer/optimizer.h"

namespace sixloop {

void sgd_f32__avx2(const SgdArgs<float>& args, int64_t n) { sgd_vectors<avx2::F32>(args, n); }
void sgd_f64__avx2(const SgdArgs<double>& args, int64_t n) { sgd_vectors<avx2::F64>(args, n); }
void adam_f32__avx2(const AdamArgs<float>& args, int64_t n) { adam_vectors<avx2::F32>(args, n); }
void adam_f64__avx2(const AdamArgs<double>& args, int64_t n) { adam_vectors<avx2::F64>(args, n); }
void rmsprop_f32__avx2(const RmspropArgs<float>& args, int64_t n) { rmsprop_vectors<avx2::F32>(args, n); }
void rmsprop_f64__avx2(const RmspropArgs<double>& args, int64_t n) { rmsprop_vectors<avx2::F64>(args, n); }

}  // namespace sixloop
