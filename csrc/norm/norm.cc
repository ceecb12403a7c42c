#include "norm/norm.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/allocator.h"
#include "base/error.h"
#include "base/rows.h"
#include "base/validate.h"
#include "elementwise/elementwise.h"
#include "norm/simt.h"

namespace sixloop {
namespace {

// Sums run over blocks of this many (folded) rows, and over the blocks in float64.
constexpr int64_t kBlockRows = 256;
// Columns that one task sums up: a block of them stays in the second-level cache between two passes.
constexpr int64_t kBlockColumns = 256;
// Elements that one step normalises before the activation function meets them in cache.
constexpr int64_t kStep = 8192;

// [rows, channels], folded: few channels leave most lanes of a vector empty, so `fold` rows count as one of
// fold * channels columns, a multiple of 64; the last total % fold rows are left over.
struct Matrix {
  int64_t total, channels;  // as they are
  int64_t rows, columns;    // folded
  int64_t rest;             // elements of the rows left over

  explicit Matrix(const Shape& shape) : channels(shape.back()) {
    total = 1;
    for (int i = 0; i + 1 < shape.rank(); ++i) total *= shape[i];
    const int64_t fold = channels < 64 ? 64 / std::gcd(channels, int64_t{64}) : 1;
    rows = total / fold;
    columns = fold * channels;
    rest = total % fold * channels;
  }
  cuda::BatchCut cut() const { return {channels, rows, columns, rest, kBlockRows}; }
  int64_t blocks() const { return (rows + kBlockRows - 1) / kBlockRows; }
  int64_t block_rows(int64_t block) const { return std::min(kBlockRows, rows - block * kBlockRows); }
};

// A value of each channel, repeated for the folded columns.
template <class T>
class PerColumn {
 public:
  template <class F>
  PerColumn(const Matrix& m, F value) : values_(m.columns) {
    for (int64_t c = 0; c < m.channels; ++c) values_[c] = value(c);
    for (int64_t i = m.channels; i < m.columns; ++i) values_[i] = values_[i - m.channels];
  }
  const T* get() const { return values_.get(); }

 private:
  Buffer<T> values_;
};

// Calls f(x's offset, rows, first column, columns, index of the partial results) for each part of the blocks.
template <class F>
void for_blocks(const Matrix& m, F f) {
  const int64_t parts = (m.columns + kBlockColumns - 1) / kBlockColumns;
  const int64_t cost = std::min(m.rows, kBlockRows) * std::min(m.columns, kBlockColumns);
  parallel_rows(m.blocks() * parts, cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t block = i / parts;
      const int64_t column = i % parts * kBlockColumns;
      f(block * kBlockRows * m.columns + column, m.block_rows(block), column,
        std::min(kBlockColumns, m.columns - column), block * m.columns + column);
    }
  });
}

// Calls f(offset, rows, columns) for steps that cover all elements.
template <class F>
void for_steps(const Matrix& m, F f) {
  const int64_t step = std::max<int64_t>(kStep / m.columns, 1);
  parallel_rows((m.rows + step - 1) / step, step * m.columns, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i * step * m.columns, std::min(step, m.rows - i * step), m.columns);
  });
  if (m.rest > 0) f(m.rows * m.columns, int64_t{1}, m.rest);
}

// Adds value(index of a partial result, rows of its block) over the blocks, and rest(offset) over what is left over,
// to out[channel].
template <class Partial, class Rest>
void add_up(const Matrix& m, double* out, Partial partial, Rest rest) {
  std::fill(out, out + m.channels, 0.0);
  for (int64_t block = 0; block < m.blocks(); ++block) {
    const double rows = static_cast<double>(m.block_rows(block));
    for (int64_t first = 0; first < m.columns; first += m.channels) {
      for (int64_t c = 0; c < m.channels; ++c) out[c] += partial(block * m.columns + first + c, rows, c);
    }
  }
  for (int64_t first = 0; first < m.rest; first += m.channels) {
    for (int64_t c = 0; c < m.channels; ++c) out[c] += rest(m.rows * m.columns + first + c, c);
  }
}

