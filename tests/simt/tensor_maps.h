// Tensor maps of bfloat16, for tests of instructions.
#pragma once

#include <cudaTypedefs.h>

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "cuda/launch.h"

namespace sixloop {

// Of arrays without gaps; sizes and box, fastest first.
template <int kRank>
CUtensorMap tensor_map(const uint16_t* data, const std::vector<uint64_t>& sizes, const std::vector<uint32_t>& box,
                       bool swizzled = true) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result;
  SIXLOOP_CUDA(
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result));
  std::vector<uint64_t> strides;
  uint64_t bytes = 2;
  for (const uint64_t size : sizes) strides.push_back(bytes *= size);
  const std::vector<uint32_t> ones(kRank, 1);
  CUtensorMap map;
  const auto encode = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  const CUresult error = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kRank, const_cast<uint16_t*>(data),
                                sizes.data(), strides.data(), box.data(), ones.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
                                swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
                                CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (error != CUDA_SUCCESS) throw std::invalid_argument("no such tensor map");
  return map;
}

// Of images [n, h, w, c], c fastest: `sizes` is c, w, h, n; corners and steps are those of w and h.
struct Im2col {
  std::vector<uint64_t> sizes;
  int lower[2], upper[2];
  uint32_t steps[2];
  uint32_t channels, pixels;
};

inline CUtensorMap im2col_map(const uint16_t* data, const Im2col& m, bool swizzled = true) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result;
  SIXLOOP_CUDA(
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeIm2col", &function, 12000, cudaEnableDefault, &result));
  std::vector<uint64_t> strides;
  uint64_t bytes = 2;
  for (const uint64_t size : m.sizes) strides.push_back(bytes *= size);
  const uint32_t steps[] = {1, m.steps[0], m.steps[1], 1};
  CUtensorMap map;
  const auto encode = reinterpret_cast<PFN_cuTensorMapEncodeIm2col_v12000>(function);
  const CUresult error =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<uint32_t>(m.sizes.size()), const_cast<uint16_t*>(data),
             m.sizes.data(), strides.data(), m.lower, m.upper, m.channels, m.pixels, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (error != CUDA_SUCCESS) throw std::invalid_argument("no such tensor map");
  return map;
}

inline std::vector<uint16_t> counted(size_t n) {
  std::vector<uint16_t> values;
  for (size_t i = 0; i < n; ++i) values.push_back(static_cast<uint16_t>(i + 1));
  return values;
}

}  // namespace sixloop
