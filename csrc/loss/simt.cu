#include "loss/simt.h"

#include "base/simd/math-inl.h"
#include "cuda/parts.h"

namespace sixloop::cuda {
namespace {

constexpr unsigned kWarp = 0xffffffffu;
constexpr int kThreads = static_cast<int>(kLossLanes);

// Lane t + half is added to lane t for half = kThreads / 2 ... 1; thread 0 gets the sum. shared: kThreads doubles.
__device__ __forceinline__ double fold_lanes(double value, double* shared) {
  const int t = static_cast<int>(threadIdx.x);
  shared[t] = value;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (t < half) shared[t] += shared[t + half];
    __syncthreads();
  }
  return shared[0];
}

// A loss is a struct of one operator: writes the gradient of element i and returns its term.

template <class T, class C = Computed<T>>
struct SquaredError {
  const T* output;
  const C* target;
  T* gradient;
  C elements;
  __device__ double operator()(int64_t i) const {
    const C difference = static_cast<C>(output[i]) - target[i];
    gradient[i] = static_cast<T>(difference * C{2} / elements);
    return static_cast<double>(difference) * static_cast<double>(difference);
  }
};

template <class T, class C = Computed<T>>
struct BinaryCrossEntropy {
  using V = Lane<T>;
  const T* output;
  const C* target;
  T* gradient;
  C elements;
  __device__ double operator()(int64_t i) const {
    const C z = static_cast<C>(output[i]), y = target[i];
    const C positive = z < C{0} ? C{0} : z;
    const C tail = softplus(V::neg(V::abs(V{z}))).v;
    gradient[i] = static_cast<T>((sigmoid(V{z}).v - y) / elements);
    return static_cast<double>((positive - z * y) + tail);
  }
};

template <class T, class C = Computed<T>>
struct Hinge {
  const T* output;
  const int64_t* labels;
  T* gradient;
  C margin, rows;
  int64_t classes;
  // Written so that a NaN stays one, as in NumPy's maximum.
  __device__ static C clipped(C x) { return x < C{0} ? C{0} : x; }
  __device__ double operator()(int64_t i) const {
    const int64_t row = i / classes, own = labels[row];
    if (own < 0 || own >= classes) {  // never from the Trainer, which has looked
      gradient[i] = static_cast<T>(C{0});
      return MathConstants<double>::kInfinity;
    }
    const T* scores = output + row * classes;
    const C right = static_cast<C>(scores[own]);
    if (i - row * classes != own) {
      const C distance = clipped(static_cast<C>(output[i]) - right + margin);
      gradient[i] = static_cast<T>((distance > C{0} ? C{1} : C{0}) / rows);
      return static_cast<double>(distance);
    }
    int64_t wrong = 0;
    for (int64_t c = 0; c < classes; ++c) {
      wrong += c != own && static_cast<C>(scores[c]) - right + margin > C{0};
    }
    gradient[i] = static_cast<T>(-static_cast<C>(wrong) / rows);
    return 0;
  }
};

// Block b has the terms of chunk b: parts[b] is their sum. shared: kThreads doubles.
template <class Loss>
__global__ void __launch_bounds__(kThreads) terms_kernel(Loss loss, int64_t n, double* parts) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kLossChunk;
  const int64_t end = begin + kLossChunk < n ? begin + kLossChunk : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) sum += loss(i);
  sum = fold_lanes(sum, shared_memory<double>());
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// One block; thread 0 adds what the others bring. shared: kThreads doubles.
__global__ void __launch_bounds__(kThreads) in_order_kernel(const double* parts, int64_t n, double* sum) {
  double* const shared = shared_memory<double>();
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kThreads) {
    const int64_t i = begin + threadIdx.x;
    if (i < n) shared[threadIdx.x] = parts[i];
    __syncthreads();
    if (threadIdx.x == 0) {
      const int count = static_cast<int>(n - begin < kThreads ? n - begin : kThreads);
      for (int j = 0; j < count; ++j) total += shared[j];
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) *sum = total;
}

