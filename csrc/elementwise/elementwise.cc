#include "elementwise/elementwise.h"

#include <algorithm>

#include "base/error.h"
#include "base/thread_pool.h"
#include "base/validate.h"
#include "elementwise/simt.h"

namespace sixloop {
namespace {

// Elements below which a second thread costs more than it saves: of a sum, and of an exponential function.
constexpr int64_t kGrain = 16384;
constexpr int64_t kSmoothGrain = 4096;
// Elements of a block that stays in the first-level cache between two kernels.
constexpr int64_t kBlock = 2048;

constexpr const char* kFromOutput = "relu, sigmoid, tanh, leaky_relu, elu, softplus, step, ramp";

Kernels all_rows() {
  static const Kernel rows[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "elementwise/kernels.inc"
#undef SIXLOOP_KERNEL
  };
  return {rows, sizeof rows / sizeof *rows};
}

int64_t grain_of(Activation activation) {
  switch (activation) {
    case Activation::none:
    case Activation::relu:
    case Activation::leaky_relu:
    case Activation::step:
    case Activation::ramp:
      return kGrain;
    default:
      return kSmoothGrain;
  }
}

// Calls f(begin, end) for parts of [begin, end) of at most `step`.
template <class F>
void in_blocks(int64_t begin, int64_t end, int64_t step, F&& f) {
  for (int64_t i = begin; i < end; i += step) f(i, std::min(i + step, end));
}

void check_gradient_of_output(const char* op, Activation activation) {
  if (activation == Activation::gelu || activation == Activation::gaussian) {
    value_error("[", op, "] the output of ", name_of(activation),
                " does not determine its gradient; use the input, or one of: ", kFromOutput);
  }
}

void check_pair(const char* op, const char* name_a, const Tensor& a, const char* name_b, const Tensor& b) {
  check_floating_or_bfloat16(op, name_a, a);
  check_same_dtype(op, name_a, a, name_b, b);
  check_same_shape(op, name_a, a, name_b, b);
}

// Rows of a chunk of a column sum.
constexpr int64_t kSumRows = 128;
// Columns of a task of a column sum.
constexpr int64_t kSumColumns = 512;

// A matrix [rows, columns] read as wider rows, each of several rows side by side, so that a few columns fill vectors
// too.
struct SumLayout {
  int64_t group;    // rows in a wide row
  int64_t columns;  // of a wide row
  int64_t rows;     // wide rows
  int64_t rest;     // elements after the last wide row: less than a wide row
  int64_t chunks;