template <class T>
void batch_statistics(const T* x, const Matrix& m, double* mean, double* variance) {
  const int64_t partials = m.blocks() * m.columns;
  Buffer<T> base(partials), sum(partials), squares(partials);
  const auto kernel = select<BatchMoments, T>();
  for_blocks(m, [&](int64_t offset, int64_t rows, int64_t, int64_t columns, int64_t at) {
    kernel(x + offset, rows, m.columns, columns, base.get() + at, sum.get() + at, squares.get() + at);
  });
  const double count = static_cast<double>(m.total);
  const auto mean_of = [&](int64_t i, double rows) {
    return static_cast<double>(base[i]) + static_cast<double>(sum[i]) / rows;
  };
  add_up(
      m, mean, [&](int64_t i, double rows, int64_t) { return rows * mean_of(i, rows); },
      [&](int64_t i, int64_t) { return static_cast<double>(x[i]); });
  for (int64_t c = 0; c < m.channels; ++c) mean[c] /= count;
  // Chan, Golub and LeVeque 1979: deviations from the block's mean, and of that from the mean of all.
  add_up(
      m, variance,
      [&](int64_t i, double rows, int64_t c) {
        const double s = static_cast<double>(sum[i]);
        const double d = mean_of(i, rows) - mean[c];
        return static_cast<double>(squares[i]) - s * s / rows + rows * d * d;
      },
      [&](int64_t i, int64_t c) {
        const double d = static_cast<double>(x[i]) - mean[c];
        return d * d;
      });
  for (int64_t c = 0; c < m.channels; ++c) {
    variance[c] /= count;
    if (variance[c] < 0) variance[c] = 0;  // NaN stays
  }
}

void check_epsilon(const char* op, double epsilon) {
  if (!(epsilon >= 0) || std::isinf(epsilon)) {
    value_error("[", op, "] epsilon must be finite and not negative; got ", epsilon);
  }
}

// What statistics and parameters are where x has this dtype.
DType computed(DType dtype) { return dtype == DType::bfloat16 ? DType::float32 : dtype; }

void check_computed(const char* op, const char* arg, const Tensor& t, const Tensor& x) {
  if (x.dtype() != DType::bfloat16) return check_same_dtype(op, "x", x, arg, t);
  if (t.dtype() != DType::float32) {
    type_error("[", op, "] ", arg, " must be float32 where x is bfloat16; got ", name_of(t.dtype()));
  }
}

void check_channels(const char* op, const char* arg, const Tensor& t, const Tensor& x) {
  check_computed(op, arg, t, x);
  check_vector(op, arg, t, x.shape().back(), "channel");
}

template <class T>
void normalize(const Tensor& x, const Matrix& m, const Tensor& gamma, const Tensor& beta, const double* mean,
               const double* variance, double epsilon, Activation activation, const T* residual, Tensor& affine,
               Tensor& y) {
  const auto scale_of = [&](int64_t c) {
    return static_cast<double>(gamma.data<T>()[c]) / std::sqrt(variance[c] + epsilon);
  };
  const PerColumn<T> center(m, [&](int64_t c) { return static_cast<T>(mean[c]); });
  const PerColumn<T> scale(m, [&](int64_t c) { return static_cast<T>(scale_of(c)); });
  // What rounding took from the mean goes into the shift.
  const PerColumn<T> shift(m, [&](int64_t c) {
    const double lost = mean[c] - static_cast<double>(static_cast<T>(mean[c]));
    return static_cast<T>(static_cast<double>(beta.data<T>()[c]) - lost * scale_of(c));
  });
  std::copy(scale.get(), scale.get() + m.channels, affine.data<T>());
  std::copy(shift.get(), shift.get() + m.channels, affine.data<T>() + m.channels);
  const auto kernel = select<BatchNormalize, T>();
  for_steps(m, [&](int64_t offset, int64_t rows, int64_t columns) {
    T* out = y.data<T>() + offset;
    kernel(x.data<T>() + offset, residual != nullptr ? residual + offset : nullptr, out, rows, columns, center.get(),
           scale.get(), shift.get());
    if (activation != Activation::none) apply_activation(out, rows * columns, activation);
  });
}

template <class T>
void copy_values(const double* from, Tensor& to) {
  for (int64_t i = 0; i < to.size(); ++i) to.data<T>()[i] = static_cast<T>(from[i]);
}

