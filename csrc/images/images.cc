#include "images/images.h"

#include "base/error.h"
#include "base/validate.h"
#include "images/simt.h"

namespace sixloop {

Tensor take_images(const Tensor& x, const Tensor& index, const Tensor& places, int64_t height, int64_t width,
                   double scale, const std::optional<Tensor>& mean, const std::optional<Tensor>& std, DType dtype) {
  constexpr const char* op = "take_images";
  check_rank(op, "x", x, 4, "[N, H, W, C]");
  check_rank(op, "index", index, 1, "[n]");
  const int64_t n = index.size(), channels = x.shape()[3];
  if (dtype != DType::float32 && dtype != DType::float64) {
    type_error("[", op, "] dtype must be float32 or float64; got ", name_of(dtype));
  }
  if ((x.dtype() != DType::uint8 && x.dtype() != dtype) || index.dtype() != DType::int64 ||
      places.dtype() != DType::int64) {
    type_error("[", op, "] x must be uint8 or ", name_of(dtype), ", index and places int64; got ", name_of(x.dtype()),
               ", ", name_of(index.dtype()), ", ", name_of(places.dtype()));
  }
  check_shape(op, "places", places, {n, 3});
  if (height < 0 || width < 0) {
    value_error("[", op, "] sizes must not be negative; got height ", height, ", width ", width);
  }
  if (mean.has_value() != std.has_value()) value_error("[", op, "] mean and std come together");
  for (const auto* t : {&mean, &std}) {
    if (!*t) continue;
    if ((*t)->dtype() != dtype || ((*t)->size() != 1 && (*t)->size() != channels)) {
      value_error("[", op, "] mean and std have one number or one for each channel; got ", (*t)->shape());
    }
  }
  for (const Tensor* t : {&x, &index, &places}) {
    if (t->device() != Device::cuda) value_error("[", op, "] arrays must be on cuda");
  }
  Tensor y = Tensor::empty({n, height, width, channels}, dtype, Device::cuda);
#if defined(SIXLOOP_HAS_CUDA)
  if (y.size() > 0) cuda::take_images(x, index, places, scale, mean ? &*mean : nullptr, std ? &*std : nullptr, y);
#else
  (void)scale;
#endif
  return y;
}

}  // namespace sixloop