  SumLayout(int64_t matrix_rows, int64_t matrix_columns) {
    constexpr int64_t kWide = 128;
    group = matrix_columns > kWide / 2 ? 1 : kWide / matrix_columns;
    columns = group * matrix_columns;
    rows = matrix_rows / group;
    rest = matrix_rows % group * matrix_columns;
    chunks = std::max<int64_t>(1, (rows + kSumRows - 1) / kSumRows);
  }
};

// Adds n blocks of `width` elements into the first one: the upper half onto the lower half until one is left.
template <class T>
void fold(T* blocks, int64_t n, int64_t width) {
  const auto kernel = select<Add, T>();
  while (n > 1) {
    const int64_t half = (n + 1) / 2;
    kernel(blocks, blocks + half * width, blocks, (n - half) * width);
    n = half;
  }
}

// Sums the columns of the dense matrix z. Before elements [begin, end) are read, prepare(begin, end) is called for
// them.
template <class T, class Prepare>
Tensor column_sums(const T* z, int64_t rows, int64_t columns, DType dtype, const Prepare& prepare) {
  Tensor result = Tensor::zeros({columns}, dtype);
  if (rows == 0 || columns == 0) return result;
  const SumLayout wide(rows, columns);
  const Tensor partial = Tensor::zeros({wide.chunks, wide.columns}, dtype);
  T* sums = partial.data<T>();
  const auto kernel = select<ColumnSum, T>();
  const int64_t column_tasks = (wide.columns + kSumColumns - 1) / kSumColumns;
  const auto task = [&](int64_t i) {
    const int64_t chunk = i / column_tasks;
    const int64_t column = i % column_tasks * kSumColumns;
    const int64_t n = std::min(wide.columns - column, kSumColumns);
    // The same accumulators go on from block to block, so the cut into blocks changes no bit.
    in_blocks(chunk * kSumRows, std::min((chunk + 1) * kSumRows, wide.rows), std::max<int64_t>(1, kBlock / n),
              [&](int64_t row, int64_t end) {
                if (n == wide.columns) {
                  prepare(row * n, end * n);
                } else {
                  for (int64_t r = row; r < end; ++r) prepare(r * wide.columns + column, r * wide.columns + column + n);
                }
                kernel(z + row * wide.columns + column, end - row, n, wide.columns,
                       sums + chunk * wide.columns + column);
              });
  };
  const int64_t tasks = wide.chunks * column_tasks;
  if (rows * columns <= kGrain) {
    for (int64_t i = 0; i < tasks; ++i) task(i);
  } else {
    parallel_for(tasks, task);
  }
  fold(sums, wide.chunks, wide.columns);
  if (wide.rest > 0) {
    const int64_t first = wide.rows * wide.columns;
    prepare(first, first + wide.rest);
    kernel(z + first, 1, wide.rest, wide.rest, sums);
  }
  fold(sums, wide.group, columns);
  std::copy(sums, sums + columns, result.data<T>());
  return result;
}

int64_t rows_of(const Tensor& x) { return x.shape().back() == 0 ? 0 : x.size() / x.shape().back(); }

#if defined(SIXLOOP_HAS_CUDA)
// column_sums() of an array like z on the GPU: sums(cut, result) makes it.
template <class Sums>
Tensor cuda_column_sums(const Tensor& z, const Sums& sums) {
  const DType dtype = z.dtype() == DType::bfloat16 ? DType::float32 : z.dtype();
  Tensor result = Tensor::zeros({z.shape().back()}, dtype, Device::cuda);
  if (z.size() == 0) return result;
  const SumLayout wide(rows_of(z), z.shape().back());
  sums(cuda::SumCut{kSumRows, wide.chunks, wide.columns, wide.rows, wide.rest, wide.group}, result);
  return result;
}
#endif

}  // namespace

Kernels Add::kernels() { return all_rows(); }
Kernels Scale::kernels() { return all_rows(); }
Kernels Activate::kernels() { return all_rows(); }
Kernels ActivateGrad::kernels() { return all_rows(); }
Kernels ActivateGradOf::kernels() { return all_rows(); }
Kernels ColumnSum::kernels() { return all_rows(); }

Tensor add(const Tensor& a, const Tensor& b, Activation activation) {
  check_pair("add", "a", a, "b", b);
  Tensor y = Tensor::empty(a.shape(), a.dtype(), a.device());
#if defined(SIXLOOP_HAS_CUDA)
  if (y.device() == Device::cuda) {
    cuda::add(a, b, activation, y);
    return y;
  }
#endif
  dispatch_floating(a.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto kernel = select<Add, T>();
    parallel_ranges(a.size(), grain_of(activation), [&](int64_t begin, int64_t end) {
      in_blocks(begin, end, activation == Activation::none ? end - begin : kBlock, [&](int64_t i, int64_t stop) {
        T* out = y.data<T>() + i;
        kernel(a.data<T>() + i, b.data<T>() + i, out, stop - i);
        if (activation != Activation::none) apply_activation(out, stop - i, activation);
      });
    });
  });
  return y;
}

