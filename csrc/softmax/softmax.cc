#include "softmax/softmax.h"

#include <algorithm>
#include <type_traits>

#include "base/allocator.h"
#include "base/error.h"
#include "base/rows.h"
#include "base/validate.h"
#include "softmax/simt.h"

namespace sixloop {
namespace {

// exp costs about as much as this many loads and stores.
constexpr int64_t kCost = 4;
// Columns of one task: whole cache lines, and few enough that they stay in cache between the passes.
constexpr int64_t kColumns = 64;

// An array seen around an axis.
struct View {
  int64_t outer = 1, n = 1, inner = 1;
};

View view_around(const Shape& shape, int axis) {
  View v;
  for (int i = 0; i < axis; ++i) v.outer *= shape[i];
  v.n = shape[axis];
  for (int i = axis + 1; i < shape.rank(); ++i) v.inner *= shape[i];
  return v;
}

// Cuts the rows or columns of a view that is not empty: rows(offset, rows) or columns(offset, count).
template <class Rows, class Columns>
void for_parts(const View& v, Rows rows, Columns columns) {
  if (v.inner == 1) {
    parallel_rows(v.outer, v.n * kCost, [&](int64_t begin, int64_t end) { rows(begin * v.n, end - begin); });
    return;
  }
  const int64_t blocks = (v.inner + kColumns - 1) / kColumns;
  parallel_rows(v.outer * blocks, v.n * std::min(v.inner, kColumns) * kCost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % blocks * kColumns;
      columns(i / blocks * v.n * v.inner + first, std::min(kColumns, v.inner - first));
    }
  });
}

template <class RowsKind, class ColumnsKind>
Tensor forward(const char* op, const Tensor& x, int64_t axis) {
  check_min_rank(op, "x", x, 1);
  check_floating_or_bfloat16(op, "x", x);
  const View v = view_around(x.shape(), check_axis(op, axis, x.shape().rank()));
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (y.size() == 0) return y;
#if defined(SIXLOOP_HAS_CUDA)
  if (y.device() == Device::cuda) {
    if constexpr (std::is_same_v<RowsKind, SoftmaxRows>) {
      cuda::softmax(x, v.outer, v.n, v.inner, y);
    } else {
      cuda::log_softmax(x, v.outer, v.n, v.inner, y);
    }
    return y;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const T* in = x.data<T>();
    T* out = y.data<T>();
    const auto rows_kernel = select<RowsKind, T>();
    const auto columns_kernel = select<ColumnsKind, T>();
    for_parts(
        v, [&](int64_t at, int64_t rows) { rows_kernel(in + at, out + at, rows, v.n); },
        [&](int64_t at, int64_t count) { columns_kernel(in + at, out + at, v.n, v.inner, count); });
  });
  return y;
}

template <class RowsKind, class ColumnsKind>
Tensor backward(const char* op, const Tensor& dy, const Tensor& y, int64_t axis) {
  check_min_rank(op, "dy", dy, 1);
  check_floating_or_bfloat16(op, "dy", dy);
  check_same_dtype(op, "dy", dy, "y", y);
  check_same_shape(op, "dy", dy, "y", y);
  const View v = view_around(y.shape(), check_axis(op, axis, y.shape().rank()));
  Tensor dx = Tensor::empty(y.shape(), y.dtype(), y.device());
  if (dx.size() == 0) return dx;
#if defined(SIXLOOP_HAS_CUDA)
  if (dx.device() == Device::cuda) {
    if constexpr (std::is_same_v<RowsKind, SoftmaxGradRows>) {
      cuda::softmax_grad(dy, y, v.outer, v.n, v.inner, dx);
    } else {
      cuda::log_softmax_grad(dy, y, v.outer, v.n, v.inner, dx);
    }
    return dx;
  }
#endif
  dispatch_floating(y.dtype(), [&](auto t) {
    using T = decltype(t);
    const T* gradient = dy.data<T>();
    const T* result = y.data<T>();
    T* out = dx.data<T>();
    const auto rows_kernel = select<RowsKind, T>();
    const auto columns_kernel = select<ColumnsKind, T>();
    for_parts(
        v, [&](int64_t at, int64_t rows) { rows_kernel(gradient + at, result + at, out + at, rows, v.n); },
        [&](int64_t at, int64_t count) { columns_kernel(gradient + at, result + at, out + at, v.n, v.inner, count); });
  });
  return dx;
}