constexpr int kCountThreads = static_cast<int>(kRowsOfBlock) * 32;

// The sum over the threads of a block of kCountThreads, for thread 0. shared: kRowsOfBlock int64.
__device__ __forceinline__ int64_t sum_of_block(int64_t value, int64_t* shared) {
#pragma unroll
  for (int half = 16; half > 0; half /= 2) value += __shfl_xor_sync(kWarp, value, half);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  int64_t sum = 0;
  if (threadIdx.x == 0) {
    for (int w = 0; w < static_cast<int>(kRowsOfBlock); ++w) sum += shared[w];
  }
  return sum;
}

// A warp counts who is ahead of its row's label.
template <class T>
__global__ void __launch_bounds__(kCountThreads)
    top_k_kernel(const T* scores, const int64_t* labels, int64_t rows, int64_t classes, int64_t k, int64_t* counts) {
  using C = Computed<T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t row = blockIdx.x * kRowsOfBlock + threadIdx.x / 32;
  int64_t ahead = 0, right_is_number = 0;
  if (row < rows) {
    const T* x = scores + row * classes;
    const int64_t own = labels[row];
    const bool known = own >= 0 && own < classes;
    const C right = known ? static_cast<C>(x[own]) : C{0};
    right_is_number = known && right == right;
    for (int64_t c = lane; c < classes; c += 32) {
      const C score = static_cast<C>(x[c]);
      if (right_is_number == 0 && k == 0) {
        // NumPy's argmax finds the first NaN.
        ahead += score != score && c < own;
      } else {
        ahead += !(score <= right) || (score == right && c < own);
      }
    }
    if (!known) ahead += classes;
    if (k == 0) right_is_number = known;
  }
#pragma unroll
  for (int half = 16; half > 0; half /= 2) ahead += __shfl_xor_sync(kWarp, ahead, half);
  const int64_t most = k > 0 ? k : 1;
  const int64_t found = lane == 0 && row < rows && right_is_number != 0 && ahead < most;
  const int64_t sum = sum_of_block(found, shared_memory<int64_t>());
  if (threadIdx.x == 0) counts[blockIdx.x] = sum;
}

template <class T, class C = Computed<T>>
__global__ void __launch_bounds__(kCountThreads)
    binary_kernel(const T* output, const C* target, int64_t n, C edge, int64_t* counts) {
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kElementsOfBlock;
  int64_t found = 0;
  for (int64_t i = begin + threadIdx.x; i < n && i < begin + kElementsOfBlock; i += kCountThreads) {
    const C value = static_cast<C>(output[i]);
    found += (value > edge) == (target[i] > C{0.5}) && value == value;
  }
  const int64_t sum = sum_of_block(found, shared_memory<int64_t>());
  if (threadIdx.x == 0) counts[blockIdx.x] = sum;
}

// --- The penalty.

constexpr int kMostWeights = 64;  // of one launch, whose table is a parameter

template <class T>
struct Weights {
  const T* weights[kMostWeights];
  T* gradients[kMostWeights];
  int64_t sizes[kMostWeights];
  unsigned first_block[kMostWeights + 1];
  int count;
};

// parts[first + b]: the sum of squares of a chunk, in the order of terms_kernel.
template <class T>
__global__ void __launch_bounds__(kThreads) penalty_kernel(const Weights<T> table, T l2, double* parts) {
  int low = 0, high = table.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (table.first_block[middle] <= blockIdx.x ? low : high) = middle;
  }
  const T* weight = table.weights[low];
  T* gradient = table.gradients[low];
  const int64_t n = table.sizes[low];
  const int64_t begin = (blockIdx.x - table.first_block[low]) * kLossChunk;
  const int64_t end = begin + kLossChunk < n ? begin + kLossChunk : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const T w = weight[i];
    gradient[i] = gradient[i] + l2 * w;
    sum += static_cast<double>(w) * static_cast<double>(w);
  }
  sum = fold_lanes(sum, shared_memory<double>());
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// A thread for each weight adds its chunks.
template <class T>
__global__ void __launch_bounds__(kMostWeights)
    squares_kernel(const Weights<T> table, const double* parts, double* squares) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= table.count) return;
  double sum = 0;
  for (unsigned b = table.first_block[i]; b < table.first_block[i + 1]; ++b) sum += parts[b];
  squares[i] = sum;
}

