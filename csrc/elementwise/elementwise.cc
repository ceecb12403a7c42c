#include "elementwise/elementwise.h"

#include "base/error.h"
#include "base/thread_pool.h"
#include "base/validate.h"

namespace sixloop {
namespace {

// Elements below which a second thread costs more than it saves.
constexpr int64_t kGrain = 16384;

}  // namespace

Kernels Add::kernels() {
  static const Kernel rows[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "elementwise/kernels.inc"
#undef SIXLOOP_KERNEL
  };
  return {rows, sizeof rows / sizeof *rows};
}

Tensor add(const Tensor& a, const Tensor& b) {
  check_floating("add", "a", a);
  check_same_dtype("add", "a", a, "b", b);
  check_same_shape("add", "a", a, "b", b);
  Tensor y = Tensor::empty(a.shape(), a.dtype());
  dispatch_floating(a.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto kernel = select<Add, T>();
    parallel_ranges(a.size(), kGrain, [&](int64_t begin, int64_t end) {
      kernel(a.data<T>() + begin, b.data<T>() + begin, y.data<T>() + begin, end - begin);
    });
  });
  return y;
}

}  // namespace sixloop
