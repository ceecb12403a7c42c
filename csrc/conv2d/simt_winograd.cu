#include "conv2d/simt_algorithms.h"
#include "conv2d/winograd_lines-inl.h"
#include "conv2d/winograd_tiling.h"

namespace sixloop::cuda {
namespace {

constexpr int kThreads = 128;

unsigned blocks_for(int64_t threads) { return static_cast<unsigned>(ceil_div(threads, kThreads)); }
__device__ __forceinline__ int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }

// `line` over the columns of a kFrom x kFrom tile, then over the rows.
template <class V, int kFrom, int kTo, WinogradLine<V> line>
__device__ __forceinline__ void transform(const V (&from)[kFrom * kFrom], V (&to)[kTo * kTo]) {
  V half[kTo * kFrom];
#pragma unroll
  for (int j = 0; j < kFrom; ++j) line(from + j, kFrom, half + j, kFrom);
#pragma unroll
  for (int i = 0; i < kTo; ++i) line(half + i * kFrom, 1, to + i * kTo, 1);
}

// Where the tiles of a tiling lie on the images of an array [n, h, w, c], whose pixel (top, left) is their first one.
struct Squares {
  int64_t h, w, c;
  int64_t top, left;
  WinogradTiling tiling;
};

// The pixels of one tile, channel by channel.
struct Square {
  int64_t n, top, left;
  int rows, columns;  // outputs
  __device__ __forceinline__ Square(const Squares& s, int64_t tile) {
    const WinogradPlace at = s.tiling.place(tile);
    n = at.image;
    top = s.top + at.top;
    left = s.left + at.left;
    rows = static_cast<int>(at.rows);
    columns = static_cast<int>(at.columns);
  }
  // -1 outside the image.
  __device__ __forceinline__ int64_t offset(const Squares& s, int i, int j) const {
    const int64_t r = top + i, q = left + j;
    return r >= 0 && r < s.h && q >= 0 && q < s.w ? ((n * s.h + r) * s.w + q) * s.c : -1;
  }
};

// kTile-line over the columns of an edge's tile, or over its rows. What has no product is zero.
template <class V, int kTile, EdgeLine kLine, int kLines, int kNext, int kStep, int kToNext, int kToStep>
__device__ __forceinline__ void edge_lines(const V* from, V* to) {
#pragma unroll
  for (int i = 0; i < kLines; ++i) edge_line<V, kTile, kLine>(from + i * kNext, kStep, to + i * kToNext, kToStep);
}

template <class V, EdgeLine kLine, int kLines, int kNext, int kStep, int kToNext, int kToStep>
__device__ __forceinline__ void edge_lines(int tile, const V* from, V* to) {
  if (tile == 1) return edge_lines<V, 1, kLine, kLines, kNext, kStep, kToNext, kToStep>(from, to);
  if (tile == 2) return edge_lines<V, 2, kLine, kLines, kNext, kStep, kToNext, kToStep>(from, to);
  if (tile == 3) return edge_lines<V, 3, kLine, kLines, kNext, kStep, kToNext, kToStep>(from, to);
  edge_lines<V, 4, kLine, kLines, kNext, kStep, kToNext, kToStep>(from, to);
}

// The transform of a tile with square.rows x square.columns outputs; of products that it does not have, zeros.
template <class V, int kFrom, int kTo, EdgeLine kLine>
__device__ __forceinline__ void edge_transform(const Square& square, const V (&from)[kFrom * kFrom],
                                               V (&to)[kTo * kTo]) {
  V half[kTo * kFrom];
#pragma unroll
  for (int i = 0; i < kTo * kFrom; ++i) half[i] = V::zero();
#pragma unroll
  for (int i = 0; i < kTo * kTo; ++i) to[i] = V::zero();
  edge_lines<V, kLine, kFrom, 1, kFrom, 1, kFrom>(square.rows, from, half);
  edge_lines<V, kLine, kTo, kFrom, 1, kTo, 1>(square.columns, half, to);
}

// A whole tile, or one at an edge.
template <class V, int kTile, int kFrom, int kTo, WinogradLine<V> line, EdgeLine kLine>
__device__ __forceinline__ void transform(const Square& square, const V (&from)[kFrom * kFrom], V (&to)[kTo * kTo]) {
  if constexpr (kTile == 4) {
    if (square.rows < kTile || square.columns < kTile) return edge_transform<V, kFrom, kTo, kLine>(square, from, to);
  }
  transform<V, kFrom, kTo, line>(from, to);
}

// products[k][t][channel] from tiles [first, first + count) of x.
template <class T, int kTile, int kFrom, int kTo, WinogradLine<Lane<T>> line, EdgeLine kLine>
__global__ void __launch_bounds__(kThreads, 2)
    gather_kernel(const T* x, Squares squares, int64_t first, int64_t count, T* products) {
  using V = Lane<T>;
  const int64_t id = thread_number();
  const int64_t t = id / squares.c, channel = id % squares.c;
  if (t >= count) return;
  const Square square(squares, first + t);
  V from[kFrom * kFrom], to[kTo * kTo];
#pragma unroll
  for (int i = 0; i < kFrom * kFrom; ++i) {
    const int64_t offset = square.offset(squares, i / kFrom, i % kFrom);
    from[i] = V{offset >= 0 ? x[offset + channel] : T(0)};
  }
  transform<V, kTile, kFrom, kTo, line, kLine>(square, from, to);
#pragma unroll
  for (int k = 0; k < kTo * kTo; ++k) products[k * count * squares.c + id] = to[k].v;
}

// Tiles [first, first + count) of y from sums[k][t][channel].
template <class T, int kTile, int kFrom, WinogradLine<Lane<T>> line>
__global__ void __launch_bounds__(kThreads, 2)
    scatter_kernel(const T* sums, Squares squares, int64_t first, int64_t count, BiasRelu<T> epilogue, T* y) {
  using V = Lane<T>;
  const int64_t id = thread_number();
  const int64_t t = id / squares.c, channel = id % squares.c;
  if (t >= count) return;
  const Square square(squares, first + t);
  V from[kFrom * kFrom], to[kTile * kTile];
#pragma unroll
  for (int k = 0; k < kFrom * kFrom; ++k) from[k] = V{sums[k * count * squares.c + id]};
  transform<V, kTile, kFrom, kTile, line, EdgeLine::output>(square, from, to);
#pragma unroll
  for (int i = 0; i < kTile * kTile; ++i) {
    V value = to[i];
    if (epilogue.bias != nullptr) value = value + V{epilogue.bias[channel]};
    if (epilogue.relu) value = V::max(V::zero(), value);
    const int64_t offset = square.offset(squares, i / kTile, i % kTile);
    if (offset >= 0) y[offset + channel] = value.v;
  }
}

// products[k][i][j] of filters [kFrom * kFrom][.][.], whose element (tap, i, j) is
// w[tap * tap_step + i * i_step + j * j_step]; or the gradients of filters from those of products.
template <class T, int kFrom, int kTo, WinogradLine<Lane<T>> line>
__global__ void __launch_bounds__(kThreads, 2)
    filter_kernel(const T* w, int64_t tap_step, int64_t i_step, int64_t j_step, int64_t size, int64_t columns,
                  T* products) {
  using V = Lane<T>;
  const int64_t id = thread_number();
  if (id >= size) return;
  const T* const at = w + id / columns * i_step + id % columns * j_step;
  V from[kFrom * kFrom], to[kTo * kTo];
#pragma unroll
  for (int tap = 0; tap < kFrom * kFrom; ++tap) from[tap] = V{at[tap * tap_step]};
  transform<V, kFrom, kTo, line>(from, to);
#pragma unroll
  for (int k = 0; k < kTo * kTo; ++k) products[k * size + id] = to[k].v;
}

// Calls f(Function{}) with the transforms of winograd_lines-inl.h for this filter and tile.
template <class T, class F>
void with_transforms(const Conv2dParams& p, int64_t side, const F& f) {
  if (side == 4) return f(Winograd4x4<Lane<T>>{});
  if (p.window.kh == 5) return f(Winograd5x5<Lane<T>>{});
  f(Winograd2x2<Lane<T>>{});
}

Squares input_squares(const Conv2dParams& p, const WinogradTiling& tiling) {
  return {p.h, p.w, p.c, -p.window.pad_top, -p.window.pad_left, tiling};
}
Squares output_squares(const Conv2dParams& p, const WinogradTiling& tiling) { return {p.oh, p.ow, p.o, 0, 0, tiling}; }

constexpr int kRunTiles = WinogradTiling::kRunTiles;

// Tiles whose products go through the second-level cache together: a multiple of kRunTiles, or all of them.
template <class T>
int64_t block_tiles(const Conv2dParams& p, const WinogradTiling& tiling) {
#if defined(SIXLOOP_SIMT)
  constexpr int64_t kBytes = 64 << 10;
#else
  constexpr int64_t kBytes = 32 << 20;
#endif
  const int64_t tile_bytes = tiling.products * (p.c + p.o) * static_cast<int64_t>(sizeof(T));
  const int64_t block = kBytes / tile_bytes / kRunTiles * kRunTiles;
  return std::min(tiling.count, std::max<int64_t>(block, kRunTiles));
}

template <class T>
Sink<T, DenseRows> product_sink(T* products, int64_t rows, int64_t columns) {
  Sink<T, DenseRows> sink{};
  sink.data = products;
  sink.rows = {columns};
  sink.batch_step = rows * columns;
  sink.packs = columns % Pack<T>::N == 0;
  return sink;
}

// Element (tap, c, o) of the filters is w[tap * tap_step + c * c_step + o * o_step].
template <class T>
void forward(const Conv2dParams& p, int64_t side, const T* x, const T* w, int64_t tap_step, int64_t c_step,
             int64_t o_step, const BiasRelu<T>& epilogue, T* y) {
  const WinogradTiling tiling(p, side);
  const int64_t block = block_tiles<T>(p, tiling);
  const Squares inputs = input_squares(p, tiling), outputs = output_squares(p, tiling);
  const Scratch<T> filters(tiling.products * p.c * p.o);
  const Scratch<T> v(tiling.products * block * p.c), sums(tiling.products * block * p.o);
  with_transforms<T>(p, side, [&](auto function) {
    using F = decltype(function);
    constexpr int kFilter = F::kFilter, kTile = F::kTile, kReach = kTile + kFilter - 1;
    SIXLOOP_LAUNCH((filter_kernel<T, kFilter, kReach, F::filter>), blocks_for(p.c * p.o), kThreads, 0, current_stream(),
                   w, tap_step, c_step, o_step, p.c * p.o, p.o, filters.get());
    const auto right = matrix<false>(static_cast<const T*>(filters.get()), p.o, p.o, p.c * p.o);
    for (int64_t first = 0; first < tiling.count; first += block) {
      const int64_t count = std::min(block, tiling.count - first);
      SIXLOOP_LAUNCH((gather_kernel<T, kTile, kReach, kReach, F::input, EdgeLine::input>), blocks_for(count * p.c),
                     kThreads, 0, current_stream(), x, inputs, first, count, v.get());
      const auto left = matrix<true>(static_cast<const T*>(v.get()), p.c, count, count * p.c);
      const auto sink = product_sink(sums.get(), count, p.o);
      multiply({count, p.o, p.c, tiling.products}, left, right, sink);
      SIXLOOP_LAUNCH((scatter_kernel<T, kTile, kReach, F::output>), blocks_for(count * p.o), kThreads, 0,
                     current_stream(), static_cast<const T*>(sums.get()), outputs, first, count, epilogue, y);
    }
  });
}

}  // namespace

