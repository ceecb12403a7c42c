#include "gemm/mma_launch.h"

namespace sixloop::cuda {

template void launch_mma_matrices<MmaAnyWidth<BFloat16>, true>(const ProductSizes&, const MmaOperand<BFloat16>&,
                                                               const MmaOperand<BFloat16>&, const MmaSink<DenseRows>&);

}  // namespace sixloop::cuda
