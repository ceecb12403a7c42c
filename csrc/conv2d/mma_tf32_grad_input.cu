#include "conv2d/mma_grad_input.h"

namespace sixloop::cuda {

template void mma_grad_input(const ProductSizes&, const Windows<float>&, const MmaFilters<float>&, const MmaPhaseRows&,
                             const MmaResult&);

}  // namespace sixloop::cuda