template <class T>
void winograd_forward(const Conv2dParams& p, int64_t side, const T* x, const T* w, const BiasRelu<T>& epilogue, T* y) {
  if (p.c == 0) return cuda::direct_forward(p, x, w, epilogue, y);  // sums without terms
  forward(p, side, x, w, p.c * p.o, p.o, 1, epilogue, y);
}

template <class T>
void winograd_grad_input(const Conv2dParams& p, int64_t side, const T* dy, const T* w, T* dx) {
  if (p.o == 0) return cuda::direct_grad_input(p, dy, w, dx);
  // A convolution of dy with the filters turned by 180 degrees and the channels exchanged.
  Conv2dParams q{p.n, p.oh, p.ow, p.o, p.h, p.w, p.c, 1, p.window};
  const int64_t reach = p.window.kh - 1;
  q.window.pad_top = reach - p.window.pad_top;
  q.window.pad_bottom = reach - p.window.pad_bottom;
  q.window.pad_left = reach - p.window.pad_left;
  q.window.pad_right = reach - p.window.pad_right;
  const int64_t tap = p.c * p.o, last = p.window.kh * p.window.kw - 1;
  forward(q, side, dy, w + last * tap, -tap, 1, p.o, BiasRelu<T>{}, dx);
}

template <class T>
void winograd_grad_weight(const Conv2dParams& p, int64_t side, const T* x, const T* dy, T* dw) {
  const WinogradTiling tiling(p, side);
  const int64_t block = block_tiles<T>(p, tiling);
  const Squares inputs = input_squares(p, tiling), outputs = output_squares(p, tiling);
  const Scratch<T> v(tiling.products * block * p.c), d(tiling.products * block * p.o);
  const int64_t size = p.c * p.o;
  const int64_t parts = tiling.grad_weight_parts(p.c, p.o);
  const Scratch<T> sums(parts * tiling.products * size);
  with_transforms<T>(p, side, [&](auto function) {
    using F = decltype(function);
    constexpr int kFilter = F::kFilter, kTile = F::kTile, kReach = kTile + kFilter - 1;
    for (int64_t part = 0; part < parts; ++part) {
      const TileRange tiles = tiling.grad_weight_part(part, parts);
      for (int64_t first = tiles.begin; first < tiles.end; first += block) {
        const int64_t count = std::min(block, tiles.end - first);
        SIXLOOP_LAUNCH((gather_kernel<T, kTile, kReach, kReach, F::input, EdgeLine::input>), blocks_for(count * p.c),
                       kThreads, 0, current_stream(), x, inputs, first, count, v.get());
        SIXLOOP_LAUNCH((gather_kernel<T, kTile, kTile, kReach, F::grad_output, EdgeLine::grad_output>),
                       blocks_for(count * p.o), kThreads, 0, current_stream(), dy, outputs, first, count, d.get());
        const auto left = matrix<false>(static_cast<const T*>(v.get()), p.c, p.c, count * p.c);
        const auto right = matrix<false>(static_cast<const T*>(d.get()), p.o, p.o, count * p.o);
        auto sink = product_sink(sums.get() + part * tiling.products * size, p.c, p.o);
        sink.adds = first > tiles.begin;
        const ProductSizes g{p.c, p.o, count, tiling.products};
        constexpr int kResident = sizeof(T) == 4 ? 384 : 256;  // there are two sets of accumulators
        if (product_blocks(g, 64, 64) >= kEnoughBlocks && p.c >= 64 && p.o >= 64) {
          launch_product<Tile<T, 64, 64, 16, 1, 1, kResident>, kRunTiles>(g, left, right, sink);
        } else {
          launch_product<Tile<T, 32, 32, 8, 1, 1, kResident>, kRunTiles>(g, left, right, sink);
        }
      }
    }
    if (parts > 1) add_parts(static_cast<const T*>(sums.get()), parts, tiling.products * size, sums.get());
    SIXLOOP_LAUNCH((filter_kernel<T, kReach, kFilter, F::grad_filter>), blocks_for(size), kThreads, 0, current_stream(),
                   static_cast<const T*>(sums.get()), size, 0, 1, size, size, dw);
  });
}

#define SIXLOOP_INSTANTIATE(T)                                                                              \
  template void winograd_forward(const Conv2dParams&, int64_t, const T*, const T*, const BiasRelu<T>&, T*); \
  template void winograd_grad_input(const Conv2dParams&, int64_t, const T*, const T*, T*);                  \
  template void winograd_grad_weight(const Conv2dParams&, int64_t, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop::cuda
