#include "images/simt.h"

#include "cuda/parts.h"

namespace sixloop::cuda {
namespace {

constexpr int kImageThreads = 256;

template <class From, class T>
struct Images {
  const From* x;
  const int64_t *index, *places;
  int64_t count, h, w, channels;  // of x
  int64_t height, width;          // of y
  T scale;
  bool scales;
  const T *mean, *std;  // null: none
  bool one_mean, one_std;
};

// A thread has one element of y. An index out of range reads nothing and gives zeros.
template <class From, class T>
__global__ void __launch_bounds__(kImageThreads) images_kernel(const Images<From, T> a, T* y, int64_t n) {
  const int64_t i = thread_number();
  if (i >= n) return;
  const int64_t pixel = i / a.channels, k = i - pixel * a.channels;
  const int64_t row_of_all = pixel / a.width, column = pixel - row_of_all * a.width;
  const int64_t sample = row_of_all / a.height, row = row_of_all - sample * a.height;
  const int64_t source = a.index[sample];
  const int64_t r = a.places[3 * sample] + row;
  const int64_t c = a.places[3 * sample + 1] + a.places[3 * sample + 2] * column;
  T value = 0;
  if (r >= 0 && r < a.h && c >= 0 && c < a.w && source >= 0 && source < a.count) {
    value = static_cast<T>(a.x[((source * a.h + r) * a.w + c) * a.channels + k]);
  }
  if (a.scales) value = value / a.scale;
  if (a.mean != nullptr) value = (value - a.mean[a.one_mean ? 0 : k]) / a.std[a.one_std ? 0 : k];
  y[i] = value;
}

template <class From, class T>
void take(const Tensor& x, const Tensor& index, const Tensor& places, double scale, const Tensor* mean,
          const Tensor* std, const Tensor& y) {
  Images<From, T> a{};
  a.x = x.data<From>();
  a.index = index.data<int64_t>();
  a.places = places.data<int64_t>();
  a.count = x.shape()[0];
  a.h = x.shape()[1];
  a.w = x.shape()[2];
  a.channels = x.shape()[3];
  a.height = y.shape()[1];
  a.width = y.shape()[2];
  a.scale = static_cast<T>(scale);
  a.scales = scale != 1;
  if (mean != nullptr) {
    a.mean = mean->data<T>();
    a.std = std->data<T>();
    a.one_mean = mean->size() == 1;
    a.one_std = std->size() == 1;
  }
  SIXLOOP_LAUNCH((images_kernel<From, T>), blocks_for(y.size(), kImageThreads), kImageThreads, 0, current_stream(), a,
                 y.data<T>(), y.size());
}

}  // namespace

void take_images(const Tensor& x, const Tensor& index, const Tensor& places, double scale, const Tensor* mean,
                 const Tensor* std, const Tensor& y) {
  dispatch_floating(y.dtype(), [&](auto t) {
    using T = decltype(t);
    if (x.dtype() == DType::uint8) return take<uint8_t, T>(x, index, places, scale, mean, std, y);
    take<T, T>(x, index, places, scale, mean, std, y);
  });
}

}  // namespace sixloop::cuda
