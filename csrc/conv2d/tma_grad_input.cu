#include "conv2d/tma_launch.h"

namespace sixloop::cuda {

template bool tma_windows<true>(const ProductSizes&, WgmmaTile, const Windows<BFloat16>&, const TmaFilters&,
                                const MmaSink<MmaPhaseRows>&);

}  // namespace sixloop::cuda
