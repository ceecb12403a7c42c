// Conversions between dtypes, of many arrays by one launch.
#include "cuda/map.h"
#include "elementwise/simt.h"

namespace sixloop::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kRuns = 4;         // of a thread, a block's width apart
constexpr int kMostArrays = 64;  // of a launch: their table is a parameter of the kernel, which may take 4 KB

template <class X, class T>
struct Conversion {
  const X* x;
  T* y;
  int64_t n;
  bool packs;
};

template <class X, class T>
struct Conversions {
  Conversion<X, T> arrays[kMostArrays];
  unsigned first_block[kMostArrays];  // blocks of all arrays before this one
  int count;
};

// Elements of a block.
template <class X, class T>
constexpr int64_t kChunk = int64_t{kThreads} * kRuns * kRun<X, T>;

template <class X, class T>
__global__ void __launch_bounds__(kThreads) convert_kernel(const Conversions<X, T> table) {
  constexpr int N = kRun<X, T>;
  // The last array that begins at or before this block.
  int low = 0, high = table.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (table.first_block[middle] <= blockIdx.x ? low : high) = middle;
  }
  const Conversion<X, T> c = table.arrays[low];
  const int64_t begin = (blockIdx.x - table.first_block[low]) * kChunk<X, T> + threadIdx.x * N;
#pragma unroll
  for (int k = 0; k < kRuns; ++k) {
    const int64_t i = begin + int64_t{k} * kThreads * N;
    if (c.packs && i + N <= c.n) {
      const Run<X, N> in = load_run<N>(c.x + i);
      Run<T, N> out;
#pragma unroll
      for (int j = 0; j < N; ++j) out[j] = static_cast<T>(static_cast<Computed<X>>(in[j]));
      store_run(out, c.y + i);
    } else {
      for (int64_t j = i; j < c.n && j < i + N; ++j) c.y[j] = static_cast<T>(static_cast<Computed<X>>(c.x[j]));
    }
  }
}

template <class X, class T>
void convert(const std::vector<Tensor>& xs, const std::vector<Tensor>& ys) {
  Conversions<X, T> table{};
  unsigned blocks = 0;
  const auto launch_table = [&] {
    if (table.count == 0) return;
    SIXLOOP_LAUNCH((convert_kernel<X, T>), blocks, kThreads, 0, current_stream(), table);
    table.count = 0;
    blocks = 0;
  };
  for (size_t i = 0; i < xs.size(); ++i) {
    if (xs[i].dtype() != DTypeOf<X>::value || ys[i].dtype() != DTypeOf<T>::value || xs[i].size() == 0) continue;
    if (table.count == kMostArrays) launch_table();
    const X* const x = xs[i].data<X>();
    T* const y = ys[i].data<T>();
    table.arrays[table.count] = {x, y, xs[i].size(), aligned_for_packs(x, y)};
    table.first_block[table.count++] = blocks;
    blocks += static_cast<unsigned>(ceil_div(xs[i].size(), kChunk<X, T>));
  }
  launch_table();
}

}  // namespace

void cast(const std::vector<Tensor>& xs, const std::vector<Tensor>& ys) {
  for (const DType from : {DType::float32, DType::float64, DType::bfloat16}) {
    for (const DType to : {DType::float32, DType::float64, DType::bfloat16}) {
      dispatch_stored(from,
                      [&](auto x) { dispatch_stored(to, [&](auto y) { convert<decltype(x), decltype(y)>(xs, ys); }); });
    }
  }
}

void cast(const Tensor& x, const Tensor& y) { cast(std::vector<Tensor>{x}, std::vector<Tensor>{y}); }

}  // namespace sixloop::cuda
