#include "pool2d/simt.h"

#include "base/error.h"
#include "cuda/parts.h"
#include "pool2d/kernels-inl.h"

namespace sixloop::cuda {
namespace {

constexpr int kThreads = 256;
// Blocks on a processor, which leave 128 registers to a thread: without the hint ptxas takes 80 and spills around the
// divisions of float64.
constexpr int kBlocks = 2;

// Threads are numbered in 32 bits, whose divisions are cheap: within groups of images, gridDim.y of them.
struct Grid {
  unsigned blocks, groups;
  int64_t images;  // of a group

  Grid(const Tensor& t, int width) {
    constexpr int64_t kMost = int64_t{1} << 31;
    const int64_t n = t.shape()[0], parts = t.size() / n / width;
    if (parts > kMost) {
      throw NotImplemented(
          message("[cuda] pooling takes images of at most ", kMost * width, " elements; got shape ", t.shape()));
    }
    images = parts * n <= kMost ? n : kMost / parts;
    blocks = blocks_for(images * parts, kThreads);
    groups = static_cast<unsigned>(ceil_div(n, images));
  }
  dim3 dim() const { return {blocks, groups}; }
};

// Where a thread's channels begin.
struct Place {
  int64_t image, row, column, channel;
};

// The thread's W channels of a pixel of [n, rows, columns, channels]; false beyond the last one.
template <int W>
__device__ __forceinline__ bool find_place(int64_t images, int64_t n, int64_t rows, int64_t columns, int64_t channels,
                                           Place* place) {
  const unsigned parts = static_cast<unsigned>(channels / W), number = blockIdx.x * kThreads + threadIdx.x;
  const unsigned pixel = number / parts, line = pixel / static_cast<unsigned>(columns);
  const unsigned image = line / static_cast<unsigned>(rows);
  place->channel = (number - pixel * parts) * W;
  place->column = pixel - line * static_cast<unsigned>(columns);
  place->row = line - image * static_cast<unsigned>(rows);
  place->image = blockIdx.y * images + image;
  return image < images && place->image < n;
}

// As cover() and covering() of kernels-inl.h. Sizes, strides and paddings are below 2^31, so the numerators fit into
// 32 bits.
struct Inside {
  Cover rows, cols;
};
template <class Args>
__device__ __forceinline__ Inside inside_of(const Args& a, int64_t i, int64_t j) {
  const Window& window = a.window;
  return {cover(i, window.stride_h, window.pad_top, window.kh, a.h),
          cover(j, window.stride_w, window.pad_left, window.kw, a.w)};
}
__device__ __forceinline__ Cover windows_of(int64_t cell, int64_t stride, int64_t before, int64_t k, int64_t outputs) {
  const auto divisor = static_cast<unsigned>(stride);
  const int64_t first = cell + before - k + 1;
  const int64_t begin = first <= 0 ? 0 : (static_cast<unsigned>(first) - 1) / divisor + 1;
  return {begin, smaller(static_cast<unsigned>(cell + before) / divisor + int64_t{1}, outputs)};
}

// Folds' results. The quotient has the bits of SumFold::result, which saves cycles of the CPU.
template <class V>
__device__ __forceinline__ V result_of(const MaxFold<V>& fold, int64_t) {
  return fold.result(0);
}
template <class V>
__device__ __forceinline__ V result_of(const SumFold<V>& fold, int64_t cells) {
  return fold.sum / V::set1(static_cast<typename V::T>(cells));
}

template <template <class> class Fold, class T, int W>
__global__ void __launch_bounds__(kThreads, kBlocks) fold_kernel(PoolArgs<T> a, int64_t images) {
  using F = Fold<Lane<T>>;
  Place p;
  if (!find_place<W>(images, a.n, a.oh, a.ow, a.c, &p)) return;
  const Inside in = inside_of(a, p.row, p.column);
  const T* const x = a.x + p.image * a.h * a.w * a.c + p.channel;
  F total[W];
  for (int64_t h = in.rows.begin; h < in.rows.end; ++h) {
    F row[W];
    for (int64_t w = in.cols.begin; w < in.cols.end; ++w) {
      const Part<T, W> cell = load<W>(x + (h * a.w + w) * a.c);
#pragma unroll
      for (int m = 0; m < W; ++m) {
        if (w == in.cols.begin) {
          row[m] = F::of({cell.v[m]});
        } else {
          row[m].join(F::of({cell.v[m]}));
        }
      }
    }
#pragma unroll
    for (int m = 0; m < W; ++m) {
      if (h == in.rows.begin) {
        total[m] = row[m];
      } else {
        total[m].join(row[m]);
      }
    }
  }
  const int64_t cells = (in.rows.end - in.rows.begin) * (in.cols.end - in.cols.begin);
  Part<T, W> out;
#pragma unroll
  for (int m = 0; m < W; ++m) out.v[m] = static_cast<T>(result_of(total[m], cells).v);
  store(out, a.y + ((p.image * a.oh + p.row) * a.ow + p.column) * a.c + p.channel);
}

// The maxima of window (i, j) of W channels, x being the image from the first of them on.
template <int W, class Args, class T>
__device__ __forceinline__ void find_maxima(const Args& a, const T* x, int64_t i, int64_t j, ArgMax<Lane<T>>* arg) {
  using V = Lane<T>;
  const Inside in = inside_of(a, i, j);
  // The number of a cell (h, w) of the image in this window is h * kw + w - origin.
  const int64_t origin =
      (i * a.window.stride_h - a.window.pad_top) * a.window.kw + j * a.window.stride_w - a.window.pad_left;
  for (int64_t h = in.rows.begin; h < in.rows.end; ++h) {
    V number = V::set1(static_cast<Computed<T>>(h * a.window.kw + in.cols.begin - origin));
    for (int64_t w = in.cols.begin; w < in.cols.end; ++w) {
      const Part<T, W> cell = load<W>(x + (h * a.w + w) * a.c);
#pragma unroll
      for (int m = 0; m < W; ++m) {
        if (h == in.rows.begin && w == in.cols.begin) {
          arg[m] = {{cell.v[m]}, number};
        } else {
          arg[m].join({cell.v[m]}, number);
        }
      }
      number = number + V::set1(1);
    }
  }
}

// y: null where the numbers alone are asked for.
template <class T, int W, class Number, class Args>
__global__ void __launch_bounds__(kThreads, kBlocks) maxima_kernel(Args a, T* y, Number* numbers, int64_t images) {
  using V = Lane<T>;
  Place p;
  if (!find_place<W>(images, a.n, a.oh, a.ow, a.c, &p)) return;
  ArgMax<V> arg[W];
  find_maxima<W>(a, a.x + p.image * a.h * a.w * a.c + p.channel, p.row, p.column, arg);
  const int64_t at = ((p.image * a.oh + p.row) * a.ow + p.column) * a.c + p.channel;
  Part<Number, W> number;
#pragma unroll
  for (int m = 0; m < W; ++m) number.v[m] = static_cast<Number>(arg[m].index.v);
  store(number, numbers + at);
  if (y == nullptr) return;
  Part<T, W> best;
#pragma unroll
  for (int m = 0; m < W; ++m) best.v[m] = static_cast<T>(arg[m].best.v);
  store(best, y + at);
}

// Windows that tile the image: a thread writes the cells of one.
template <class T, int W, bool kIndexed>
__global__ void __launch_bounds__(kThreads, kBlocks) max_grad_tiles_kernel(PoolGradArgs<T> a, int64_t images) {
  using V = Lane<T>;
  Place p;
  if (!find_place<W>(images, a.n, a.oh, a.ow, a.c, &p)) return;
  const int64_t output = ((p.image * a.oh + p.row) * a.ow + p.column) * a.c + p.channel;
  int index[W];
  if constexpr (kIndexed) {
    const Part<uint8_t, W> numbers = load<W>(a.indices + output);
#pragma unroll
    for (int m = 0; m < W; ++m) index[m] = numbers.v[m];
  } else {
    ArgMax<V> arg[W];
    find_maxima<W>(a, a.x + p.image * a.h * a.w * a.c + p.channel, p.row, p.column, arg);
#pragma unroll
    for (int m = 0; m < W; ++m) index[m] = static_cast<int>(arg[m].index.v);
  }
  const Part<T, W> g = load<W>(a.dy + output);
  const int64_t row = p.image * a.h + p.row * a.window.kh, column = p.column * a.window.kw;
  int number = 0;
  for (int64_t r = 0; r < a.window.kh; ++r) {
    T* const dx = a.dx + ((row + r) * a.w + column) * a.c + p.channel;
    for (int64_t s = 0; s < a.window.kw; ++s) {
      Part<T, W> out;
#pragma unroll
      for (int m = 0; m < W; ++m) out.v[m] = index[m] == number ? g.v[m] : T{};
      store(out, dx + s * a.c);
      ++number;
    }
  }
}

// What of dy reaches a cell, from the windows that contain it in row-major order. share(output, i, j, number) is that
// of the windows' part at `output`, in which the cell has that number.
template <class T, int W, class Share>
__device__ __forceinline__ void gather(const PoolGradArgs<T>& a, const Place& p, bool tiles, const Share& share) {
  using V = Lane<T>;
  const Window& window = a.window;
  const Cover rows = windows_of(p.row, window.stride_h, window.pad_top, window.kh, a.oh);
  const Cover cols = windows_of(p.column, window.stride_w, window.pad_left, window.kw, a.ow);
  V sum[W];
#pragma unroll
  for (int m = 0; m < W; ++m) sum[m] = V::zero();
#pragma unroll 1
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    const int64_t row_number = (p.row + window.pad_top - i * window.stride_h) * window.kw;
#pragma unroll 1
    for (int64_t j = cols.begin; j < cols.end; ++j) {
      const int64_t output = ((p.image * a.oh + i) * a.ow + j) * a.c + p.channel;
      const Elements<Computed<T>, W> part =
          share(output, i, j, row_number + p.column + window.pad_left - j * window.stride_w);
      // A share that is the only one keeps the sign of its zero.
#pragma unroll
      for (int m = 0; m < W; ++m) sum[m] = tiles ? V{part[m]} : sum[m] + V{part[m]};
    }
  }
  Part<T, W> out;
#pragma unroll
  for (int m = 0; m < W; ++m) out.v[m] = static_cast<T>(sum[m].v);
  store(out, a.dx + ((p.image * a.h + p.row) * a.w + p.column) * a.c + p.channel);
}

template <class T, int W, class Number>
__global__ void __launch_bounds__(kThreads, kBlocks)
    max_gather_kernel(PoolGradArgs<T> a, const Number* numbers, int64_t images) {
  Place p;
  if (!find_place<W>(images, a.n, a.h, a.w, a.c, &p)) return;
  gather<T, W>(a, p, false, [&](int64_t output, int64_t, int64_t, int64_t number) {
    const Part<Number, W> chosen = load<W>(numbers + output);
    const Part<T, W> g = load<W>(a.dy + output);
    Elements<Computed<T>, W> part;
#pragma unroll
    for (int m = 0; m < W; ++m) part[m] = chosen.v[m] == number ? g.v[m] : T{};
    return part;
  });
}

template <class T, int W>
__global__ void __launch_bounds__(kThreads, kBlocks) avg_gather_kernel(PoolGradArgs<T> a, bool tiles, int64_t images) {
  using V = Lane<T>;
  Place p;
  if (!find_place<W>(images, a.n, a.h, a.w, a.c, &p)) return;
  gather<T, W>(a, p, tiles, [&](int64_t output, int64_t i, int64_t j, int64_t) {
    const Inside in = inside_of(a, i, j);
    const int64_t cells = (in.rows.end - in.rows.begin) * (in.cols.end - in.cols.begin);
    const Part<T, W> g = load<W>(a.dy + output);
    Elements<Computed<T>, W> part;
#pragma unroll
    for (int m = 0; m < W; ++m) part[m] = result_of(SumFold<V>{{g.v[m]}}, cells).v;
    return part;
  });
}

template <class T>
PoolArgs<T> pool_args(const Tensor& x, const Window& window, const Tensor& y) {
  const Shape& in = x.shape();
  return {x.data<T>(), y.data<T>(), in[0], in[1], in[2], in[3], y.shape()[1], y.shape()[2], window};
}

template <class T>
PoolGradArgs<T> grad_args(const Tensor& dy, const Window& window, const Tensor& dx) {
  PoolGradArgs<T> args{};
  args.dy = dy.data<T>();
  args.dx = dx.data<T>();
  args.n = dx.shape()[0], args.h = dx.shape()[1], args.w = dx.shape()[2], args.c = dx.shape()[3];
  args.oh = dy.shape()[1], args.ow = dy.shape()[2];
  args.window = window;
  return args;
}

template <class T, class... P>
bool pixels_of_packs(int64_t channels, const P*... p) {
  return channels % Pack<T>::N == 0 && aligned_for_packs(p...);
}

template <template <class> class Fold>
void fold(const Tensor& x, const Window& window, const Tensor& y) {
  dispatch_stored(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const PoolArgs<T> args = pool_args<T>(x, window, y);
    with_width<T>(pixels_of_packs<T>(args.c, args.x, args.y), [&](auto width) {
      constexpr int W = decltype(width)::value;
      const Grid grid(y, W);
      SIXLOOP_LAUNCH((fold_kernel<Fold, T, W>), grid.dim(), kThreads, 0, current_stream(), args, grid.images);
    });
  });
}

