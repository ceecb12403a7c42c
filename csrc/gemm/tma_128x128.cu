#include "gemm/tma_launch.h"

namespace sixloop::cuda {

template bool launch_tma_matrices<Tma128x128>(const ProductSizes&, const MmaOperand<BFloat16>&,
                                              const MmaOperand<BFloat16>&, const MmaSink<DenseRows>&);

}  // namespace sixloop::cuda
