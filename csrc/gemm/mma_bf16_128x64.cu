#include "gemm/mma_launch.h"

namespace sixloop::cuda {

template void launch_mma_matrices<Mma128x64<BFloat16>, false>(const ProductSizes&, const MmaOperand<BFloat16>&,
                                                              const MmaOperand<BFloat16>&, const MmaSink<DenseRows>&);

}  // namespace sixloop::cuda
