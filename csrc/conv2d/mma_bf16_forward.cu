#include "conv2d/mma_forward.h"

namespace sixloop::cuda {

template void mma_forward(const ProductSizes&, const Windows<BFloat16>&, const BFloat16*, int64_t, const MmaResult&);

}  // namespace sixloop::cuda