// From x, by the numbers of the maxima: a pass over the windows and one over the cells.
template <class Number, class T>
void max_grad_in_two(const PoolGradArgs<T>& args, const Tensor& dy, const Tensor& dx, bool packs, Number* numbers) {
  with_width<T>(packs, [&](auto width) {
    constexpr int W = decltype(width)::value;
    if (args.indices == nullptr) {
      const Grid grid(dy, W);
      SIXLOOP_LAUNCH((maxima_kernel<T, W, Number, PoolGradArgs<T>>), grid.dim(), kThreads, 0, current_stream(), args,
                     nullptr, numbers, grid.images);
    }
    const Grid grid(dx, W);
    SIXLOOP_LAUNCH((max_gather_kernel<T, W, Number>), grid.dim(), kThreads, 0, current_stream(), args, numbers,
                   grid.images);
  });
}

}  // namespace

void max_pool2d(const Tensor& x, const Window& window, const Tensor& y, const Tensor* indices) {
  if (indices == nullptr) return fold<MaxFold>(x, window, y);
  dispatch_stored(x.dtype(), [&](auto t) {
    using T = decltype(t);
    const PoolArgs<T> args = pool_args<T>(x, window, y);
    with_width<T>(pixels_of_packs<T>(args.c, args.x, args.y), [&](auto width) {
      constexpr int W = decltype(width)::value;
      const Grid grid(y, W);
      SIXLOOP_LAUNCH((maxima_kernel<T, W, uint8_t, PoolArgs<T>>), grid.dim(), kThreads, 0, current_stream(), args,
                     args.y, indices->data<uint8_t>(), grid.images);
    });
  });
}