// relu_output: null where no residual was added before a ReLU.
template <class T>
void gradient(const Tensor& dy_, const Tensor& x, const Tensor& gamma, const Tensor& mean, const Tensor& variance,
              double epsilon, bool training, const T* affine, const T* relu_output, BatchNormGrad& out) {
  const Matrix m(x.shape());
  // Behind the ReLU after a residual, once the sums are there.
  const T* const dy = relu_output != nullptr ? out.dresidual->data<T>() : dy_.data<T>();
  const int64_t partials = m.blocks() * m.columns;
  Buffer<T> sum(partials), dot(partials);
  const T* mean_values = mean.data<T>();
  const PerColumn<T> center(m, [&](int64_t c) { return mean_values[c]; });
  const PerColumn<T> scale(m, [&](int64_t c) { return affine != nullptr ? affine[c] : T{0}; });
  const PerColumn<T> move(m, [&](int64_t c) { return affine != nullptr ? affine[m.channels + c] : T{0}; });
  const auto relu = [&](int64_t column) {
    return affine != nullptr ? BatchRelu<T>{scale.get() + column, move.get() + column} : BatchRelu<T>{};
  };
  const auto sums_kernel = select<BatchGradSums, T>();
  const auto relu_sums_kernel = select<BatchReluGradSums, T>();
  for_blocks(m, [&](int64_t offset, int64_t rows, int64_t column, int64_t columns, int64_t at) {
    if (relu_output != nullptr) {
      relu_sums_kernel(dy_.data<T>() + offset, relu_output + offset, x.data<T>() + offset, center.get() + column, rows,
                       m.columns, columns, out.dresidual->data<T>() + offset, sum.get() + at, dot.get() + at);
    } else {
      sums_kernel(dy + offset, x.data<T>() + offset, center.get() + column, relu(column), rows, m.columns, columns,
                  sum.get() + at, dot.get() + at);
    }
  });
  if (relu_output != nullptr && m.rest > 0) {
    const int64_t first = m.rows * m.columns;
    select<ActivateGradOf, T>()(dy_.data<T>() + first, relu_output + first, out.dresidual->data<T>() + first, m.rest,
                                Activation::relu);
  }
  Buffer<double> sums(m.channels), dots(m.channels);
  // Of the rows that are left over, in the arithmetic of the kernels.
  const auto dy_at = [&](int64_t i, int64_t c) {
    const T g = dy[i];
    const bool kept = affine == nullptr || std::fma(x.data<T>()[i] - mean_values[c], scale.get()[c], move.get()[c]) > 0;
    return kept ? static_cast<double>(g) : 0.0;
  };
  add_up(
      m, sums.get(), [&](int64_t i, double, int64_t) { return static_cast<double>(sum[i]); },
      [&](int64_t i, int64_t c) { return dy_at(i, c); });
  add_up(
      m, dots.get(), [&](int64_t i, double, int64_t) { return static_cast<double>(dot[i]); },
      [&](int64_t i, int64_t c) {
        return dy_at(i, c) * (static_cast<double>(x.data<T>()[i]) - static_cast<double>(mean_values[c]));
      });

  const auto inverse_std = [&](int64_t c) {
    return 1.0 / std::sqrt(static_cast<double>(variance.data<T>()[c]) + epsilon);
  };
  for (int64_t c = 0; c < m.channels; ++c) {
    out.dgamma.data<T>()[c] = static_cast<T>(dots[c] * inverse_std(c));
    out.dbeta.data<T>()[c] = static_cast<T>(sums[c]);
  }
  if (m.total == 0) return;
  // dx = gamma / std (dy - mean(dy) - x_hat mean(dy x_hat)); the means are there in training only.
  const double count = static_cast<double>(m.total);
  const auto factor = [&](int64_t c) { return static_cast<double>(gamma.data<T>()[c]) * inverse_std(c); };
  const PerColumn<T> a(m, [&](int64_t c) { return static_cast<T>(factor(c)); });
  const PerColumn<T> b(
      m, [&](int64_t c) { return static_cast<T>(-factor(c) * inverse_std(c) * inverse_std(c) * dots[c] / count); });
  const PerColumn<T> shift(m, [&](int64_t c) { return static_cast<T>(-factor(c) * sums[c] / count); });
  const auto kernel = select<BatchGradInput, T>();
  for_steps(m, [&](int64_t offset, int64_t rows, int64_t columns) {
    kernel(dy + offset, x.data<T>() + offset, out.dx.data<T>() + offset, rows, columns, center.get(), relu(0), a.get(),
           training ? b.get() : nullptr, shift.get());
  });
}