template <class T>
void penalty_of(const std::vector<Tensor>& weights, const std::vector<Tensor>& gradients, double l2,
                const Tensor& squares) {
  for (size_t first = 0; first < weights.size(); first += kMostWeights) {
    Weights<T> table{};
    unsigned blocks = 0;
    for (size_t i = first; i < weights.size() && table.count < kMostWeights; ++i) {
      table.weights[table.count] = weights[i].data<T>();
      table.gradients[table.count] = gradients[i].data<T>();
      table.sizes[table.count] = weights[i].size();
      table.first_block[table.count++] = blocks;
      blocks += static_cast<unsigned>(ceil_div(weights[i].size(), kLossChunk));
    }
    table.first_block[table.count] = blocks;
    const Tensor parts = Tensor::empty({static_cast<int64_t>(blocks)}, DType::float64, Device::cuda);
    if (blocks > 0) {
      SIXLOOP_LAUNCH(penalty_kernel<T>, blocks, kThreads, kThreads * sizeof(double), current_stream(), table,
                     static_cast<T>(l2), parts.data<double>());
    }
    SIXLOOP_LAUNCH(squares_kernel<T>, 1, kMostWeights, 0, current_stream(), table, parts.data<double>(),
                   squares.data<double>() + first);
  }
}

// --- The record.

__global__ void record_kernel(double* record, double lr, double root, double shrink, double step) {
  record[kRecordNumbers] = lr;
  record[kRecordNumbers + 1] = root;
  record[kRecordNumbers + 2] = shrink;
  record[kRecordStep] = step;
}

struct Batch {
  const double* sums[kMostLosses];
  double divisors[kMostLosses];
  double factors[kMostLosses];
  int losses;
  const int64_t* counts[kMostCounts];
  int64_t sizes[kMostCounts];
  int count;
  const double* squares;
  int64_t weights;
  double half_l2, samples;
  bool stops;
};

// One block. shared: kRowsOfBlock int64.
__global__ void __launch_bounds__(kCountThreads) batch_kernel(const Batch batch, double* record) {
  const bool goes = record[kRecordGoes] != 0;
  double loss = 0;
  for (int i = 0; i < batch.losses; ++i) {
    const double mean = *batch.sums[i] / batch.divisors[i];
    loss = i == 0 ? mean : loss + batch.factors[i] * mean;
  }
  // Every thread has it; whether it is finite decides for all of them.
  const bool finite = !batch.stops || loss - loss == 0;
  for (int i = 0; i < batch.count; ++i) {
    int64_t found = 0;
    for (int64_t j = threadIdx.x; j < batch.sizes[i]; j += kCountThreads) found += batch.counts[i][j];
    const int64_t sum = sum_of_block(found, shared_memory<int64_t>());
    if (threadIdx.x == 0 && goes && finite) record[kRecordCounts + i] += static_cast<double>(sum);
    __syncthreads();
  }
  if (threadIdx.x > 0 || !goes) return;
  if (!finite) {
    record[kRecordGoes] = 0;
    record[kRecordFailedStep] = record[kRecordStep];
    record[kRecordFailedLoss] = loss;
    return;
  }
  if (batch.squares != nullptr) {
    double total = 0;
    for (int64_t i = 0; i < batch.weights; ++i) total += batch.squares[i];
    loss += batch.half_l2 * total;
  }
  record[kRecordLoss] = loss;
  record[kRecordTotal] += loss * batch.samples;
}

}  // namespace

