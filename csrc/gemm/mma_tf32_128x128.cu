#include "gemm/mma_launch.h"

namespace sixloop::cuda {

template void launch_mma_matrices<Mma128x128<float>, false>(const ProductSizes&, const MmaOperand<float>&,
                                                            const MmaOperand<float>&, const MmaSink<DenseRows>&);

}  // namespace sixloop::cuda
