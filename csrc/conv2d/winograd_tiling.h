// How the outputs of Winograd's convolution are cut into tiles, on the CPU and on the GPU: the numbers of the tiles are
// part of the weight gradient's arithmetic.
#pragma once

#include <algorithm>

#include "base/simd/host_device.h"
#include "conv2d/conv2d.h"

namespace sixloop {

// Consecutive tiles.
struct TileRange {
  int64_t begin, end;
};

// Where a tile lies.
struct WinogradPlace {
  int64_t image, top, left;  // the first output row and column
  int64_t rows, columns;     // outputs
};

// Tiles of `side` x `side` output pixels, which read `reach` x `reach` input pixels each. Those of 4x4 end where the
// image does: a tile with fewer rows or columns needs fewer products. So that the tiles of every product are
// consecutive, they are numbered in four groups: whole rows with columns cut short, whole tiles, rows cut short, both
// cut short.
class WinogradTiling {
 public:
  // The weight gradient's terms are summed over so many tiles at a time, and these sums added in order: one sum over
  // the 1,568 tiles of eight images of 28x28 has four times the error.
  static constexpr int64_t kRunTiles = 64;

  int64_t side;
  int64_t filter;    // rows and columns of the filter
  int64_t products;  // matrices to multiply
  int64_t count;     // tiles of all images

  WinogradTiling(const Conv2dParams& p, int64_t tile)
      : side(tile),
        filter(p.window.kh),
        products((tile + filter - 1) * (tile + filter - 1)),
        edge_rows_(tile == 4 ? p.oh % tile : 0),
        edge_columns_(tile == 4 ? p.ow % tile : 0),
        whole_rows_(edge_rows_ > 0 ? p.oh / tile : ceil_div(p.oh, tile)),
        whole_columns_(edge_columns_ > 0 ? p.ow / tile : ceil_div(p.ow, tile)) {
    const int64_t more_rows = edge_rows_ > 0 ? 1 : 0, more_columns = edge_columns_ > 0 ? 1 : 0;
    whole_ = p.n * whole_rows_ * more_columns;
    short_rows_ = whole_ + p.n * whole_rows_ * whole_columns_;
    short_both_ = short_rows_ + p.n * more_rows * whole_columns_;
    count = short_both_ + p.n * more_rows * more_columns;
  }

  int64_t reach() const { return side + filter - 1; }
  int64_t taps() const { return filter * filter; }

  SIXLOOP_HD WinogradPlace place(int64_t tile) const {
    const bool short_rows = tile >= short_rows_;
    const bool short_columns = tile < whole_ || tile >= short_both_;
    const int64_t group = short_rows ? (short_columns ? short_both_ : short_rows_) : (short_columns ? 0 : whole_);
    const int64_t rows = short_rows ? 1 : whole_rows_;
    const int64_t columns = short_columns ? 1 : whole_columns_;
    const int64_t i = tile - group;
    return {i / (rows * columns), (short_rows ? whole_rows_ : i / columns % rows) * side,
            (short_columns ? whole_columns_ : i % columns) * side, short_rows ? edge_rows_ : side,
            short_columns ? edge_columns_ : side};
  }
  // The tiles that need a product.
  TileRange tiles_of(int64_t product) const {
    const bool whole_rows = edge_rows_ > 0 && !is_winograd_product(product / reach(), edge_rows_);
    const bool whole_columns = edge_columns_ > 0 && !is_winograd_product(product % reach(), edge_columns_);
    return {whole_columns ? whole_ : 0, whole_rows ? short_rows_ : whole_columns ? short_both_ : count};
  }
  // Into how many parts the weight gradient cuts the tiles, whose sums are then added in order. 36 sums for each of
  // 64x64 filters have 590 KB, which with 64 tiles stay in a second-level cache of 2 MiB.
  int64_t grad_weight_parts(int64_t c, int64_t o) const {
    if (c * o > kMostFilters) return 1;
    const int64_t runs = ceil_div(count, kRunTiles);
    return std::clamp<int64_t>(runs / 8, std::clamp<int64_t>(runs, 1, 8), 16);
  }
  TileRange grad_weight_part(int64_t part, int64_t parts) const {
    const int64_t runs = ceil_div(count, kRunTiles);
    return {runs * part / parts * kRunTiles, std::min(count, runs * (part + 1) / parts * kRunTiles)};
  }

 private:
  static constexpr int64_t kMostFilters = 4096;

  int64_t edge_rows_, edge_columns_;         // outputs of tiles cut short, 0: there are none
  int64_t whole_rows_, whole_columns_;       // whole tiles of an image
  int64_t whole_, short_rows_, short_both_;  // the first tile of each group but the first
};

}  // namespace sixloop