int64_t label_at(const Tensor& labels, int64_t i) {
  switch (labels.dtype()) {
    case DType::int32:
      return labels.data<int32_t>()[i];
    case DType::uint8:
      return labels.data<uint8_t>()[i];
    default:
      return labels.data<int64_t>()[i];
  }
}

[[noreturn]] void label_error(const char* op, int64_t classes, int64_t label, int64_t i) {
  value_error("[", op, "] labels must be from 0 to ", classes - 1, " for ", classes,
              classes == 1 ? " class" : " classes", "; got ", label, " at index ", i);
}

void check_labels(const char* op, const Tensor& labels, int64_t rows, int64_t classes, int64_t* out) {
  for (int64_t i = 0; i < rows; ++i) {
    out[i] = label_at(labels, i);
    if (out[i] < 0 || out[i] >= classes) label_error(op, classes, out[i], i);
  }
}

}  // namespace

Kernels SoftmaxKernels::kernels() {
  static const Kernel rows[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "softmax/kernels.inc"
#undef SIXLOOP_KERNEL
  };
  return {rows, sizeof rows / sizeof *rows};
}

Tensor softmax(const Tensor& x, int64_t axis) { return forward<SoftmaxRows, SoftmaxColumns>("softmax", x, axis); }

Tensor log_softmax(const Tensor& x, int64_t axis) {
  return forward<LogSoftmaxRows, LogSoftmaxColumns>("log_softmax", x, axis);
}

Tensor softmax_grad(const Tensor& dy, const Tensor& y, int64_t axis) {
  return backward<SoftmaxGradRows, SoftmaxGradColumns>("softmax_grad", dy, y, axis);
}

Tensor log_softmax_grad(const Tensor& dy, const Tensor& y, int64_t axis) {
  return backward<LogSoftmaxGradRows, LogSoftmaxGradColumns>("log_softmax_grad", dy, y, axis);
}

CrossEntropy cross_entropy(const Tensor& logits, const Tensor& labels) {
  constexpr const char* op = "cross_entropy";
  check_rank(op, "logits", logits, 2, "[N, classes]");
  check_rank(op, "labels", labels, 1, "[N]");
  check_floating_or_bfloat16(op, "logits", logits);
  if (is_floating(labels.dtype())) {
    type_error("[", op, "] labels must be whole numbers; got ", name_of(labels.dtype()), " of shape ", labels.shape());
  }
  const int64_t rows = logits.shape()[0];
  const int64_t classes = logits.shape()[1];
  if (labels.size() != rows) {
    value_error("[", op, "] labels must have one value per row of logits; got labels ", labels.shape(), ", logits ",
                logits.shape());
  }
  CrossEntropy result{0.0, Tensor::empty(logits.shape(), logits.dtype(), logits.device())};
  if (rows == 0) return result;
#if defined(SIXLOOP_HAS_CUDA)
  if (logits.device() == Device::cuda) {
    const cuda::CrossEntropyOutcome outcome = cuda::cross_entropy(logits, labels, result.dlogits);
    if (outcome.wrong >= 0) label_error(op, classes, outcome.label, outcome.wrong);
    result.loss = outcome.loss / static_cast<double>(rows);
    return result;
  }
#endif
  Buffer<int64_t> index(rows);
  check_labels(op, labels, rows, classes, index.get());
  dispatch_floating(logits.dtype(), [&](auto t) {
    using T = decltype(t);
    Buffer<T> losses(rows);
    const auto kernel = select<CrossEntropyRows, T>();
    const T scale = T{1} / static_cast<T>(rows);
    parallel_rows(rows, classes * kCost, [&](int64_t begin, int64_t end) {
      kernel(logits.data<T>() + begin * classes, index.get() + begin,
             result.dlogits.template data<T>() + begin * classes, losses.get() + begin, end - begin, classes, scale);
    });
    for (int64_t i = 0; i < rows; ++i) result.loss += static_cast<double>(losses[i]);
  });
  result.loss /= static_cast<double>(rows);
  return result;
}

}  // namespace sixloop
