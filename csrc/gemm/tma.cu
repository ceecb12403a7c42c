#include "gemm/tma_product.h"

namespace sixloop::cuda {

// Asked of the runtime, so that the library needs no libcuda to be loaded.
void* find_tensor_map_encoder(const char* name) {
  constexpr unsigned kVersion = 12000;
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion(name, &function, kVersion, cudaEnableDefault, &result);
  if (error != cudaSuccess) {
    (void)cudaGetLastError();
    return nullptr;
  }
  return result == cudaDriverEntryPointSuccess ? function : nullptr;
}

void check_tensor_map(CUresult error, const char* encoder) {
  if (error != CUDA_SUCCESS) throw_cuda_error(cudaErrorInvalidValue, encoder, __FILE__, __LINE__);
}

void tma_operand(PFN_cuTensorMapEncodeTiled_v12000 encode, const MmaOperand<BFloat16>& operand, int64_t k,
                 int64_t batches, int box_x, CUtensorMap* map) {
  constexpr auto kBytes = static_cast<int64_t>(sizeof(BFloat16));
  const int64_t lines = operand.turned ? operand.x_end : k, length = operand.turned ? k : operand.x_end;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(length), static_cast<cuuint64_t>(lines),
                              static_cast<cuuint64_t>(batches)};
  // The step of a single batch is never taken, but must be one that a tensor may have.
  const int64_t step = batches > 1 ? operand.batch_step : lines * operand.ld;
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(operand.ld * kBytes), static_cast<cuuint64_t>(step * kBytes)};
  const auto across = static_cast<cuuint32_t>(box_x);
  const cuuint32_t box[] = {64, operand.turned ? across : 64, 1};
  const cuuint32_t ones[] = {1, 1, 1};
  check_tensor_map(encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<BFloat16*>(operand.data), sizes, strides,
                          box, ones, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                          CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
                   "cuTensorMapEncodeTiled");
}

}  // namespace sixloop::cuda
