// Sums over all axes but the last.
#include "cuda/parts.h"
#include "elementwise/kernels-inl.h"
#include "elementwise/simt.h"

namespace sixloop::cuda {
namespace {

constexpr int kSumThreads = 128;

// Where the terms of a sum come from: W neighbouring ones.
template <class T>
struct Terms {
  const T* z;
  template <int W>
  __device__ Elements<Computed<T>, W> at(int64_t i) const {
    const Part<T, W> part = load<W>(z + i);
    Elements<Computed<T>, W> terms;
#pragma unroll
    for (int j = 0; j < W; ++j) terms[j] = part.v[j];
    return terms;
  }
};

// They are the gradient of an activation, which is stored on the way.
template <class T, class Function>
struct GradientTerms {
  const T* dy;
  const T* y;
  T* dz;
  template <int W>
  __device__ Elements<Computed<T>, W> at(int64_t i) const {
    const Part<T, W> g = load<W>(dy + i), v = load<W>(y + i);
    Elements<Computed<T>, W> terms;
    Part<T, W> out;
#pragma unroll
    for (int j = 0; j < W; ++j) {
      terms[j] = Function::gradient_of({g.v[j]}, {v.v[j]}).v;
      out.v[j] = static_cast<T>(terms[j]);
    }
    store(out, dz + i);
    return terms;
  }
};

// sums[chunk][c] = terms[first row of the chunk][c] + ..., one thread for W columns of a chunk, one accumulator for
// each. After the chunks, of which there are cut.chunks, comes a row with the terms that are left over.
template <class C, int W, class Source>
__global__ void __launch_bounds__(kSumThreads) chunk_sum_kernel(Source source, SumCut cut, C* sums) {
  const int64_t parts = cut.columns / W;
  const int64_t chunk = thread_number() / parts, c = (thread_number() - chunk * parts) * W;
  if (chunk > cut.chunks) return;
  if (chunk == cut.chunks) {
    for (int j = 0; j < W; ++j) {
      const int64_t i = c + j;
      if (i < cut.rest) sums[chunk * cut.columns + i] = source.template at<1>(cut.rows * cut.columns + i)[0];
    }
    return;
  }
  const int64_t begin = chunk * cut.chunk_rows;
  const int64_t end = cut.rows < begin + cut.chunk_rows ? cut.rows : begin + cut.chunk_rows;
  Elements<C, W> s{};
#pragma unroll 4
  for (int64_t r = begin; r < end; ++r) {
    const Elements<C, W> terms = source.template at<W>(r * cut.columns + c);
#pragma unroll
    for (int j = 0; j < W; ++j) s[j] += terms[j];
  }
  store_elements(s, sums + chunk * cut.columns + c);
}

// Adds the upper half of n blocks, `step` elements apart, onto the lower half until one is left, as fold() of
// elementwise.cc does. A column's threads are the block's lines.
constexpr int kFoldColumns = 128, kFoldLines = 4;

template <class C>
__device__ __forceinline__ void fold(C* blocks, int n, int64_t step, bool inside) {
  const int line = static_cast<int>(threadIdx.x) / kFoldColumns;
  while (n > 1) {
    const int half = (n + 1) / 2, end = inside ? n - half : 0;
#pragma unroll 1
    for (int k = line; k < end; k += kFoldLines) blocks[k * step] += blocks[(k + half) * step];
    __syncthreads();
    n = half;
  }
}

// Chunks, then the row that was left over, then neighbouring rows: these share a vector of at most kFoldColumns
// columns, so that one block has them all. width: of such a row.
template <class C>
__global__ void __launch_bounds__(kFoldColumns* kFoldLines)
    fold_kernel(SumCut cut, int64_t width, int chunks, C* sums, C* result) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kFoldColumns + threadIdx.x % kFoldColumns;
  const bool first = threadIdx.x < kFoldColumns;
  fold(sums + c, chunks, cut.columns, c < cut.columns);
  if (first && c < cut.rest) sums[c] += sums[cut.chunks * cut.columns + c];
  __syncthreads();
  if (cut.group > 1) fold(sums + c, static_cast<int>(cut.group), width, c < width);
  if (first && c < width) result[c] = sums[c];
}

// From more chunks than this all processors fold.
constexpr int64_t kMostChunks = 256;

template <class C>
struct Plus {
  __device__ C operator()(int64_t, C a, C b) const { return a + b; }
};

template <class T, class Source>
void sum_columns(const Source& source, bool packs, const SumCut& cut, const Tensor& sum) {
  using C = Computed<T>;
  const Tensor partial = Tensor::empty({cut.chunks + 1, cut.columns}, sum.dtype(), Device::cuda);
  C* const sums = partial.data<C>();
  with_width<T>(packs && cut.columns % Pack<T>::N == 0, [&](auto width) {
    constexpr int W = decltype(width)::value;
    SIXLOOP_LAUNCH((chunk_sum_kernel<C, W, Source>), blocks_for((cut.chunks + 1) * (cut.columns / W), kSumThreads),
                   kSumThreads, 0, current_stream(), source, cut, sums);
  });
  int64_t chunks = cut.chunks;
  while (chunks > kMostChunks) {
    const int64_t half = (chunks + 1) / 2;
    map(Plus<C>{}, sums, (chunks - half) * cut.columns, static_cast<const C*>(sums),
        static_cast<const C*>(sums + half * cut.columns));
    chunks = half;
  }
  SIXLOOP_LAUNCH(fold_kernel<C>, blocks_for(cut.columns, kFoldColumns), kFoldColumns * kFoldLines, 0, current_stream(),
                 cut, cut.columns / cut.group, static_cast<int>(chunks), sums, sum.data<C>());
}

}  // namespace

void column_sums(const Tensor& z, const SumCut& cut, const Tensor& sum) {
  dispatch_stored(z.dtype(), [&](auto t) {
    using T = decltype(t);
    sum_columns<T>(Terms<T>{z.data<T>()}, aligned_for_packs(z.data<T>()), cut, sum);
  });
}

void activation_column_sums(const Tensor& dy, const Tensor& y, Activation activation, const Tensor& dz,
                            const SumCut& cut, const Tensor& sum) {
  dispatch_stored(dz.dtype(), [&](auto t) {
    using T = decltype(t);
    with_activation<Lane<T>>(activation, [&](auto function) {
      using V = Lane<T>;
      using Function = decltype(function);
      if constexpr (requires(V v) { Function::gradient_of(v, v); }) {
        const GradientTerms<T, Function> terms{dy.data<T>(), y.data<T>(), dz.data<T>()};
        sum_columns<T>(terms, aligned_for_packs(terms.dy, terms.y, terms.dz), cut, sum);
      }
    });
  });
}

}  // namespace sixloop::cuda
