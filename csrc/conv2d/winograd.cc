#include <algorithm>

#include "conv2d/algorithms.h"

namespace sixloop {
namespace {

// Tiles of `side` x `side` output pixels, which read `reach` x `reach` input pixels each.
struct Tiling {
  int64_t side;
  int64_t reach;
  int64_t products;  // matrices to multiply
  int64_t rows;      // tiles of an image
  int64_t columns;
  int64_t count;  // tiles of all images

  Tiling(const Conv2dParams& p, int64_t tile)
      : side(tile),
        reach(tile + 2),
        products(reach * reach),
        rows(ceil_div(p.oh, tile)),
        columns(ceil_div(p.ow, tile)),
        count(p.n * rows * columns) {}

  int64_t image(int64_t tile) const { return tile / (rows * columns); }
  int64_t top(int64_t tile) const { return tile / columns % rows * side; }  // first output row
  int64_t left(int64_t tile) const { return tile % columns * side; }
};

constexpr int64_t kMaxPixels = 36;

// Pointers to the pixels of a square of an [n, h, w, c] array; those beyond its edges point to `outside`.
template <class P>
void square_pointers(P* array, P* outside, int64_t h, int64_t w, int64_t c, int64_t n, int64_t top, int64_t left,
                     int64_t side, P** pointers) {
  for (int64_t i = 0; i < side; ++i) {
    const bool row_inside = top + i >= 0 && top + i < h;
    for (int64_t j = 0; j < side; ++j) {
      const bool inside = row_inside && left + j >= 0 && left + j < w;
      *pointers++ = inside ? array + ((n * h + top + i) * w + left + j) * c : outside;
    }
  }
}

// Rows of a matrix of products, and the matrices themselves, are one cache line longer than their elements, so that
// those of a power of two do not share cache sets.
template <class T>
constexpr int64_t padded(int64_t elements) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  return ceil_div(elements, kLine) * kLine + kLine;
}

template <class T>
const Kernel& select_winograd(int64_t side) {
  const Kernel& first = select_row<Winograd, T>();
  for (const Kernel& row : Winograd::kernels()) {
    if (is_row_of<Winograd, T>(row) && row.isa == first.isa && row.facts.mr == side) return row;
  }
  throw std::logic_error("no Winograd kernel for this tile");
}

// Matrices of products of up to `tiles` tiles, [products][tiles][ld].
template <class T>
struct Products {
  int64_t ld;
  int64_t step;
  Buffer<T> data;

  Products(const Tiling& tiling, int64_t tiles, int64_t channels)
      : ld(padded<T>(channels)), step(tiles * ld), data(tiling.products * step) {}
  T* matrix(int64_t product) { return data.get() + product * step; }
};

// The transformed filters as packed panels, [products][panels][c][nr], and their multiplication.
template <class T>
class Filters {
 public:
  // w is [3, 3, c, o].
  Filters(const Tiling& tiling, const T* w, int64_t c, int64_t o)
      : row_(select_tile<GemmRows, T>(kRows, o)),
        c_(c),
        o_(o),
        panels_(ceil_div(o, row_.facts.nr)),
        step_(padded<T>(panels_ * c * row_.facts.nr)),
        data_(tiling.products * step_) {
    const auto transform = function_of<Winograd, T>(select_winograd<T>(tiling.side));
    parallel_ranges(c, std::max<int64_t>(1, 4096 / o), [&](int64_t begin, int64_t end) {
      for (int64_t panel = 0; panel < panels_; ++panel) {
        const int64_t j = panel * nr();
        const int64_t columns = std::min(nr(), o - j);
        for (int64_t i = begin; i < end; ++i) {
          const T* pixels[9];
          for (int64_t k = 0; k < 9; ++k) pixels[k] = w + (k * c + i) * o + j;
          T* to = data_.get() + (panel * c + i) * nr();
          transform({WinogradTransform::filter, columns, pixels, nullptr, to, step_, nullptr, false});
          for (int64_t k = 0; columns < nr() && k < tiling.products; ++k) {
            std::fill(to + k * step_ + columns, to + k * step_ + nr(), T{0});
          }
        }
      }
    });
  }

  int64_t mr() const { return row_.facts.mr; }
  int64_t nr() const { return row_.facts.nr; }

