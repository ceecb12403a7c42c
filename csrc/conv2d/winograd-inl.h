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

template <class V, template <class> class F>
void winograd_tile(const WinogradTile<typename V::T>& tile) {
  constexpr int kTile = F<V>::kTile;
  constexpr int kFilter = F<V>::kFilter;
  constexpr int kProducts = kTile + kFilter - 1;
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
