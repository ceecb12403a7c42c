#include "random/random.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/thread_pool.h"
#include "base/validate.h"
#include "random/simt.h"

namespace sixloop {
namespace {

// Elements below which a second thread costs more than it saves.
constexpr int64_t kGrain = 8192;

Kernels all_rows() {
  static const Kernel rows[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "random/kernels.inc"
#undef SIXLOOP_KERNEL
  };
  return {rows, sizeof rows / sizeof *rows};
}

void check_finite(const char* op, const char* name, double value) {
  if (!std::isfinite(value)) value_error("[", op, "] ", name, " must be finite; got ", value);
}

// The largest T below `high`, but not below `low`.
template <class T>
T top_of(double low, double high) {
  T top = static_cast<T>(high);
  if (static_cast<double>(top) >= high) top = std::nextafter(top, -std::numeric_limits<T>::infinity());
  return std::max(top, static_cast<T>(low));
}

}  // namespace

Kernels RandomBits::kernels() { return all_rows(); }
Kernels RandomUniform::kernels() { return all_rows(); }
Kernels RandomNormal::kernels() { return all_rows(); }
Kernels Dropout::kernels() { return all_rows(); }

void random_bits(const PhiloxKey& key, int64_t n, int64_t* bits) {
  const auto kernel = select<RandomBits, int64_t>();
  parallel_ranges(n, kGrain, [&](int64_t begin, int64_t end) {
    kernel(key, static_cast<uint64_t>(begin), end - begin, bits + begin);
  });
}

Tensor random_uniform(const Shape& shape, double low, double high, const PhiloxKey& key, DType dtype, Device device) {
  check_finite("random_uniform", "low", low);
  check_finite("random_uniform", "high", high);
  if (low > high || !std::isfinite(high - low)) {
    value_error("[random_uniform] low must not exceed high, nor their distance the largest double; got ", low, " and ",
                high);
  }
  Tensor y = Tensor::empty(shape, dtype, device);
  check_floating("random_uniform", "dtype", y);
  dispatch_floating(dtype, [&](auto t) {
    using T = decltype(t);
    const T top = top_of<T>(low, high);
#if defined(SIXLOOP_HAS_CUDA)
    if (device == Device::cuda) return cuda::random_uniform(key, low, high - low, top, y.data<T>(), y.size());
#endif
    const auto kernel = select<RandomUniform, T>();
    parallel_ranges(y.size(), kGrain, [&](int64_t begin, int64_t end) {
      kernel(key, static_cast<uint64_t>(begin), end - begin, low, high - low, top, y.data<T>() + begin);
    });
  });
  return y;
}

Tensor random_normal(const Shape& shape, double mean, double std, const PhiloxKey& key, DType dtype, Device device) {
  check_finite("random_normal", "mean", mean);
  check_finite("random_normal", "std", std);
  if (std < 0) value_error("[random_normal] std must not be negative; got ", std);
  Tensor y = Tensor::empty(shape, dtype, device);
  check_floating("random_normal", "dtype", y);
  dispatch_floating(dtype, [&](auto t) {
    using T = decltype(t);
#if defined(SIXLOOP_HAS_CUDA)
    if (device == Device::cuda) return cuda::random_normal(key, mean, std, y.data<T>(), y.size());
#endif
    const auto kernel = select<RandomNormal, T>();
    parallel_ranges(y.size(), kGrain, [&](int64_t begin, int64_t end) {
      kernel(key, static_cast<uint64_t>(begin), end - begin, mean, std, y.data<T>() + begin);
    });
  });
  return y;
}

Tensor dropout(const char* op, const Tensor& x, double rate, const PhiloxKey& key) {
  check_floating_or_bfloat16(op, "x", x);
  if (!(rate >= 0 && rate < 1)) value_error("[", op, "] rate must be in [0, 1); got ", rate);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  const auto threshold = static_cast<uint32_t>(std::min(std::floor(rate * 0x1p32 + 0.5), 0x1p32 - 1));
#if defined(SIXLOOP_HAS_CUDA)
  if (x.dtype() == DType::bfloat16) {
    const BFloat16* const from = x.data<BFloat16>();
    cuda::dropout(key, from, threshold, static_cast<float>(1 / (1 - rate)), y.data<BFloat16>(), x.size());
    return y;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const T factor = static_cast<T>(1 / (1 - rate));
#if defined(SIXLOOP_HAS_CUDA)
    if (x.device() == Device::cuda) {
      return cuda::dropout(key, static_cast<const T*>(x.data<T>()), threshold, factor, y.data<T>(), x.size());
    }
#endif
    const auto kernel = select<Dropout, T>();
    parallel_ranges(x.size(), kGrain, [&](int64_t begin, int64_t end) {
      kernel(key, static_cast<uint64_t>(begin), end - begin, x.data<T>() + begin, threshold, factor,
             y.data<T>() + begin);
    });
  });
  return y;
}

}  // namespace sixloop
