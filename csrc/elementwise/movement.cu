#include "cuda/map.h"
#include "elementwise/simt.h"

namespace sixloop::cuda {
namespace {

constexpr int kCopyThreads = 256;

// RowCopy in units of U. I is the type of indices: 32 bits where they suffice, since divisions cost several times less.
template <class I>
struct Rows {
  I units, rows;  // of a row, of an image
  int64_t from_row, from_image, to_row, to_image;
};

template <class U, class I>
__global__ void __launch_bounds__(kCopyThreads) copy_rows_kernel(const U* from, U* to, Rows<I> r, int64_t total) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
  if (thread >= total) return;
  const I i = static_cast<I>(thread);
  const I line = i / r.units;
  const int64_t unit = i - line * r.units, image = line / r.rows, row = line % r.rows;
  to[image * r.to_image + row * r.to_row + unit] = from[image * r.from_image + row * r.from_row + unit];
}

// y's rows and units; x lies `top` rows and `left` units inside.
template <class I>
struct Border {
  I units, rows, inner_units, inner_rows, top, left;
};

template <class U, class I>
__global__ void __launch_bounds__(kCopyThreads) pad_kernel(const U* x, U* y, Border<I> b, int64_t total) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kCopyThreads + threadIdx.x;
  if (thread >= total) return;
  const I i = static_cast<I>(thread);
  const I line = i / b.units;
  // Before the border's end these wrap to numbers beyond any size: one comparison for both ends.
  const I unit = i - line * b.units - b.left, row = line % b.rows - b.top;
  const int64_t image = line / b.rows;
  U value{};
  if (unit < b.inner_units && row < b.inner_rows) {
    value = x[(image * b.inner_rows + row) * b.inner_units + unit];
  }
  y[thread] = value;
}

// Calls f(U{}, bytes of U) with the widest type that all of these numbers are multiples of, which are multiples of 2.
template <class F>
void with_unit(int64_t bits, const F& f) {
  if (bits % 16 == 0) {
    f(Pack<float>{}, int64_t{16});
  } else if (bits % 8 == 0) {
    f(uint64_t{}, int64_t{8});
  } else if (bits % 4 == 0) {
    f(uint32_t{}, int64_t{4});
  } else {
    f(uint16_t{}, int64_t{2});
  }
}

template <class F>
void with_index(int64_t total, const F& f) {
  if (total <= INT32_MAX) {
    f(uint32_t{});
  } else {
    f(uint64_t{});
  }
}

int64_t address(const void* p) { return static_cast<int64_t>(reinterpret_cast<uintptr_t>(p)); }

unsigned blocks_for(int64_t total) { return static_cast<unsigned>(ceil_div(total, kCopyThreads)); }

constexpr int kTile = 32;
constexpr int kTileRows = 8;

// y[n][c][r] = x[n][r][c], a tile of 32 x 32 for each block. The tile's rows are one element longer, so that its
// columns lie in different banks.
template <class T>
__global__ void __launch_bounds__(kTile* kTileRows)
    transpose_kernel(const T* x, T* y, int64_t matrices, int64_t rows, int64_t columns) {
  T* tile = shared_memory<T>();
  const int64_t column0 = static_cast<int64_t>(blockIdx.x) * kTile;
  const int lane = static_cast<int>(threadIdx.x) % kTile, line = static_cast<int>(threadIdx.x) / kTile;
  const int64_t row_tiles = ceil_div(rows, kTile);
  for (int64_t z = blockIdx.y; z < matrices * row_tiles; z += gridDim.y) {
    const int64_t row0 = z % row_tiles * kTile;
    const int64_t offset = z / row_tiles * rows * columns;
    for (int j = line; j < kTile; j += kTileRows) {
      if (row0 + j < rows && column0 + lane < columns) {
        tile[j * (kTile + 1) + lane] = x[offset + (row0 + j) * columns + column0 + lane];
      }
    }
    __syncthreads();
    for (int j = line; j < kTile; j += kTileRows) {
      if (column0 + j < columns && row0 + lane < rows) {
        y[offset + (column0 + j) * rows + row0 + lane] = tile[lane * (kTile + 1) + j];
      }
    }
    __syncthreads();
  }
}

}  // namespace

void copy_rows(const void* from, void* to, const RowCopy& c) {
  if (c.images == 0 || c.rows == 0 || c.bytes == 0) return;
  const int64_t all = address(from) | address(to) | c.bytes | c.from_row | c.from_image | c.to_row | c.to_image;
  with_unit(all, [&](auto u, int64_t size) {
    using U = decltype(u);
    const int64_t units = c.bytes / size;
    const int64_t total = c.images * c.rows * units;
    with_index(total, [&](auto index) {
      using I = decltype(index);
      const Rows<I> r{static_cast<I>(units), static_cast<I>(c.rows), c.from_row / size,
                      c.from_image / size,   c.to_row / size,        c.to_image / size};
      SIXLOOP_LAUNCH((copy_rows_kernel<U, I>), blocks_for(total), kCopyThreads, 0, current_stream(),
                     static_cast<const U*>(from), static_cast<U*>(to), r, total);
    });
  });
}

void zero_pad2d(const Tensor& x, const Window& border, const Tensor& y) {
  if (y.size() == 0) return;
  const Shape &in = x.shape(), &out = y.shape();
  const int64_t cell = in[3] * static_cast<int64_t>(size_of(x.dtype()));
  with_unit(address(x.raw()) | address(y.raw()) | cell, [&](auto u, int64_t size) {
    using U = decltype(u);
    const int64_t units = cell / size;
    const int64_t total = y.bytes() / size;
    with_index(total, [&](auto index) {
      using I = decltype(index);
      const Border<I> b{static_cast<I>(out[2] * units), static_cast<I>(out[1]),
                        static_cast<I>(in[2] * units),  static_cast<I>(in[1]),
                        static_cast<I>(border.pad_top), static_cast<I>(border.pad_left * units)};
      SIXLOOP_LAUNCH((pad_kernel<U, I>), blocks_for(total), kCopyThreads, 0, current_stream(),
                     static_cast<const U*>(x.raw()), static_cast<U*>(y.raw()), b, total);
    });
  });
}

void transpose(const Tensor& x, int64_t matrices, int64_t rows, int64_t columns, const Tensor& y) {
  if (x.size() == 0) return;
  constexpr int64_t kMostY = 65535;
  const int64_t tiles = matrices * ceil_div(rows, kTile);
  const dim3 grid(static_cast<unsigned>(ceil_div(columns, kTile)),
                  static_cast<unsigned>(tiles < kMostY ? tiles : kMostY));
  with_unit(static_cast<int64_t>(size_of(x.dtype())), [&](auto t, int64_t) {
    using T = decltype(t);
    SIXLOOP_LAUNCH(transpose_kernel<T>, grid, kTile * kTileRows, sizeof(T) * kTile * (kTile + 1), current_stream(),
                   x.data<T>(), y.data<T>(), matrices, rows, columns);
  });
}

}  // namespace sixloop::cuda