  // out = v times the filters' matrix of one product, for `rows` rows.
  void multiply(int64_t product, int64_t rows, const T* v, int64_t ldv, T* out, int64_t ld_out) {
    TileRunner<T> runner(function_of<GemmRows, T>(row_), static_cast<int>(mr()), static_cast<int>(nr()));
    const int64_t tiles = ceil_div(rows, mr());
    GemmTile<T> tile{};
    tile.taps = 1;
    tile.ldb = nr();
    for (int64_t k = 0; k < c_; k += kBlockSteps) {
      tile.kc = std::min(kBlockSteps, c_ - k);
      tile.a_offset = k;
      tile.accumulate = k > 0;
      for (int64_t panel = 0; panel < panels_; ++panel) {
        const int64_t j = panel * nr();
        const int64_t columns = std::min(nr(), o_ - j);
        tile.b = data_.get() + product * step_ + (panel * c_ + k) * nr();
        tile.next_step = ceil_div(nr(), tiles);
        for (int64_t t = 0; t < tiles; ++t) {
          const T* a[TileRunner<T>::kMaxMr];
          T* c[TileRunner<T>::kMaxMr];
          const int64_t first = t * mr();
          const int64_t live = std::min(mr(), rows - first);
          for (int64_t i = 0; i < mr(); ++i) a[i] = v + (first + std::min(i, live - 1)) * ldv;
          for (int64_t i = 0; i < live; ++i) c[i] = out + (first + i) * ld_out + j;
          tile.a = a;
          tile.next = panel + 1 < panels_ ? tile.b + c_ * nr() + t * tile.kc * nr() / tiles : nullptr;
          runner.run(tile, c, live, columns, false);
        }
      }
    }
  }

 private:
  static constexpr int64_t kRows = 240;  // a multiple of every tile's rows

  const Kernel& row_;
  int64_t c_, o_, panels_;
  int64_t step_;  // between the matrices of two products
  Buffer<T> data_;
};

// Bytes of products that go through the caches between two passes of all threads.
constexpr int64_t kBlockBytes = 8 << 20;

}  // namespace

const char* winograd_refusal(const Conv2dParams& p) {
  const Window& win = p.window;
  if (win.kh != 3 || win.kw != 3) return "the filter is not 3x3";
  if (win.stride_h != 1 || win.stride_w != 1) return "the stride is not 1";
  if (win.dilation_h != 1 || win.dilation_w != 1) return "the filter is dilated";
  if (p.groups != 1) return "the channels are in groups";
  if (std::max({win.pad_top, win.pad_bottom, win.pad_left, win.pad_right}) > 2) return "the padding exceeds 2";
  return nullptr;
}

// In a tile of 4x4 a product serves 4 multiply-adds, in one of 2x2 2.25; against that stand the transforms of input,
// output and filters. Measured on maps of 4x4 to 224x224 with 16 to 512 channels: from 24 tiles of 4x4 on they are
// faster than direct convolution, from 16 on tiles of 2x2 (map 14x14, batch 1); with fewer the filters' transform
// costs more than it saves. The weight gradient's sums have the size of the filters, and want more channels.
Conv2dAlgorithm winograd_choice(Conv2dPass pass, const Conv2dParams& p, bool any_batch) {
  constexpr int64_t kTiles4x4 = 24;
  constexpr int64_t kTiles2x2 = 16;
  const int64_t least_channels = pass == Conv2dPass::grad_weight ? 32 : 16;
  if (winograd_refusal(p) != nullptr || std::min(p.c, p.o) < least_channels) return Conv2dAlgorithm::direct;
  const int64_t tiles = (any_batch ? 1 : p.n) * ceil_div(p.oh, 4) * ceil_div(p.ow, 4);
  return tiles >= kTiles4x4   ? Conv2dAlgorithm::winograd4x4
         : tiles >= kTiles2x2 ? Conv2dAlgorithm::winograd2x2
                              : Conv2dAlgorithm::direct;
}

