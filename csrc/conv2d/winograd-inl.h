// Winograd's convolution: whole tiles of pixels and filters. Included by each <isa>.cc.
#pragma once

#include "conv2d/conv2d.h"
#include "conv2d/winograd_lines-inl.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// One vector of channels: `line` over the columns of a kFrom x kFrom tile, then over the rows.
template <class V, int kFrom, int kTo, WinogradLine<V> line>
__attribute__((always_inline)) inline void winograd_square(const V (&from)[kFrom * kFrom], V (&to)[kTo * kTo]) {
  V half[kTo * kFrom];
#pragma GCC unroll 8
  for (int j = 0; j < kFrom; ++j) line(from + j, kFrom, half + j, kFrom);
#pragma GCC unroll 8
  for (int i = 0; i < kTo; ++i) line(half + i * kFrom, 1, to + i * kTo, 1);
}

// Fetches channels [c, c + V::N) of the next tile's square to the second-level cache: the hardware does not see so many
// streams. Its first kShared columns are this tile's last ones.
template <class V, int kSide, int kShared, int kWrite>
__attribute__((always_inline)) inline void fetch_next(const WinogradTile<typename V::T>& tile, int64_t c) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(typename V::T));
  if (tile.next == nullptr || c % kLine != 0) return;
#pragma GCC unroll 8
  for (int i = 0; i < kSide; ++i) {
#pragma GCC unroll 8
    for (int j = kShared; j < kSide; ++j) __builtin_prefetch(tile.next[i * kSide + j] + c, kWrite, 2);
  }
}

template <class V, int kFrom, int kTo, int kShared, WinogradLine<V> line>
void winograd_gather(const WinogradTile<typename V::T>& tile) {
  const auto channels = [&](int64_t c, auto load, auto store) __attribute__((always_inline)) {
    fetch_next<V, kFrom, kShared, 0>(tile, c);
    V from[kFrom * kFrom];
    V to[kTo * kTo];
#pragma GCC unroll 36
    for (int i = 0; i < kFrom * kFrom; ++i) from[i] = load(tile.pixels[i] + c);
    winograd_square<V, kFrom, kTo, line>(from, to);
#pragma GCC unroll 36
    for (int i = 0; i < kTo * kTo; ++i) store(to[i], tile.products + i * tile.step + c);
  };
  using T = typename V::T;
  int64_t c = 0;
  for (; c + V::N <= tile.channels; c += V::N) {
    channels(c, [](const T* at) { return V::load(at); }, [](V v, T* at) { v.store(at); });
  }
  if (const int64_t rest = tile.channels - c; rest > 0) {
    channels(c, [&](const T* at) { return V::load_n(at, rest); }, [&](V v, T* at) { v.store_n(at, rest); });
  }
}

template <class V, int kFrom, int kTo, WinogradLine<V> line>
void winograd_scatter(const WinogradTile<typename V::T>& tile) {
  using T = typename V::T;
  const auto channels = [&](int64_t c, auto load, auto store) __attribute__((always_inline)) {
    fetch_next<V, kTo, 0, 1>(tile, c);
    V from[kFrom * kFrom];
    V to[kTo * kTo];
#pragma GCC unroll 36
    for (int i = 0; i < kFrom * kFrom; ++i) from[i] = load(tile.products + i * tile.step + c);
    winograd_square<V, kFrom, kTo, line>(from, to);
    if (tile.bias != nullptr) {
      const V bias = load(tile.bias + c);
#pragma GCC unroll 25
      for (int i = 0; i < kTo * kTo; ++i) to[i] = to[i] + bias;
    }
    if (tile.relu) {
#pragma GCC unroll 25
      for (int i = 0; i < kTo * kTo; ++i) to[i] = V::max(V::zero(), to[i]);
    }
#pragma GCC unroll 25
    for (int i = 0; i < kTo * kTo; ++i) store(to[i], tile.results[i] + c);
  };
  int64_t c = 0;
  for (; c + V::N <= tile.channels; c += V::N) {
    channels(c, [](const T* at) { return V::load(at); }, [](V v, T* at) { v.store(at); });
  }
  if (const int64_t rest = tile.channels - c; rest > 0) {
    channels(c, [&](const T* at) { return V::load_n(at, rest); }, [&](V v, T* at) { v.store_n(at, rest); });
  }
}

// `count` lines with kTile outputs; line i begins at from + at[i] * from_next and to + at[i] * to_next.
template <class V, int kTile, EdgeLine kLine>
void edge_lines(const int* at, int count, const V* from, int from_next, int from_step, V* to, int to_next,
                int to_step) {
  for (int i = 0; i < count; ++i) {
    edge_line<V, kTile, kLine>(from + at[i] * from_next, from_step, to + at[i] * to_next, to_step);
  }
}

template <class V, EdgeLine kLine>
__attribute__((always_inline)) inline void edge_lines(int64_t tile, const int* at, int count, const V* from,
                                                      int from_next, int from_step, V* to, int to_next, int to_step) {
  switch (tile) {
    case 1:
      return edge_lines<V, 1, kLine>(at, count, from, from_next, from_step, to, to_next, to_step);
    case 2:
      return edge_lines<V, 2, kLine>(at, count, from, from_next, from_step, to, to_next, to_step);
    case 3:
      return edge_lines<V, 3, kLine>(at, count, from, from_next, from_step, to, to_next, to_step);
    default:
      return edge_lines<V, 4, kLine>(at, count, from, from_next, from_step, to, to_next, to_step);
  }
}