void check_response(const char* op, int64_t size, double alpha, double beta, double k) {
  if (size < 1) value_error("[", op, "] size must be at least 1; got ", size);
  if (!std::isfinite(alpha) || !std::isfinite(k) || !(std::abs(beta) <= 1000)) {
    value_error("[", op, "] alpha and k must be finite, beta from -1000 to 1000; got alpha=", alpha, ", beta=", beta,
                ", k=", k);
  }
}

// The part of a window that can meet channels at all: channels before and after.
std::pair<int64_t, int64_t> response_window(int64_t size, int64_t channels) {
  return {std::min(size / 2, channels - 1), std::min((size - 1) / 2, channels - 1)};
}

template <class T>
ResponseParams<T> response_params(int64_t size, int64_t channels, double alpha, double beta, double k) {
  const auto [before, after] = response_window(size, channels);
  return {before, after, static_cast<T>(alpha), static_cast<T>(beta), static_cast<T>(k)};
}

template <class T, class Kernel>
void for_response_rows(const Shape& shape, const ResponseParams<T>& params, Kernel kernel) {
  const int64_t channels = shape.back();
  const int64_t row = params.before + channels + params.after + 16;
  // A root, a quotient or a logarithm for each channel costs more than the window's sum.
  parallel_rows(shape.size() / channels, channels * 8, [&](int64_t begin, int64_t end) {
    Buffer<T> scratch(2 * row);
    kernel(begin * channels, end - begin, scratch.get());
  });
}

}  // namespace

Kernels NormKernels::kernels() {
  static const Kernel rows[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "norm/kernels.inc"
#undef SIXLOOP_KERNEL
  };
  return {rows, sizeof rows / sizeof *rows};
}

BatchNorm batch_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, const std::optional<Tensor>& mean,
                     const std::optional<Tensor>& variance, double epsilon, Activation activation,
                     const std::optional<Tensor>& residual) {
  constexpr const char* op = "batch_norm";
  check_min_rank(op, "x", x, 1);
  check_floating_or_bfloat16(op, "x", x);
  check_channels(op, "gamma", gamma, x);
  check_channels(op, "beta", beta, x);
  if (mean.has_value() != variance.has_value()) {
    value_error("[", op, "] mean and variance must be given both, or neither; got only ", mean ? "mean" : "variance");
  }
  if (mean) {
    check_channels(op, "mean", *mean, x);
    check_channels(op, "variance", *variance, x);
  }
  if (residual) {
    check_same_dtype(op, "residual", *residual, "x", x);
    check_same_shape(op, "residual", *residual, "x", x);
  }
  check_epsilon(op, epsilon);
  const int64_t channels = x.shape().back();
  const Shape vector = gamma.shape();
  const Device device = x.device();
  const DType kind = computed(x.dtype());
  BatchNorm out{Tensor::empty(x.shape(), x.dtype(), device), mean ? *mean : Tensor::zeros(vector, kind, device),
                variance ? *variance : Tensor::zeros(vector, kind, device), Tensor::zeros({2, channels}, kind, device)};
  if (x.size() == 0) return out;
#if defined(SIXLOOP_HAS_CUDA)
  if (device == Device::cuda) {
    cuda::batch_norm(x, gamma, beta, !mean, out.mean, out.variance, epsilon, activation,
                     residual ? &*residual : nullptr, Matrix(x.shape()).cut(), out.affine, out.y);
    return out;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const Matrix m(x.shape());
    Buffer<double> means(channels), variances(channels);
    if (mean) {
      for (int64_t c = 0; c < channels; ++c) {
        means[c] = static_cast<double>(mean->data<T>()[c]);
        variances[c] = static_cast<double>(variance->data<T>()[c]);
      }
    } else {
      batch_statistics(x.data<T>(), m, means.get(), variances.get());
      copy_values<T>(means.get(), out.mean);
      copy_values<T>(variances.get(), out.variance);
    }
    const T* const added = residual ? residual->data<T>() : nullptr;
    normalize<T>(x, m, gamma, beta, means.get(), variances.get(), epsilon, activation, added, out.affine, out.y);
  });
  return out;
}

