#include "gemm/gemm.h"

#include <atomic>
#include <chrono>
#include <stdexcept>

#include "base/batch_invariant.h"
#include "base/transpose.h"
#include "base/validate.h"
#include "cuda/dry_run.h"
#include "gemm/loops.h"
#include "gemm/mma.h"
#include "gemm/simt.h"

namespace sixloop {
namespace {

const Kernel kKernels[] = {
#define SIXLOOP_KERNEL SIXLOOP_KERNEL_ROW
#include "gemm/kernels.inc"
#undef SIXLOOP_KERNEL
};

// Rows of A further apart than this many bytes share few cache sets and pages: a task copies them where they
// serve at least this many columns.
constexpr int64_t kFarRows = 8192;
constexpr int64_t kColumnsThatPayCopies = 256;

template <class T>
bool far_rows(int64_t lda, int64_t n) {
  return lda * static_cast<int64_t>(sizeof(T)) >= kFarRows && n >= kColumnsThatPayCopies;
}

// So few rows are multiplied by gemm_vector, which copies nothing: 1x400x120 takes 3 microseconds instead of 8. A task
// has a stretch of B's rows: 1x4096x4096 is 6% faster with 1,024 columns than with 512, four rows are 8%; with 2,048
// one row is 2% faster, four are 4% slower.
constexpr int64_t kVectorRows = 4;
constexpr int64_t kVectorColumns = 1024;
// Up to so many rows, a transposed B is the left matrix of the transposed product: it is read as it lies.
constexpr int64_t kTurnedRows = 128;
// Up to so many steps, a transposed A is copied row by row, so that strips can write C along its rows.
constexpr int64_t kTurnedSteps = 96;

// Bias and activation of `rows` rows of results, ld apart, columns [j, j + columns) of them.
template <class T>
void finish_rows(T* c, int64_t ld, int64_t rows, int64_t j, int64_t columns, const Epilogue<T>& epilogue) {
  for (int64_t i = 0; i < rows; ++i) {
    T* row = c + i * ld + j;
    if (epilogue.bias != nullptr) {
      for (int64_t x = 0; x < columns; ++x) row[x] += epilogue.bias[j + x];
    }
    if (epilogue.activation != Activation::none) apply_activation(row, columns, epilogue.activation);
  }
}

// C = A B for the few rows of a streamed B, which Turned has as [n, k].
template <class Kind, class T>
void gemm_few_rows(const Kernel& row, int64_t m, int64_t n, int64_t k, const T* a, const T* b,
                   const Epilogue<T>& epilogue, T* c) {
  constexpr bool kTurned = std::is_same_v<Kind, GemmVectorTurned>;
  const auto kernel = function_of<Kind, T>(row);
  const int64_t tasks = std::clamp<int64_t>(n / kVectorColumns, 1, kTasks);
  const int64_t columns = ceil_div(ceil_div(n, tasks), 64) * 64;
  parallel_for(ceil_div(n, columns), [&](int64_t task) {
    const int64_t j = task * columns;
    const int64_t count = std::min(columns, n - j);
    kernel({m, count, k, a, k, kTurned ? b + j * k : b + j, kTurned ? k : n, c + j, n});
    finish_rows(c, n, m, j, count, epilogue);
  });
}

// C = A B for B given as [n, k] and few rows of A: the transposed product, whose left matrix is B as it lies.
template <class T>
void gemm_turned(int64_t m, int64_t n, int64_t k, const T* a, const T* b, const Epilogue<T>& epilogue, T* c) {
  MatrixB<T> right;
  right.tap_data = {a};
  right.kc = k;
  right.n = m;
  right.ld = k;
  right.transposed = true;
  Buffer<T> turned(n * m);
  gemm_rows_loops(n, right, Epilogue<T>{}, false, [&](int64_t row, int64_t count, int64_t, const T** rows, T** outs) {
    for (int64_t i = 0; i < count; ++i) {
      rows[i] = b + (row + i) * k;
      outs[i] = turned.get() + (row + i) * m;
    }
  });
  constexpr int64_t kColumns = 256;
  parallel_for(ceil_div(n, kColumns), [&](int64_t task) {
    const int64_t j = task * kColumns;
    const int64_t count = std::min(kColumns, n - j);
    transpose(turned.get() + j * m, m, count, m, c + j, n);
    finish_rows(c, n, m, j, count, epilogue);
  });
}

}  // namespace

double columns_cycles(const Kernel& row, int64_t columns, int64_t more_loads) {
  // A multiply-add waits so long for the one before it in its accumulator.
  constexpr int64_t kLatency = 4;
  const int64_t lanes = std::max<int64_t>(vector_bytes(row.isa) / static_cast<int64_t>(size_of(row.dtype)), 1);
  const auto halves = [&](int64_t vectors) {
    return std::max({row.facts.mr * vectors, row.facts.mr + vectors + more_loads, 2 * kLatency});
  };
  const int64_t rest = columns % row.facts.nr;
  return static_cast<double>(columns / row.facts.nr * halves(row.facts.nr / lanes) +
                             (rest > 0 ? halves(ceil_div(rest, lanes)) : 0)) /
         2;
}

double product_cycles(const Kernel& row, int64_t m, int64_t n) {
  const int64_t tiles = ceil_div(std::max<int64_t>(m, 1), row.facts.mr);
  return static_cast<double>(tiles) * columns_cycles(row, std::max<int64_t>(n, 1));
}

Kernels GemmRows::kernels() { return {kKernels, sizeof kKernels / sizeof *kKernels}; }
Kernels GemmPanel::kernels() { return GemmRows::kernels(); }
Kernels GemmStrip::kernels() { return GemmRows::kernels(); }
Kernels GemmColumns::kernels() { return GemmRows::kernels(); }
Kernels GemmPack::kernels() { return GemmRows::kernels(); }
Kernels GemmTranspose::kernels() { return GemmRows::kernels(); }
Kernels GemmVector::kernels() { return GemmRows::kernels(); }
Kernels GemmVectorTurned::kernels() { return GemmRows::kernels(); }
Kernels FmaPeak::kernels() { return GemmRows::kernels(); }

double measure_fma_peak(DType dtype) {
  return dispatch_floating(dtype, [](auto t) {
    using T = decltype(t);
    const auto kernel = select<FmaPeak, T>();
    constexpr int kRuns = 50;
    constexpr int64_t kRounds = 200000;
    double best = 0;
    for (int run = 0; run < kRuns; ++run) {
      std::atomic<int64_t> operations{0};
      const auto begin = std::chrono::steady_clock::now();
      parallel_for(num_threads(), [&](int64_t) {
        T sink;
        operations += kernel(kRounds, &sink);
      });
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      best = std::max(best, static_cast<double>(operations) / seconds.count());
    }
    return best;
  });
}

template <class Kind, class T>
const Kernel& select_tile(int64_t m, int64_t n, Arch arch) {
  // A narrower tile reads a transposed A, which may come from memory, more often.
  constexpr double kGain = std::is_same_v<Kind, GemmPanel> ? 0.95 : 0.999;
  const Kernel& first = select_row<Kind, T>(arch);
  const Kernel* best = &first;
  double best_cost = 0;
  for (const Kernel& row : Kind::kernels()) {
    if (row.kind != first.kind || row.dtype != first.dtype || row.isa != first.isa) continue;
    const double cost = product_cycles(row, m, n);
    if (best_cost == 0 || cost < best_cost * kGain) {
      best = &row;
      best_cost = cost;
    }
  }
  return *best;
}

template const Kernel& select_tile<GemmRows, float>(int64_t, int64_t, Arch);
template const Kernel& select_tile<GemmRows, double>(int64_t, int64_t, Arch);
template const Kernel& select_tile<GemmPanel, float>(int64_t, int64_t, Arch);
template const Kernel& select_tile<GemmPanel, double>(int64_t, int64_t, Arch);
template const Kernel& select_tile<GemmColumns, float>(int64_t, int64_t, Arch);
template const Kernel& select_tile<GemmColumns, double>(int64_t, int64_t, Arch);

GemmPlan plan_gemm(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, DType dtype) {
  return dispatch_floating(dtype, [&](auto t) -> GemmPlan {
    using T = decltype(t);
    const Kernel& strip = select_row<GemmStrip, T>();
    const bool strips = strips_pay<T>(strip, m, 1, k, n);
    if (transpose_a && k > 0) {
      if (strips && !transpose_b && k <= kTurnedSteps) return {GemmWay::turned_strips, &strip};
      return {GemmWay::panels, &select_tile<GemmPanel, T>(m, n)};
    }
    if (strips) return {GemmWay::strips, &strip};
    if (transpose_b && m <= kVectorRows && k > 0) return {GemmWay::turned_vectors, &select_row<GemmVectorTurned, T>()};
    if (transpose_b && m <= kTurnedRows && n / 4 >= m && k > 0) {
      return {GemmWay::turned_rows, &select_tile<GemmRows, T>(n, m)};
    }
    if (!transpose_b && m <= kVectorRows && k > 0) return {GemmWay::vectors, &select_row<GemmVector, T>()};
    return {GemmWay::rows, &select_tile<GemmRows, T>(m, n)};
  });
}

int64_t gemm_scratch(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, DType dtype) {
  const GemmPlan plan = plan_gemm(m, n, k, transpose_a, transpose_b, dtype);
  return dispatch_floating(dtype, [&](auto t) -> int64_t {
    using T = decltype(t);
    const auto right = [](int64_t columns, int64_t steps, bool transposed) {
      MatrixB<T> b;
      b.tap_data = {nullptr};
      b.kc = steps;
      b.n = columns;
      b.ld = transposed ? steps : columns;
      b.transposed = transposed;
      return b;
    };
    switch (plan.way) {
      case GemmWay::panels:
        return PanelCut<T>(m, right(n, k, transpose_b), 1, TransposedA<T>{nullptr, m}.in_place()).scratch();
      case GemmWay::strips:
        return strips_scratch(*plan.kernel, right(n, k, transpose_b), m <= kMostRows);
      case GemmWay::turned_strips:
        return buffer_bytes<T>(m * k) + strips_scratch(*plan.kernel, right(n, k, transpose_b), m <= kMostRows);
      case GemmWay::turned_rows:
        return buffer_bytes<T>(n * m) + RowsCut<T>(n, right(m, k, true), false).scratch();
      case GemmWay::vectors:
      case GemmWay::turned_vectors:
        return 0;
      case GemmWay::rows:
        return RowsCut<T>(m, right(n, k, transpose_b), far_rows<T>(k, n)).scratch();
    }
    throw std::logic_error("unknown way");
  });
}

cuda::Plan plan_gemm_on_cuda(int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b, DType dtype,
                             Precision precision, std::optional<cuda::Capability> capability) {
  constexpr const char* op = "gemm_plan";
  cuda::DryRun run(op, capability);
  const Tensor a = run.array(transpose_a ? Shape{k, m} : Shape{m, k}, dtype);
  const Tensor b = run.array(transpose_b ? Shape{n, k} : Shape{k, n}, dtype);
  check_precision(op, precision, "a", a);
  return run.plan(gemm(a, b, std::nullopt, transpose_a, transpose_b, Activation::none, precision), "gemm");
}

const char* name_of(GemmWay way) {
  constexpr const char* kNames[] = {
      "packed panels",      "product by strips",        "product by strips, left matrix turned",
      "transposed product", "rows of the right matrix", "columns of the right matrix",
      "pointers to rows"};
  return kNames[static_cast<int>(way)];
}

Tensor gemm(const Tensor& a, const Tensor& b, const std::optional<Tensor>& bias, bool transpose_a, bool transpose_b,
            Activation activation, Precision precision) {
  check_rank("gemm", "a", a, 2, transpose_a ? "[K, M]" : "[M, K]");
  check_rank("gemm", "b", b, 2, transpose_b ? "[N, K]" : "[K, N]");
  check_floating_or_bfloat16("gemm", "a", a);
  check_same_dtype("gemm", "a", a, "b", b);
  check_precision("gemm", precision, "a", a);
  const int64_t m = a.shape()[transpose_a ? 1 : 0];
  const int64_t k = a.shape()[transpose_a ? 0 : 1];
  const int64_t n = b.shape()[transpose_b ? 0 : 1];
  const int64_t k_of_b = b.shape()[transpose_b ? 1 : 0];
  if (k != k_of_b) {
    value_error("[gemm] inner sizes must agree: a has K = ", k, ", b has K = ", k_of_b, "; got a ", a.shape(),
                transpose_a ? " transposed" : "", ", b ", b.shape(), transpose_b ? " transposed" : "");
  }
  if (bias) {
    check_bias_dtype("gemm", "a", a, *bias);
    check_vector("gemm", "bias", *bias, n, "column");
  }
  Tensor c = Tensor::empty({m, n}, a.dtype(), a.device());
  if (c.size() == 0) return c;
#if defined(SIXLOOP_HAS_CUDA)
  if (a.device() == Device::cuda && on_tensor_cores(precision, a)) {
    cuda::mma_gemm(a, transpose_a, b, transpose_b, bias ? &*bias : nullptr, activation, !batch_invariant(), c);
    return c;
  }
  if (a.device() == Device::cuda) {
    cuda::gemm(a, transpose_a, b, transpose_b, bias ? &*bias : nullptr, activation, c);
    return c;
  }
#endif
  dispatch_floating(a.dtype(), [&](auto t) {
    using T = decltype(t);
    MatrixB<T> right;
    right.tap_data = {b.data<T>()};
    right.kc = k;
    right.n = n;
    right.ld = b.shape()[1];
    right.transposed = transpose_b;
    const Epilogue<T> epilogue{bias ? bias->data<T>() : nullptr, activation};
    const T* left = a.data<T>();
    const int64_t lda = a.shape()[1];
    T* out = c.data<T>();
    const GemmPlan plan = plan_gemm(m, n, k, transpose_a, transpose_b, a.dtype());
    if (plan.way == GemmWay::turned_strips) {
      Buffer<T> rows(m * k);
      parallel_transpose(left, lda, k, m, rows.get(), k);
      gemm_by_strips(*plan.kernel, m, static_cast<const T*>(rows.get()), k, right, epilogue, out);
    } else if (plan.way == GemmWay::panels) {
      gemm_panel_loops(m, TransposedA<T>{left, lda}, right, epilogue, out, n, 1);
    } else if (plan.way == GemmWay::strips) {
      gemm_by_strips(*plan.kernel, m, left, lda, right, epilogue, out);
    } else if (plan.way == GemmWay::turned_rows) {
      gemm_turned(m, n, k, left, b.data<T>(), epilogue, out);
    } else if (plan.way == GemmWay::vectors) {
      gemm_few_rows<GemmVector>(*plan.kernel, m, n, k, left, b.data<T>(), epilogue, out);
    } else if (plan.way == GemmWay::turned_vectors) {
      gemm_few_rows<GemmVectorTurned>(*plan.kernel, m, n, k, left, b.data<T>(), epilogue, out);
    } else {
      gemm_rows_loops(m, right, epilogue, far_rows<T>(lda, n),
                      [&](int64_t row, int64_t count, int64_t, const T** rows, T** outs) {
                        for (int64_t i = 0; i < count; ++i) {
                          rows[i] = left + (row + i) * lda;
                          outs[i] = out + (row + i) * n;
                        }
                      });
    }
  });
  return c;
}

}  // namespace sixloop