Tensor bias_add(const Tensor& x, const Tensor& b, Activation activation) {
  check_min_rank("bias_add", "x", x, 1);
  check_floating_or_bfloat16("bias_add", "x", x);
  if (x.dtype() != DType::bfloat16 || b.dtype() != DType::float32) check_same_dtype("bias_add", "x", x, "b", b);
  const int64_t columns = x.shape().back();
  check_vector("bias_add", "b", b, columns, "channel");
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (x.size() == 0) return y;
#if defined(SIXLOOP_HAS_CUDA)
  if (y.device() == Device::cuda) {
    cuda::bias_add(x, b, activation, y);
    return y;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto kernel = select<Add, T>();
    // b as often as it fills some vectors: short rows are added several at a time.
    const int64_t repeats = columns >= kBlock / 2 ? 1 : kBlock / columns;
    const Tensor tiled = Tensor::empty({repeats * columns}, x.dtype());
    for (int64_t i = 0; i < repeats; ++i) std::copy_n(b.data<T>(), columns, tiled.data<T>() + i * columns);
    const int64_t grain = std::max<int64_t>(1, grain_of(activation) / columns);
    parallel_ranges(rows_of(x), grain, [&](int64_t begin, int64_t end) {
      in_blocks(begin, end, repeats, [&](int64_t row, int64_t stop) {
        const int64_t i = row * columns;
        const int64_t n = (stop - row) * columns;
        kernel(x.data<T>() + i, tiled.data<T>(), y.data<T>() + i, n);
        if (activation != Activation::none) apply_activation(y.data<T>() + i, n, activation);
      });
    });
  });
  return y;
}

Tensor scale(const Tensor& x, double s) {
  check_floating_or_bfloat16("scale", "x", x);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
#if defined(SIXLOOP_HAS_CUDA)
  if (y.device() == Device::cuda) {
    cuda::scale(x, s, y);
    return y;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto kernel = select<Scale, T>();
    parallel_ranges(x.size(), kGrain, [&](int64_t begin, int64_t end) {
      kernel(x.data<T>() + begin, static_cast<T>(s), y.data<T>() + begin, end - begin);
    });
  });
  return y;
}

Tensor cast(const Tensor& x, DType dtype) {
  check_floating_or_bfloat16("cast", "x", x);
  if (!is_floating(dtype)) type_error("[cast] dtype must be float32, float64 or bfloat16; got ", name_of(dtype));
  if (dtype == DType::bfloat16 && x.device() == Device::cpu) {
    type_error("[cast] bfloat16 is a dtype of cuda alone; got x on the CPU, of shape ", x.shape(),
               ": move it there first, by .to(\"cuda\")");
  }
  if (dtype == x.dtype()) return x;
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  cast_into({x}, {y});
  return y;
}

void cast_into(const std::vector<Tensor>& xs, const std::vector<Tensor>& ys) {
  constexpr const char* op = "cast_into";
  if (xs.size() != ys.size()) value_error("[", op, "] expected one y for each x; got ", xs.size(), " and ", ys.size());
  for (size_t i = 0; i < xs.size(); ++i) {
    check_floating_or_bfloat16(op, "x", xs[i]);
    check_floating_or_bfloat16(op, "y", ys[i]);
    check_same_shape(op, "x", xs[i], "y", ys[i]);
  }
#if defined(SIXLOOP_HAS_CUDA)
  if (!xs.empty() && xs[0].device() == Device::cuda) return cuda::cast(xs, ys);
#endif
  for (size_t i = 0; i < xs.size(); ++i) {
    dispatch_floating(xs[i].dtype(), [&](auto from) {
      dispatch_floating(ys[i].dtype(), [&](auto to) {
        using X = decltype(from);
        using T = decltype(to);
        const X* const x = xs[i].data<X>();
        T* const y = ys[i].data<T>();
        // A loop that compilers make vectors of.
        parallel_ranges(xs[i].size(), kGrain, [&](int64_t begin, int64_t end) {
          for (int64_t j = begin; j < end; ++j) y[j] = static_cast<T>(x[j]);
        });
      });
    });
  }
}

Tensor activate(const char* op, const Tensor& x, Activation activation, double alpha) {
  check_floating_or_bfloat16(op, "x", x);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
#if defined(SIXLOOP_HAS_CUDA)
  if (y.device() == Device::cuda) {
    cuda::activate(x, activation, alpha, y);
    return y;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto kernel = select<Activate, T>();
    parallel_ranges(x.size(), grain_of(activation), [&](int64_t begin, int64_t end) {
      kernel(x.data<T>() + begin, y.data<T>() + begin, end - begin, activation, static_cast<T>(alpha));
    });
  });
  return y;
}