template <class T>
void winograd_forward(const Conv2dParams& p, int64_t side, const T* x, const T* w, const Epilogue<T>& epilogue, T* y) {
  if (p.c == 0) return direct_forward(p, x, w, epilogue, y);  // sums without terms
  const Tiling tiling(p, side);
  const auto transform = function_of<Winograd, T>(select_winograd<T>(side));
  Filters<T> filters(tiling, w, p.c, p.o);
  const bool relu = epilogue.activation == Activation::relu;
  Buffer<T> zeros(p.c);
  std::fill(zeros.get(), zeros.get() + p.c, T{0});

  // The tile `tile` of all, which is the t-th of its block.
  const auto read = [&](int64_t tile, int64_t t, Products<T>& v) {
    const T* pixels[kMaxPixels];
    square_pointers<const T>(x, zeros.get(), p.h, p.w, p.c, tiling.image(tile), tiling.top(tile) - p.window.pad_top,
                             tiling.left(tile) - p.window.pad_left, tiling.reach, pixels);
    transform({WinogradTransform::input, p.c, pixels, nullptr, v.data.get() + t * v.ld, v.step, nullptr, false});
  };
  const auto write = [&](int64_t tile, int64_t t, Products<T>& sums, T* sink) {
    T* results[kMaxPixels];
    square_pointers<T>(y, sink, p.oh, p.ow, p.o, tiling.image(tile), tiling.top(tile), tiling.left(tile), side,
                       results);
    transform({WinogradTransform::output, p.o, nullptr, results, sums.data.get() + t * sums.ld, sums.step,
               epilogue.bias, relu});
    if (relu || epilogue.activation == Activation::none) return;
    for (int64_t i = 0; i < side * side; ++i) {
      if (results[i] != sink) apply_activation(results[i], p.o, epilogue.activation);
    }
  };

  // A task takes a block of tiles through all three passes in its second-level cache, if that has room for enough of
  // them to make the filters' passage worth while. Else the threads meet after each pass.
  const int64_t mr = filters.mr();
  const int64_t tile_bytes = tiling.products * (p.c + p.o) * static_cast<int64_t>(sizeof(T));
  const int64_t in_cache = l2_bytes() / 2 / tile_bytes / mr * mr;
  if (in_cache >= 2 * mr) {
    const int64_t block = std::min(in_cache, ceil_div(ceil_div(tiling.count, kTasks), mr) * mr);
    parallel_for(ceil_div(tiling.count, block), [&](int64_t task) {
      const int64_t begin = task * block;
      const int64_t tiles = std::min(block, tiling.count - begin);
      Products<T> v(tiling, block, p.c), sums(tiling, block, p.o);
      Buffer<T> sink(p.o);
      for (int64_t t = 0; t < tiles; ++t) read(begin + t, t, v);
      for (int64_t k = 0; k < tiling.products; ++k) {
        filters.multiply(k, tiles, v.matrix(k), v.ld, sums.matrix(k), sums.ld);
      }
      for (int64_t t = 0; t < tiles; ++t) write(begin + t, t, sums, sink.get());
    });
    return;
  }
  const int64_t most = std::max(mr, kBlockBytes / tile_bytes / mr * mr);
  const int64_t blocks = ceil_div(tiling.count, most);
  const int64_t block = std::min(tiling.count, ceil_div(ceil_div(tiling.count, blocks), mr) * mr);
  Products<T> v(tiling, block, p.c), sums(tiling, block, p.o);
  for (int64_t begin = 0; begin < tiling.count; begin += block) {
    const int64_t tiles = std::min(block, tiling.count - begin);
    parallel_for(tiles, [&](int64_t t) { read(begin + t, t, v); });
    parallel_for(tiling.products,
                 [&](int64_t k) { filters.multiply(k, tiles, v.matrix(k), v.ld, sums.matrix(k), sums.ld); });
    parallel_for(tiles, [&](int64_t t) {
      Buffer<T> sink(p.o);
      write(begin + t, t, sums, sink.get());
    });
  }
}

template <class T>
void winograd_grad_input(const Conv2dParams& p, int64_t side, const T* dy, const T* w, T* dx) {
  // A convolution of dy with the filters turned by 180 degrees and the channels exchanged.
  Buffer<T> turned(9 * p.c * p.o);
  constexpr int64_t kSquare = 16;  // rows and columns that stay in the first-level cache while they are exchanged
  const int64_t strips = ceil_div(p.c, kSquare);
  parallel_for(9 * strips, [&](int64_t task) {
    const int64_t k = task / strips;
    const int64_t c0 = task % strips * kSquare;
    const int64_t c1 = std::min(p.c, c0 + kSquare);
    const T* from = w + k * p.c * p.o;
    T* to = turned.get() + (8 - k) * p.c * p.o;
    for (int64_t o0 = 0; o0 < p.o; o0 += kSquare) {
      for (int64_t o = o0; o < std::min(p.o, o0 + kSquare); ++o) {
        for (int64_t c = c0; c < c1; ++c) to[o * p.c + c] = from[c * p.o + o];
      }
    }
  });
  Conv2dParams q{p.n, p.oh, p.ow, p.o, p.h, p.w, p.c, 1, p.window};
  q.window.pad_top = 2 - p.window.pad_top;
  q.window.pad_bottom = 2 - p.window.pad_bottom;
  q.window.pad_left = 2 - p.window.pad_left;
  q.window.pad_right = 2 - p.window.pad_right;
  winograd_forward(q, side, dy, turned.get(), Epilogue<T>{}, dx);
}

