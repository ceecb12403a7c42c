#include "gemm/mma_launch.h"

namespace sixloop::cuda {

template void launch_mma_matrices<MmaAnyWidth<float>, true>(const ProductSizes&, const MmaOperand<float>&,
                                                            const MmaOperand<float>&, const MmaSink<DenseRows>&);

}  // namespace sixloop::cuda
