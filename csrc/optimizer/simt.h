// The updates of optimizer.h on the GPU, with the bits of the CPU's. Pointers are the GPU's.
#pragma once

#include "optimizer/optimizer.h"

namespace sixloop::cuda {

void sgd(const SgdArgs<float>& args, int64_t n);
void sgd(const SgdArgs<double>& args, int64_t n);
void adam(const AdamArgs<float>& args, int64_t n);
void adam(const AdamArgs<double>& args, int64_t n);
void rmsprop(const RmspropArgs<float>& args, int64_t n);
void rmsprop(const RmspropArgs<double>& args, int64_t n);

}  // namespace sixloop::cuda