BatchNormGrad batch_norm_grad(const Tensor& dy, const Tensor& x, const Tensor& gamma, const Tensor& mean,
                              const Tensor& variance, double epsilon, bool training,
                              const std::optional<Tensor>& relu_affine, const std::optional<Tensor>& relu_output) {
  constexpr const char* op = "batch_norm_grad";
  check_min_rank(op, "x", x, 1);
  check_floating_or_bfloat16(op, "x", x);
  check_same_dtype(op, "dy", dy, "x", x);
  check_same_shape(op, "dy", dy, "x", x);
  check_channels(op, "gamma", gamma, x);
  check_channels(op, "mean", mean, x);
  check_channels(op, "variance", variance, x);
  if (relu_affine) {
    check_computed(op, "relu_affine", *relu_affine, x);
    check_shape(op, "relu_affine", *relu_affine, {2, x.shape().back()});
  }
  if (relu_output) {
    if (relu_affine) {
      value_error("[", op, "] relu_affine is of a ReLU without a residual, relu_output of one with it; got both");
    }
    check_same_dtype(op, "relu_output", *relu_output, "x", x);
    check_same_shape(op, "relu_output", *relu_output, "x", x);
  }
  check_epsilon(op, epsilon);
  const Device device = x.device();
  const DType kind = computed(x.dtype());
  BatchNormGrad out{Tensor::empty(x.shape(), x.dtype(), device),
                    Tensor::zeros(gamma.shape(), kind, device),
                    Tensor::zeros(gamma.shape(), kind, device),
                    {}};
  if (relu_output) out.dresidual = Tensor::empty(x.shape(), x.dtype(), device);
  if (x.size() == 0) return out;
#if defined(SIXLOOP_HAS_CUDA)
  if (device == Device::cuda) {
    cuda::batch_norm_grad(dy, x, gamma, mean, variance, epsilon, training, relu_affine ? &*relu_affine : nullptr,
                          relu_output ? &*relu_output : nullptr, Matrix(x.shape()).cut(), out.dx, out.dgamma, out.dbeta,
                          out.dresidual ? &*out.dresidual : nullptr);
    return out;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const T* affine = relu_affine ? relu_affine->data<T>() : nullptr;
    const T* behind = relu_output ? relu_output->data<T>() : nullptr;
    gradient<T>(dy, x, gamma, mean, variance, epsilon, training, affine, behind, out);
  });
  return out;
}

Tensor local_response_norm(const Tensor& x, int64_t size, double alpha, double beta, double k) {
  constexpr const char* op = "local_response_norm";
  check_min_rank(op, "x", x, 1);
  check_floating_or_bfloat16(op, "x", x);
  check_response(op, size, alpha, beta, k);
  Tensor y = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (y.size() == 0) return y;
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    const auto [before, after] = response_window(size, x.shape().back());
    cuda::local_response_norm(x, before, after, alpha, beta, k, y);
    return y;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const int64_t channels = x.shape().back();
    const auto params = response_params<T>(size, channels, alpha, beta, k);
    const auto kernel = select<LocalResponse, T>();
    for_response_rows<T>(x.shape(), params, [&](int64_t offset, int64_t rows, T* scratch) {
      kernel(x.data<T>() + offset, y.data<T>() + offset, rows, channels, params, scratch);
    });
  });
  return y;
}

Tensor local_response_norm_grad(const Tensor& dy, const Tensor& x, int64_t size, double alpha, double beta, double k) {
  constexpr const char* op = "local_response_norm_grad";
  check_min_rank(op, "x", x, 1);
  check_floating_or_bfloat16(op, "x", x);
  check_same_dtype(op, "dy", dy, "x", x);
  check_same_shape(op, "dy", dy, "x", x);
  check_response(op, size, alpha, beta, k);
  Tensor dx = Tensor::empty(x.shape(), x.dtype(), x.device());
  if (dx.size() == 0) return dx;
#if defined(SIXLOOP_HAS_CUDA)
  if (x.device() == Device::cuda) {
    const auto [before, after] = response_window(size, x.shape().back());
    cuda::local_response_norm_grad(dy, x, before, after, alpha, beta, k, dx);
    return dx;
  }
#endif
  dispatch_floating(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const int64_t channels = x.shape().back();
    const auto params = response_params<T>(size, channels, alpha, beta, k);
    const auto kernel = select<LocalResponseGrad, T>();
    for_response_rows<T>(x.shape(), params, [&](int64_t offset, int64_t rows, T* scratch) {
      kernel(dy.data<T>() + offset, x.data<T>() + offset, dx.data<T>() + offset, rows, channels, params, scratch);
    });
  });
  return dx;
}

}  // namespace sixloop
