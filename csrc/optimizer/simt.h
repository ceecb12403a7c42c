// The updates of optimizer.h on the GPU, with the bits of the CPU's. Pointers are the GPU's.
#pragma once

#include <vector>

#include "optimizer/optimizer.h"

namespace sixloop::cuda {

// Of many arrays in few launches: args[i] is of n[i] > 0 elements, and all have the same numbers. `live`, where it is
// not null, is optimizer.h's LiveNumbers.
void sgd(const std::vector<SgdArgs<float>>& args, const std::vector<int64_t>& n, const double* live);
void sgd(const std::vector<SgdArgs<double>>& args, const std::vector<int64_t>& n, const double* live);
void adam(const std::vector<AdamArgs<float>>& args, const std::vector<int64_t>& n, const double* live);
void adam(const std::vector<AdamArgs<double>>& args, const std::vector<int64_t>& n, const double* live);
void rmsprop(const std::vector<RmspropArgs<float>>& args, const std::vector<int64_t>& n, const double* live);
void rmsprop(const std::vector<RmspropArgs<double>>& args, const std::vector<int64_t>& n, const double* live);

}  // namespace sixloop::cuda
