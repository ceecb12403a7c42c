#include "elementwise/simt.h"

#include "cuda/map.h"
#include "elementwise/kernels-inl.h"

namespace sixloop::cuda {
namespace {

// Function is one of the activations of kernels-inl.h over a single lane.
template <class T, class Function>
struct Value {
  T alpha;
  __device__ T operator()(int64_t, T x) const { return Function::value({x}, {alpha}).v; }
};

template <class T, class Function>
struct Gradient {
  T alpha;
  __device__ T operator()(int64_t, T dy, T x) const { return Function::gradient({dy}, {x}, {alpha}).v; }
};

template <class T, class Function>
struct GradientOf {
  __device__ T operator()(int64_t, T dy, T y) const { return Function::gradient_of({dy}, {y}).v; }
};

template <class T, class Function>
struct Sum {
  T alpha;
  __device__ T operator()(int64_t, T a, T b) const { return Function::value({a + b}, {alpha}).v; }
};

template <class T, class Function>
struct BiasSum {
  T alpha;
  const T* b;
  int64_t columns;
  bool small;  // i fits into 32 bits, whose remainder is several times cheaper
  __device__ T operator()(int64_t i, T x) const {
    const int64_t c =
        small ? static_cast<int64_t>(static_cast<uint32_t>(i) % static_cast<uint32_t>(columns)) : i % columns;
    return Function::value({x + b[c]}, {alpha}).v;
  }
};

template <class T>
struct Product {
  T s;
  __device__ T operator()(int64_t, T x) const { return x * s; }
};

template <class T>
struct MovingAverage {
  T momentum, factor;
  __device__ T operator()(int64_t, T running, T value) const { return running * momentum + value * factor; }
};

// Calls f(T{}, function) with the dtype's type and the activation's struct.
template <class F>
void with_function(DType dtype, Activation activation, const F& f) {
  dispatch_floating(
      dtype, [&](auto t) { with_activation<Lane<decltype(t)>>(activation, [&](auto function) { f(t, function); }); });
}

constexpr int kSumThreads = 128;

// sum[chunk][c] = x[first row of the chunk][c] + ..., one thread and one accumulator for each.
template <class T>
__global__ void __launch_bounds__(kSumThreads)
    chunk_sum_kernel(const T* x, int64_t rows, int64_t columns, int64_t chunk_rows, T* sum) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kSumThreads + threadIdx.x;
  const int64_t chunk = blockIdx.y + static_cast<int64_t>(blockIdx.z) * gridDim.y;
  if (c >= columns || chunk * chunk_rows >= rows) return;
  const int64_t end = rows < (chunk + 1) * chunk_rows ? rows : (chunk + 1) * chunk_rows;
  T s = 0;
  for (int64_t r = chunk * chunk_rows; r < end; ++r) s += x[r * columns + c];
  sum[chunk * columns + c] = s;
}

// Adds n blocks of `width` elements into the first one, as fold() of elementwise.cc does.
template <class T>
void fold(T* blocks, int64_t n, int64_t width) {
  while (n > 1) {
    const int64_t half = (n + 1) / 2;
    map(Sum<T, Identity<Lane<T>>>{}, blocks, (n - half) * width, static_cast<const T*>(blocks),
        static_cast<const T*>(blocks + half * width));
    n = half;
  }
}

}  // namespace

void add(const Tensor& a, const Tensor& b, Activation activation, const Tensor& y) {
  with_function(y.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    map(Sum<T, decltype(function)>{T(default_alpha(activation))}, y.data<T>(), y.size(),
        static_cast<const T*>(a.data<T>()), static_cast<const T*>(b.data<T>()));
  });
}

void bias_add(const Tensor& x, const Tensor& b, Activation activation, const Tensor& y) {
  with_function(y.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    const bool small = y.size() <= INT32_MAX;
    map(BiasSum<T, decltype(function)>{T(default_alpha(activation)), b.data<T>(), b.size(), small}, y.data<T>(),
        y.size(), static_cast<const T*>(x.data<T>()));
  });
}

void scale(const Tensor& x, double s, const Tensor& y) {
  dispatch_floating(y.dtype(), [&](auto t) {
    using T = decltype(t);
    map(Product<T>{static_cast<T>(s)}, y.data<T>(), y.size(), static_cast<const T*>(x.data<T>()));
  });
}

void activate(const Tensor& x, Activation activation, double alpha, const Tensor& y) {
  with_function(y.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    map(Value<T, decltype(function)>{static_cast<T>(alpha)}, y.data<T>(), y.size(), static_cast<const T*>(x.data<T>()));
  });
}

void activate_grad(const Tensor& dy, const Tensor& x, Activation activation, double alpha, const Tensor& dx) {
  with_function(dx.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    map(Gradient<T, decltype(function)>{static_cast<T>(alpha)}, dx.data<T>(), dx.size(),
        static_cast<const T*>(dy.data<T>()), static_cast<const T*>(x.data<T>()));
  });
}

void activate_grad_of(const Tensor& dy, const Tensor& y, Activation activation, const Tensor& dz) {
  with_function(dz.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    using V = Lane<T>;
    using Function = decltype(function);
    if constexpr (requires(V v) { Function::gradient_of(v, v); }) {
      map(GradientOf<T, Function>{}, dz.data<T>(), dz.size(), static_cast<const T*>(dy.data<T>()),
          static_cast<const T*>(y.data<T>()));
    }
  });
}

void moving_average(const Tensor& running, const Tensor& value, double momentum, double factor) {
  dispatch_floating(running.dtype(), [&](auto t) {
    using T = decltype(t);
    map(MovingAverage<T>{static_cast<T>(momentum), static_cast<T>(factor)}, running.data<T>(), running.size(),
        static_cast<const T*>(running.data<T>()), static_cast<const T*>(value.data<T>()));
  });
}

void column_sums(const Tensor& z, const SumCut& cut, const Tensor& sum) {
  dispatch_floating(z.dtype(), [&](auto t) {
    using T = decltype(t);
    const Tensor partial = Tensor::zeros({cut.chunks, cut.columns}, z.dtype(), Device::cuda);
    T* const sums = partial.data<T>();
    const int64_t chunks = ceil_div(cut.rows, cut.chunk_rows);
    if (chunks > 0) {
      constexpr int64_t kMostY = 32768;
      const dim3 grid(static_cast<unsigned>(ceil_div(cut.columns, kSumThreads)),
                      static_cast<unsigned>(chunks < kMostY ? chunks : kMostY),
                      static_cast<unsigned>(ceil_div(chunks, kMostY)));
      SIXLOOP_LAUNCH(chunk_sum_kernel<T>, grid, kSumThreads, 0, current_stream(), z.data<T>(), cut.rows, cut.columns,
                     cut.chunk_rows, sums);
    }
    fold(sums, cut.chunks, cut.columns);
    map(Sum<T, Identity<Lane<T>>>{}, sums, cut.rest, static_cast<const T*>(sums),
        static_cast<const T*>(z.data<T>() + cut.rows * cut.columns));
    fold(sums, cut.group, cut.columns / cut.group);
    copy_bytes(sum.raw(), Device::cuda, sums, Device::cuda, static_cast<size_t>(sum.bytes()));
  });
}

}  // namespace sixloop::cuda
