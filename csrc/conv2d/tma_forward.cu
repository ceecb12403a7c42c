#include "conv2d/tma_launch.h"

namespace sixloop::cuda {

bool tma_images(const Windows<BFloat16>& x, int64_t images, int box_pixels, CUtensorMap* map, TmaAxis* down,
                TmaAxis* right) {
  const auto encode = tensor_map_encoder<PFN_cuTensorMapEncodeIm2col_v12000>("cuTensorMapEncodeIm2col");
  Im2colAxis rows, columns;
  if (encode == nullptr || !im2col_axis(x.h, x.pixels_h, x.step_h, x.base_h, x.taps_h, x.tap_h, &rows) ||
      !im2col_axis(x.w, x.pixels_w, x.step_w, x.base_w, x.taps_w, x.tap_w, &columns)) {
    return false;
  }
  const auto axis = [](int64_t pixels, const Im2colAxis& from) {
    const auto cut = [](int64_t value) { return static_cast<Index>(value); };
    return TmaAxis{cut(pixels), cut(from.lower), cut(from.step), cut(from.first), cut(from.tap)};
  };
  *down = axis(x.pixels_h, rows);
  *right = axis(x.pixels_w, columns);
  const auto size = [](int64_t value) { return static_cast<cuuint64_t>(value); };
  const cuuint64_t sizes[] = {size(x.c), size(x.w), size(x.h), size(images)};
  const cuuint64_t pixel = size(x.c) * sizeof(BFloat16);
  const cuuint64_t strides[] = {pixel, pixel * size(x.w), pixel * size(x.w) * size(x.h)};
  const int lower[] = {static_cast<int>(columns.lower), static_cast<int>(rows.lower)};
  const int upper[] = {static_cast<int>(columns.upper), static_cast<int>(rows.upper)};
  const cuuint32_t steps[] = {1, static_cast<cuuint32_t>(columns.step), static_cast<cuuint32_t>(rows.step), 1};
  check_tensor_map(
      encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<BFloat16*>(x.data), sizes, strides, lower, upper, 64,
             static_cast<cuuint32_t>(box_pixels), steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      "cuTensorMapEncodeIm2col");
  return true;
}

template bool tma_windows<false>(const ProductSizes&, WgmmaTile, const Windows<BFloat16>&, const TmaFilters&,
                                 const MmaSink<DenseRows>&);

}  // namespace sixloop::cuda
