// The launches of images.h. Arguments are validated.
#pragma once

#include "images/images.h"

namespace sixloop::cuda {

void take_images(const Tensor& x, const Tensor& index, const Tensor& places, double scale, const Tensor* mean,
                 const Tensor* std, const Tensor& y);

}  // namespace sixloop::cuda