template <class T>
void winograd_grad_weight(const Conv2dParams& p, int64_t side, const T* x, const T* dy, T* dw) {
  const Tiling tiling(p, side);
  const auto transform = function_of<Winograd, T>(select_winograd<T>(side));
  const Kernel& row = select_tile<GemmColumns, T>(p.c, p.o);
  const auto kernel = function_of<GemmColumns, T>(row);
  const int64_t mr = row.facts.mr;
  const int64_t nr = row.facts.nr;
  Buffer<T> zeros(std::max(p.c, p.o));
  std::fill(zeros.get(), zeros.get() + std::max(p.c, p.o), T{0});
  const int64_t step = padded<T>(p.c * p.o);
  Buffer<T> sums(tiling.products * step);

  // The terms of an element are added tile after tile: blocks of tiles continue its accumulator.
  const int64_t tile_bytes = tiling.products * (p.c + p.o) * static_cast<int64_t>(sizeof(T));
  const int64_t blocks = ceil_div(tiling.count, std::max<int64_t>(16, kBlockBytes / tile_bytes));
  const int64_t block = ceil_div(tiling.count, blocks);
  Products<T> v(tiling, block, p.c), d(tiling, block, p.o);
  for (int64_t begin = 0; begin < tiling.count; begin += block) {
    const int64_t tiles = std::min(block, tiling.count - begin);
    parallel_for(tiles, [&](int64_t t) {
      const int64_t n = tiling.image(begin + t);
      const int64_t top = tiling.top(begin + t);
      const int64_t left = tiling.left(begin + t);
      const T* pixels[kMaxPixels];
      square_pointers<const T>(x, zeros.get(), p.h, p.w, p.c, n, top - p.window.pad_top, left - p.window.pad_left,
                               tiling.reach, pixels);
      transform({WinogradTransform::input, p.c, pixels, nullptr, v.data.get() + t * v.ld, v.step, nullptr, false});
      square_pointers<const T>(dy, zeros.get(), p.oh, p.ow, p.o, n, top, left, side, pixels);
      transform(
          {WinogradTransform::grad_output, p.o, pixels, nullptr, d.data.get() + t * d.ld, d.step, nullptr, false});
    });
    parallel_for(tiling.products, [&](int64_t k) {
      T edge[TileRunner<T>::kMaxNr] = {};
      for (int64_t j = 0; j < p.o; j += nr) {
        for (int64_t first = 0; first < p.c; first += mr) {
          const T* a[TileRunner<T>::kMaxMr];
          T* c[TileRunner<T>::kMaxMr];
          for (int64_t i = 0; i < mr; ++i) {
            a[i] = v.matrix(k) + std::min(first + i, p.c - 1);
            c[i] = first + i < p.c ? sums.get() + k * step + (first + i) * p.o + j : edge;
          }
          kernel({1, tiles, a, 0, v.ld, d.matrix(k) + j, d.ld, std::min(nr, p.o - j), begin > 0, c});
        }
      }
    });
  }
  parallel_ranges(p.c, std::max<int64_t>(1, 1024 / p.o), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* results[9];
      for (int64_t k = 0; k < 9; ++k) results[k] = dw + (k * p.c + i) * p.o;
      transform({WinogradTransform::grad_filter, p.o, nullptr, results, sums.get() + i * p.o, step, nullptr, false});
    }
  });
}

#define SIXLOOP_INSTANTIATE(T)                                                                              \
  template void winograd_forward(const Conv2dParams&, int64_t, const T*, const T*, const Epilogue<T>&, T*); \
  template void winograd_grad_input(const Conv2dParams&, int64_t, const T*, const T*, T*);                  \
  template void winograd_grad_weight(const Conv2dParams&, int64_t, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
