#include "conv2d/mma_grad_weight.h"

namespace sixloop::cuda {

template void mma_grad_weight(const ProductSizes&, const Windows<BFloat16>&, const BFloat16*, int64_t, int64_t,
                              const MmaResult&);

}  // namespace sixloop::cuda
