#include "elementwise/simt.h"

#include "cuda/parts.h"
#include "elementwise/kernels-inl.h"

namespace sixloop::cuda {
namespace {

// Function is one of the activations of kernels-inl.h over a single lane; T is what is computed in.
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
  dispatch_stored(
      dtype, [&](auto t) { with_activation<Lane<decltype(t)>>(activation, [&](auto function) { f(t, function); }); });
}

// y = activation(x + b), b along rows of `columns` elements. A thread has a pack of elements; kWhole: of one row, and b
// is loaded in packs, too.
template <class T, class B, bool kWhole, class Function>
__global__ void __launch_bounds__(kMapThreads)
    bias_kernel(const T* x, const B* b, T* y, int64_t n, int64_t columns, bool small, bool packs, Computed<T> alpha) {
  constexpr int N = Pack<T>::N;
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kMapThreads + threadIdx.x) * N;
  if (i >= n) return;
  // Remainders of 32 bits are several times cheaper.
  int64_t c = small ? static_cast<int64_t>(static_cast<uint32_t>(i) % static_cast<uint32_t>(columns)) : i % columns;
  const auto value = [&](T v, B bias) { return static_cast<T>(Function::value({v + bias}, {alpha}).v); };
  if (packs && i + N <= n) {
    const Pack<T> in = load_pack(x + i);
    Elements<B, N> bias;
    if constexpr (kWhole) {
      bias = load_elements<N>(b + c);
    } else {
#pragma unroll
      for (int j = 0; j < N; ++j) {
        bias[j] = b[c];
        c = c + 1 == columns ? 0 : c + 1;
      }
    }
    Pack<T> out;
#pragma unroll
    for (int j = 0; j < N; ++j) out.v[j] = value(in.v[j], bias[j]);
    store_pack(out, y + i);
  } else {
    for (int64_t j = i; j < n && j < i + N; ++j) {
      y[j] = value(x[j], b[c]);
      c = c + 1 == columns ? 0 : c + 1;
    }
  }
}

}  // namespace

void add(const Tensor& a, const Tensor& b, Activation activation, const Tensor& y) {
  with_function(y.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    using C = Computed<T>;
    map(Sum<C, decltype(function)>{C(default_alpha(activation))}, y.data<T>(), y.size(),
        static_cast<const T*>(a.data<T>()), static_cast<const T*>(b.data<T>()));
  });
}

void bias_add(const Tensor& x, const Tensor& b, Activation activation, const Tensor& y) {
  const int64_t n = y.size(), columns = b.size();
  with_function(y.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    const auto launch = [&](const auto* bias) {
      using B = std::remove_const_t<std::remove_pointer_t<decltype(bias)>>;
      const bool whole = columns % Pack<T>::N == 0 && aligned_for_packs(bias);
      const auto kernel =
          whole ? bias_kernel<T, B, true, decltype(function)> : bias_kernel<T, B, false, decltype(function)>;
      SIXLOOP_LAUNCH(kernel, static_cast<unsigned>(ceil_div(n, int64_t{kMapThreads} * Pack<T>::N)), kMapThreads, 0,
                     current_stream(), x.data<T>(), bias, y.data<T>(), n, columns, n <= INT32_MAX,
                     aligned_for_packs(x.data<T>(), y.data<T>()), static_cast<Computed<T>>(default_alpha(activation)));
    };
    if constexpr (std::is_same_v<T, BFloat16>) {
      if (b.dtype() == DType::float32) return launch(static_cast<const float*>(b.data<float>()));
    }
    launch(static_cast<const T*>(b.data<T>()));
  });
}

void scale(const Tensor& x, double s, const Tensor& y) {
  dispatch_stored(y.dtype(), [&](auto t) {
    using T = decltype(t);
    using C = Computed<T>;
    map(Product<C>{static_cast<C>(s)}, y.data<T>(), y.size(), static_cast<const T*>(x.data<T>()));
  });
}

void activate(const Tensor& x, Activation activation, double alpha, const Tensor& y) {
  with_function(y.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    using C = Computed<T>;
    map(Value<C, decltype(function)>{static_cast<C>(alpha)}, y.data<T>(), y.size(), static_cast<const T*>(x.data<T>()));
  });
}

void activate_grad(const Tensor& dy, const Tensor& x, Activation activation, double alpha, const Tensor& dx) {
  with_function(dx.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    using C = Computed<T>;
    map(Gradient<C, decltype(function)>{static_cast<C>(alpha)}, dx.data<T>(), dx.size(),
        static_cast<const T*>(dy.data<T>()), static_cast<const T*>(x.data<T>()));
  });
}

void activate_grad_of(const Tensor& dy, const Tensor& y, Activation activation, const Tensor& dz) {
  with_function(dz.dtype(), activation, [&](auto t, auto function) {
    using T = decltype(t);
    using V = Lane<T>;
    using Function = decltype(function);
    if constexpr (requires(V v) { Function::gradient_of(v, v); }) {
      map(GradientOf<Computed<T>, Function>{}, dz.data<T>(), dz.size(), static_cast<const T*>(dy.data<T>()),
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

}  // namespace sixloop::cuda
