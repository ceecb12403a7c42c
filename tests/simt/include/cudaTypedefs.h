#pragma once

#include <cuda.h>

using PFN_cuTensorMapEncodeTiled_v12000 = CUresult (*)(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                                                       void* data, const cuuint64_t* sizes, const cuuint64_t* strides,
                                                       const cuuint32_t* box, const cuuint32_t* element_strides,
                                                       CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                                       CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill);
using PFN_cuTensorMapEncodeIm2col_v12000 = CUresult (*)(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank,
                                                        void* data, const cuuint64_t* sizes, const cuuint64_t* strides,
                                                        const int* lower, const int* upper, cuuint32_t channels,
                                                        cuuint32_t pixels, const cuuint32_t* element_strides,
                                                        CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                                                        CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill);