void loss_terms(Terms terms, const Tensor& output, const Tensor& target, double margin, const Tensor& gradient,
                const Tensor& parts) {
  const int64_t n = output.size();
  const auto blocks = static_cast<unsigned>(parts.size());
  const auto run = [&](const auto& loss) {
    SIXLOOP_LAUNCH(terms_kernel<std::decay_t<decltype(loss)>>, blocks, kThreads, kThreads * sizeof(double),
                   current_stream(), loss, n, parts.data<double>());
  };
  dispatch_stored(output.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    const T* const z = output.data<T>();
    T* const dz = gradient.data<T>();
    switch (terms) {
      case Terms::squared_error:
        return run(SquaredError<T>{z, target.data<C>(), dz, static_cast<C>(n)});
      case Terms::binary_cross_entropy:
        return run(BinaryCrossEntropy<T>{z, target.data<C>(), dz, static_cast<C>(n)});
      case Terms::hinge:
        return run(Hinge<T>{z, target.data<int64_t>(), dz, static_cast<C>(margin), static_cast<C>(target.size()),
                            n / target.size()});
    }
  });
}

void add_in_order(const Tensor& parts, const Tensor& sum) {
  SIXLOOP_LAUNCH(in_order_kernel, 1, kThreads, kThreads * sizeof(double), current_stream(), parts.data<double>(),
                 parts.size(), sum.data<double>());
}

void count_top_k(const Tensor& scores, const Tensor& labels, int64_t k, const Tensor& counts) {
  dispatch_stored(scores.dtype(), [&](auto t) {
    using T = decltype(t);
    SIXLOOP_LAUNCH(top_k_kernel<T>, static_cast<unsigned>(counts.size()), kCountThreads, kRowsOfBlock * sizeof(int64_t),
                   current_stream(), scores.data<T>(), labels.data<int64_t>(), labels.size(),
                   scores.size() / labels.size(), k, counts.data<int64_t>());
  });
}

void count_binary(const Tensor& output, const Tensor& target, double edge, const Tensor& counts) {
  dispatch_stored(output.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    SIXLOOP_LAUNCH(binary_kernel<T>, static_cast<unsigned>(counts.size()), kCountThreads,
                   kRowsOfBlock * sizeof(int64_t), current_stream(), output.data<T>(), target.data<C>(), output.size(),
                   static_cast<C>(edge), counts.data<int64_t>());
  });
}

void add_penalty(const std::vector<Tensor>& weights, const std::vector<Tensor>& gradients, double l2,
                 const Tensor& squares) {
  dispatch_floating(weights[0].dtype(), [&](auto t) { penalty_of<decltype(t)>(weights, gradients, l2, squares); });
}

void set_record(const Tensor& record, double lr, double root, double shrink, int64_t step) {
  SIXLOOP_LAUNCH(record_kernel, 1, 1, 0, current_stream(), record.data<double>(), lr, root, shrink,
                 static_cast<double>(step));
}

void end_batch(const Tensor& record, const std::vector<Tensor>& sums, const std::vector<double>& divisors,
               const std::vector<double>& factors, const std::vector<Tensor>& counts, const Tensor* squares, double l2,
               int64_t samples, bool stops) {
  Batch batch{};
  for (size_t i = 0; i < sums.size(); ++i) {
    batch.sums[i] = sums[i].data<double>();
    batch.divisors[i] = divisors[i];
    batch.factors[i] = factors[i];
  }
  batch.losses = static_cast<int>(sums.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    batch.counts[i] = counts[i].data<int64_t>();
    batch.sizes[i] = counts[i].size();
  }
  batch.count = static_cast<int>(counts.size());
  if (squares != nullptr) {
    batch.squares = squares->data<double>();
    batch.weights = squares->size();
  }
  batch.half_l2 = 0.5 * l2;
  batch.samples = static_cast<double>(samples);
  batch.stops = stops;
  SIXLOOP_LAUNCH(batch_kernel, 1, kCountThreads, kRowsOfBlock * sizeof(int64_t), current_stream(), batch,
                 record.data<double>());
}

}  // namespace sixloop::cuda
