#include "conv2d/mma_forward.h"

namespace sixloop::cuda {

template void mma_forward(const ProductSizes&, const Windows<float>&, const float*, int64_t, const MmaResult&);

}  // namespace sixloop::cuda