// A tile of tile.rows x tile.columns outputs: `line` over its columns, then over its rows. The numbers of a dimension's
// pixels are 0, 1, ...; those of its products is_winograd_product().
template <class V, EdgeLine kLine>
void winograd_edge(const WinogradTile<typename V::T>& tile) {
  using T = typename V::T;
  constexpr bool kScatter = kLine == EdgeLine::output;
  constexpr int kSide = kLine == EdgeLine::input ? 6 : 4;  // pixels in a row of a whole tile
  constexpr int kProducts = 6;
  constexpr int kFrom = kScatter ? kProducts : kSide;
  constexpr int kTo = kScatter ? kSide : kProducts;
  int pixels[kProducts], product_rows[kProducts], product_columns[kProducts];
  int rows = 0, columns = 0;
  for (int i = 0; i < kProducts; ++i) {
    pixels[i] = i;
    if (is_winograd_product(i, tile.rows)) product_rows[rows++] = i;
    if (is_winograd_product(i, tile.columns)) product_columns[columns++] = i;
  }
  constexpr int kMore = kLine == EdgeLine::input ? 2 : 0;
  const int pixel_rows = static_cast<int>(tile.rows) + kMore;
  const int pixel_columns = static_cast<int>(tile.columns) + kMore;

  const auto fetch_next = [&](int64_t c) {
    constexpr int64_t kCacheLine = 64 / static_cast<int64_t>(sizeof(T));
    if (tile.next == nullptr || c % kCacheLine != 0) return;
    for (int i = 0; i < pixel_rows; ++i) {
      for (int j = 0; j < pixel_columns; ++j) __builtin_prefetch(tile.next[i * kSide + j] + c, kScatter, 2);
    }
  };
  const auto channels = [&](int64_t c, auto load, auto store) __attribute__((always_inline)) {
    fetch_next(c);
    V from[kFrom * kFrom];
    V half[kTo * kFrom];
    V to[kTo * kTo];
    if constexpr (kScatter) {
      for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < columns; ++j) {
          const int k = product_rows[i] * kProducts + product_columns[j];
          from[k] = load(tile.products + k * tile.step + c);
        }
      }
      edge_lines<V, kLine>(tile.rows, product_columns, columns, from, 1, kFrom, half, 1, kFrom);
      edge_lines<V, kLine>(tile.columns, pixels, pixel_rows, half, kFrom, 1, to, kTo, 1);
      const V bias = tile.bias == nullptr ? V::zero() : load(tile.bias + c);
      for (int i = 0; i < pixel_rows; ++i) {
        for (int j = 0; j < pixel_columns; ++j) {
          V y = to[i * kTo + j];
          if (tile.bias != nullptr) y = y + bias;
          if (tile.relu) y = V::max(V::zero(), y);
          store(y, tile.results[i * kSide + j] + c);
        }
      }
    } else {
      for (int i = 0; i < pixel_rows; ++i) {
        for (int j = 0; j < pixel_columns; ++j) from[i * kFrom + j] = load(tile.pixels[i * kSide + j] + c);
      }
      edge_lines<V, kLine>(tile.rows, pixels, pixel_columns, from, 1, kFrom, half, 1, kFrom);
      edge_lines<V, kLine>(tile.columns, product_rows, rows, half, kFrom, 1, to, kTo, 1);
      for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < columns; ++j) {
          const int k = product_rows[i] * kProducts + product_columns[j];
          store(to[k], tile.products + k * tile.step + c);
        }
      }
    }
  };
  int64_t c = 0;
  for (; c + V::N <= tile.channels; c += V::N) {
    channels(c, [](const T* at) { return V::load(at); }, [](V v, T* at) { v.store(at); });
  }
  if (const int64_t rest = tile.channels - c; rest > 0) {
    channels(c, [&](const T* at) { return V::load_n(at, rest); }, [&](V v, T* at) { v.store_n(at, rest); });
  }
}

template <class V, template <class> class F>
void winograd_tile(const WinogradTile<typename V::T>& tile) {
  constexpr int kTile = F<V>::kTile;
  constexpr int kFilter = F<V>::kFilter;
  constexpr int kProducts = kTile + kFilter - 1;
  if constexpr (kTile == 4) {
    if (tile.rows < kTile || tile.columns < kTile) {
      if (tile.transform == WinogradTransform::input) return winograd_edge<V, EdgeLine::input>(tile);
      if (tile.transform == WinogradTransform::output) return winograd_edge<V, EdgeLine::output>(tile);
      if (tile.transform == WinogradTransform::grad_output) return winograd_edge<V, EdgeLine::grad_output>(tile);
    }
  }
  switch (tile.transform) {
    case WinogradTransform::input:
      return winograd_gather<V, kProducts, kProducts, kFilter - 1, F<V>::input>(tile);
    case WinogradTransform::filter:
      return winograd_gather<V, kFilter, kProducts, 0, F<V>::filter>(tile);
    case WinogradTransform::output:
      return winograd_scatter<V, kProducts, kTile, F<V>::output>(tile);
    case WinogradTransform::grad_output:
      return winograd_gather<V, kTile, kProducts, 0, F<V>::grad_output>(tile);
    case WinogradTransform::grad_filter:
      return winograd_scatter<V, kProducts, kFilter, F<V>::grad_filter>(tile);
  }
}

}  // namespace
}  // namespace sixloop