Tensor activate_grad(const char* op, const Tensor& dy, const Tensor& x, Activation activation, double alpha) {
  check_pair(op, "dy", dy, "x", x);
  Tensor dx = Tensor::empty(x.shape(), x.dtype(), x.device());
#if defined(SIXLOOP_HAS_CUDA)
  if (dx.device() == Device::cuda) {
    cuda::activate_grad(dy, x, activation, alpha, dx);
    return dx;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto kernel = select<ActivateGrad, T>();
    parallel_ranges(x.size(), grain_of(activation), [&](int64_t begin, int64_t end) {
      kernel(dy.data<T>() + begin, x.data<T>() + begin, dx.data<T>() + begin, end - begin, activation,
             static_cast<T>(alpha));
    });
  });
  return dx;
}

Tensor activate_grad_of(const Tensor& dy, const Tensor& y, Activation activation) {
  check_pair("activation_grad_from_output", "dy", dy, "y", y);
  check_gradient_of_output("activation_grad_from_output", activation);
  Tensor dz = Tensor::empty(y.shape(), y.dtype(), y.device());
#if defined(SIXLOOP_HAS_CUDA)
  if (dz.device() == Device::cuda) {
    cuda::activate_grad_of(dy, y, activation, dz);
    return dz;
  }
#endif
  dispatch_floating(y.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto kernel = select<ActivateGradOf, T>();
    parallel_ranges(y.size(), kGrain, [&](int64_t begin, int64_t end) {
      kernel(dy.data<T>() + begin, y.data<T>() + begin, dz.data<T>() + begin, end - begin, activation);
    });
  });
  return dz;
}

Tensor bias_grad(const Tensor& dy) {
  check_min_rank("bias_grad", "dy", dy, 1);
  check_floating_or_bfloat16("bias_grad", "dy", dy);
#if defined(SIXLOOP_HAS_CUDA)
  if (dy.device() == Device::cuda) {
    return cuda_column_sums(dy, [&](const cuda::SumCut& cut, const Tensor& sum) { cuda::column_sums(dy, cut, sum); });
  }
#endif
  return dispatch_floating(dy.dtype(), [&](auto t) {
    using T = decltype(t);
    return column_sums(dy.data<T>(), rows_of(dy), dy.shape().back(), dy.dtype(), [](int64_t, int64_t) {});
  });
}

std::pair<Tensor, Tensor> activation_bias_grad(const Tensor& dy, const Tensor& y, Activation activation) {
  check_min_rank("activation_bias_grad", "dy", dy, 1);
  check_pair("activation_bias_grad", "dy", dy, "y", y);
  check_gradient_of_output("activation_bias_grad", activation);
  Tensor dz = Tensor::empty(y.shape(), y.dtype(), y.device());
#if defined(SIXLOOP_HAS_CUDA)
  if (y.device() == Device::cuda) {
    Tensor sum = cuda_column_sums(dz, [&](const cuda::SumCut& cut, const Tensor& result) {
      cuda::activation_column_sums(dy, y, activation, dz, cut, result);
    });
    return {std::move(dz), std::move(sum)};
  }
#endif
  Tensor db = dispatch_floating(y.dtype(), [&](auto t) {
    using T = decltype(t);
    const auto kernel = select<ActivateGradOf, T>();
    return column_sums(dz.data<T>(), rows_of(y), y.shape().back(), y.dtype(), [&](int64_t begin, int64_t end) {
      kernel(dy.data<T>() + begin, y.data<T>() + begin, dz.data<T>() + begin, end - begin, activation);
    });
  });
  return {std::move(dz), std::move(db)};
}

void moving_average(const Tensor& running, const Tensor& value, double momentum, double factor) {
  check_floating("moving_average", "running", running);
  check_pair("moving_average", "running", running, "value", value);
#if defined(SIXLOOP_HAS_CUDA)
  if (running.device() == Device::cuda) return cuda::moving_average(running, value, momentum, factor);
#endif
  // As many elements as an image has channels: no kernel of its own.
  dispatch_floating(running.dtype(), [&](auto t) {
    using T = decltype(t);
    T* r = running.data<T>();
    const T* v = value.data<T>();
    const T share = static_cast<T>(momentum), rest = static_cast<T>(factor);
    for (int64_t i = 0; i < running.size(); ++i) r[i] = r[i] * share + v[i] * rest;
  });
}

}  // namespace sixloop
