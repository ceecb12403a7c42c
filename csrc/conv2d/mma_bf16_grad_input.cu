#include "conv2d/mma_grad_input.h"

namespace sixloop::cuda {

template void mma_grad_input(const ProductSizes&, const Windows<BFloat16>&, const MmaFilters<BFloat16>&,
                             const MmaPhaseRows&, const MmaResult&);

}  // namespace sixloop::cuda