void avg_pool2d(const Tensor& x, const Window& window, const Tensor& y) { fold<SumFold>(x, window, y); }

void max_pool2d_grad(const Tensor& dy, const Tensor* x, const Tensor* indices, const Window& window, const Tensor& dx) {
  dispatch_stored(dy.dtype(), [&](auto t) {
    using T = decltype(t);
    PoolGradArgs<T> args = grad_args<T>(dy, window, dx);
    args.x = x != nullptr ? x->data<T>() : nullptr;
    args.indices = indices != nullptr ? indices->data<uint8_t>() : nullptr;
    const bool packs = pixels_of_packs<T>(args.c, args.dy, args.x, args.dx, args.indices);
    if (tiles_image(window)) {
      const bool covered = args.oh * window.kh == args.h && args.ow * window.kw == args.w;
      if (!covered) zero_on_cuda(dx.raw(), static_cast<size_t>(dx.bytes()));
      with_width<T>(packs, [&](auto width) {
        constexpr int W = decltype(width)::value;
        const auto kernel = indices != nullptr ? max_grad_tiles_kernel<T, W, true> : max_grad_tiles_kernel<T, W, false>;
        const Grid grid(dy, W);
        SIXLOOP_LAUNCH(kernel, grid.dim(), kThreads, 0, current_stream(), args, grid.images);
      });
    } else if (indices != nullptr) {
      max_grad_in_two(args, dy, dx, packs, indices->data<uint8_t>());
    } else if (window.kh * window.kw <= 256) {
      const Tensor numbers = Tensor::empty(dy.shape(), DType::uint8, Device::cuda);
      max_grad_in_two(args, dy, dx, packs, numbers.data<uint8_t>());
    } else {
      const Tensor numbers = Tensor::empty(dy.shape(), DType::int32, Device::cuda);
      max_grad_in_two(args, dy, dx, packs, numbers.data<int32_t>());
    }
  });
}

void avg_pool2d_grad(const Tensor& dy, const Window& window, const Tensor& dx) {
  dispatch_stored(dy.dtype(), [&](auto t) {
    using T = decltype(t);
    const PoolGradArgs<T> args = grad_args<T>(dy, window, dx);
    with_width<T>(pixels_of_packs<T>(args.c, args.dy, args.dx), [&](auto width) {
      constexpr int W = decltype(width)::value;
      const Grid grid(dx, W);
      SIXLOOP_LAUNCH((avg_gather_kernel<T, W>), grid.dim(), kThreads, 0, current_stream(), args, tiles_image(window),
                     grid.images);
    });
  });
}

}  // namespace sixloop::cuda
