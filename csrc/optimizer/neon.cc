#include "base/simd/neon.h"

#include "optimizer/kernels-inl.h"
#include "optimizer/optimizer.h"

namespace sixloop {

void sgd_f32__neon(const SgdArgs<float>& args, int64_t n) { sgd_vectors<neon::F32>(args, n); }
void sgd_f64__neon(const SgdArgs<double>& args, int64_t n) { sgd_vectors<neon::F64>(args, n); }
void adam_f32__neon(const AdamArgs<float>& args, int64_t n) { adam_vectors<neon::F32>(args, n); }
void adam_f64__neon(const AdamArgs<double>& args, int64_t n) { adam_vectors<neon::F64>(args, n); }
void rmsprop_f32__neon(const RmspropArgs<float>& args, int64_t n) { rmsprop_vectors<neon::F32>(args, n); }
void rmsprop_f64__neon(const RmspropArgs<double>& args, int64_t n) { rmsprop_vectors<neon::F64>(args, n); }

}  // namespace sixloop
