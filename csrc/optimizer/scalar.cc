#include "base/simd/scalar.h"

#include "optimizer/kernels-inl.h"
#include "optimizer/optimizer.h"

namespace sixloop {

void sgd_f32__scalar(const SgdArgs<float>& args, int64_t n) { sgd_vectors<scalar::F32>(args, n); }
void sgd_f64__scalar(const SgdArgs<double>& args, int64_t n) { sgd_vectors<scalar::F64>(args, n); }
void adam_f32__scalar(const AdamArgs<float>& args, int64_t n) { adam_vectors<scalar::F32>(args, n); }
void adam_f64__scalar(const AdamArgs<double>& args, int64_t n) { adam_vectors<scalar::F64>(args, n); }
void rmsprop_f32__scalar(const RmspropArgs<float>& args, int64_t n) { rmsprop_vectors<scalar::F32>(args, n); }
void rmsprop_f64__scalar(const RmspropArgs<double>& args, int64_t n) { rmsprop_vectors<scalar::F64>(args, n); }

}  // namespace sixloop
