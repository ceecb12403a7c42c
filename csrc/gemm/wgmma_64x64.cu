#include "gemm/wgmma_launch.h"

namespace sixloop::cuda {

template void launch_wgmma_matrices<Wgmma64x64<BFloat16>>(const ProductSizes&, const MmaOperand<BFloat16>&,
                                                          const MmaOperand<BFloat16>&, const MmaSink<DenseRows>&);

}  // namespace sixloop::cuda
