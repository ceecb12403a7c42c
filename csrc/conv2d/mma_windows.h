// What implicit-GEMM convolution multiplies on the tensor cores: the windows of an image, and the filters of the input
// gradient, as operands of gemm/mma_product.h. A window's place in the image is found when it is copied; no matrix of
// windows is written.
#pragma once

#include "conv2d/simt_direct.h"
#include "gemm/mma_matrices.h"

namespace sixloop::cuda {

__device__ __forceinline__ Place place_of(uint32_t value, Index middles, Index lows) {
  const uint32_t rest = value / static_cast<uint32_t>(lows);
  Place place;
  place.high = static_cast<Index>(rest / static_cast<uint32_t>(middles));
  place.middle = static_cast<Index>(rest % static_cast<uint32_t>(middles));
  place.low = static_cast<Index>(value % static_cast<uint32_t>(lows));
  return place;
}

// Copies a thread's chunks in pieces of W elements. find(p, present) tells where the element is that belongs to chunk p
// now, next() goes to the one after it, in all chunks.
template <class Share, int W, class Find, class Next>
__device__ __forceinline__ void put_in_pieces(const typename Share::Put& put, const Find& find, const Next& next) {
  using T = typename Share::T;
  constexpr int kBytes = W * static_cast<int>(sizeof(T));
  if constexpr (kBytes >= 4) {
#pragma unroll
    for (int j = 0; j < Share::kChunk; j += W) {
#pragma unroll
      for (int p = 0; p < Share::kChunks; ++p) {
        bool present = false;
        const T* const from = find(p, present);
        ptx::cp_async<kBytes>(put.to(p) + j, from, present);
      }
#pragma unroll
      for (int x = 0; x < W; ++x) next();
    }
  } else {
    Pack<T> held[Share::kChunks];
#pragma unroll
    for (int j = 0; j < Share::kChunk; ++j) {
#pragma unroll
      for (int p = 0; p < Share::kChunks; ++p) {
        bool present = false;
        const T* const from = find(p, present);
        held[p].v[j] = present ? *from : T{};
      }
      next();
    }
#pragma unroll
    for (int p = 0; p < Share::kChunks; ++p) store_pack(held[p], put.to(p));
  }
}
template <class Share, class Find, class Next>
__device__ __forceinline__ void put_in_pieces(const typename Share::Put& put, int width, const Find& find,
                                              const Next& next) {
  if constexpr (sizeof(typename Share::T) == 2) {
    if (width == 2) return put_in_pieces<Share, 2>(put, find, next);
  }
  put_in_pieces<Share, 1>(put, find, next);
}

// Where the windows of a thread's chunks begin.
template <class T, int kChunks>
struct WindowOrigins {
  const T* from[kChunks];
  Index row[kChunks], column[kChunks];

  __device__ __forceinline__ void set(int p, const Windows<T, Index>& w, const T* group, const Place& pixel,
                                      bool present) {
    row[p] = w.row(pixel.middle, 0);
    column[p] = w.column(pixel.low, 0);
    from[p] = group + w.image(pixel.high) + (static_cast<int64_t>(row[p]) * w.w + column[p]) * w.c;
    if (!present) row[p] = kOutside;
  }
  // Element e of window p.
  __device__ __forceinline__ const T* find(int p, const Windows<T, Index>& w, const Place& e, bool& present) const {
    const Index down = e.high * w.tap_h, right = e.middle * w.tap_w;
    const auto within = [](Index i, Index end) { return static_cast<uint32_t>(i) < static_cast<uint32_t>(end); };
    present = (e.high < w.taps_h) & within(row[p] + down, w.h) & within(column[p] + right, w.w);
    return from[p] + (static_cast<int64_t>(down) * (w.w * w.c) + static_cast<int64_t>(right) * w.c + e.low);
  }
};

// Left operand of the forward pass and of the input gradient: row x is a pixel's window, step k is (i, j, channel).
template <class T, bool kAnyWidth>
struct MmaWindowRows {
  static constexpr bool kTurned = true;
  Windows<T, Index> windows;
  int64_t pixels;
  int width;
  Place step = {};  // from one load to the next

  template <class Share>
  void prepare() {
    step = Place(Share::BK, windows.taps_w, windows.run);
  }

  template <class Share>
  struct Loader {
    const MmaWindowRows& operand;
    Place at;
    WindowOrigins<T, Share::kChunks> origins;

    __device__ __forceinline__ Loader(const MmaWindowRows& rows, int64_t batch, int64_t x, int64_t k, int64_t)
        : operand(rows), at(k + Share::along(), rows.windows.taps_w, rows.windows.run) {
      const Windows<T, Index>& w = operand.windows;
#pragma unroll
      for (int p = 0; p < Share::kChunks; ++p) {
        const int64_t pixel = x + Share::line() + p * Share::kLinesApart;
        origins.set(p, w, w.data + batch * w.run, place_of(static_cast<uint32_t>(pixel), w.pixels_h, w.pixels_w),
                    pixel < operand.pixels);
      }
    }

    __device__ __forceinline__ void load(const typename Share::Put& put) {
      const Windows<T, Index>& w = operand.windows;
      if (!kAnyWidth || operand.width == Share::kChunk) {
#pragma unroll
        for (int p = 0; p < Share::kChunks; ++p) {
          bool present = false;
          const T* const from = origins.find(p, w, at, present);
          put.whole(p, from, present);
        }
      } else {
        Place e = at;
        put_in_pieces<Share>(
            put, operand.width, [&](int p, bool& present) { return origins.find(p, w, e, present); },
            [&] { e.next(w.taps_w, w.run); });
      }
      at.add(operand.step, w.taps_w, w.run);
    }
  };
};

// Left operand of the weight gradient: row x is (i, j, channel), step k is a pixel.
template <class T, bool kAnyWidth>
struct MmaWindowColumns {
  static constexpr bool kTurned = false;
  Windows<T, Index> windows;
  Index images;
  int width;
  Place step = {};  // from one chunk of a thread to its next

  template <class Share>
  void prepare() {
    step = Place(Share::kLinesApart, windows.pixels_h, windows.pixels_w);
  }

  template <class Share>
  struct Loader {
    const MmaWindowColumns& operand;
    const T* group;
    Place element;  // (i, j, channel) of the thread's chunks
    Place pixel;    // of the next chunk

    __device__ __forceinline__ Loader(const MmaWindowColumns& columns, int64_t batch, int64_t x, int64_t k, int64_t)
        : operand(columns),
          group(columns.windows.data + batch * columns.windows.run),
          element(place_of(static_cast<uint32_t>(x + Share::along()), columns.windows.taps_w, columns.windows.run)),
          pixel(
              place_of(static_cast<uint32_t>(k + Share::line()), columns.windows.pixels_h, columns.windows.pixels_w)) {}

    __device__ __forceinline__ void load(const typename Share::Put& put) {
      const Windows<T, Index>& w = operand.windows;
      WindowOrigins<T, Share::kChunks> origins;
#pragma unroll
      for (int p = 0; p < Share::kChunks; ++p) {
        origins.set(p, w, group, pixel, pixel.high < operand.images);
        pixel.add(operand.step, w.pixels_h, w.pixels_w);
      }
      if (!kAnyWidth || operand.width == Share::kChunk) {
#pragma unroll
        for (int p = 0; p < Share::kChunks; ++p) {
          bool present = false;
          const T* const from = origins.find(p, w, element, present);
          put.whole(p, from, present);
        }
      } else {
        Place e = element;
        put_in_pieces<Share>(
            put, operand.width, [&](int p, bool& present) { return origins.find(p, w, e, present); },
            [&] { e.next(w.taps_w, w.run); });
      }
    }
  };
};

// Element (i, j, k) of column x in group g: data[first + i * step_i + j * step_j + k + x * step_x + g * group_step].
template <class T>
struct MmaFilters {
  const T* data;
  Index first, step_i, step_j, step_x, group_step;
  Index taps_h, taps_w, run;
  Index x_end;
};

// Right operand of the input gradient: column x is an input channel, step k is (i, j, output channel).
template <class T, bool kAnyWidth>
struct MmaFilterColumns {
  static constexpr bool kTurned = true;
  MmaFilters<T> filters;
  int width;
  Place step = {};

  template <class Share>
  void prepare() {
    step = Place(Share::BK, filters.taps_w, filters.run);
  }

  template <class Share>
  struct Loader {
    const MmaFilterColumns& operand;
    const MmaFilters<T>& f;
    const T* from;
    Index x;
    Place at;

    __device__ __forceinline__ Loader(const MmaFilterColumns& columns, int64_t batch, int64_t x0, int64_t k, int64_t)
        : operand(columns),
          f(columns.filters),
          from(f.data + batch * f.group_step + f.first),
          x(static_cast<Index>(x0) + Share::line()),
          at(k + Share::along(), f.taps_w, f.run) {}

    __device__ __forceinline__ const T* find(int p, const Place& e, bool& present) const {
      const Index column = x + p * Share::kLinesApart;
      present = column < f.x_end && e.high < f.taps_h;
      // Only where it is not there does the offset leave 32 bits.
      const auto at_step = [](Index steps, Index step) {
        return static_cast<uint32_t>(steps) * static_cast<uint32_t>(step);
      };
      return from + (at_step(e.high, f.step_i) + at_step(e.middle, f.step_j) + at_step(column, f.step_x) +
                     static_cast<uint32_t>(e.low));
    }

    __device__ __forceinline__ void load(const typename Share::Put& put) {
      if (!kAnyWidth || operand.width == Share::kChunk) {
#pragma unroll
        for (int p = 0; p < Share::kChunks; ++p) {
          bool present = false;
          const T* const whole = find(p, at, present);
          put.whole(p, whole, present);
        }
      } else {
        Place e = at;
        put_in_pieces<Share>(
            put, operand.width, [&](int p, bool& present) { return find(p, e, present); },
            [&] { e.next(f.taps_w, f.run); });
      }
      at.add(operand.step, f.taps_w, f.run);
    }
  };
};

// Where the rows of the input gradient lie: the pixels of a phase in dx.
struct MmaPhaseRows {
  bool dense;  // the phase has all pixels
  Index pixels_h, pixels_w;
  int64_t first, step_h, step_w, image, pixel;  // elements of dx

  __device__ __forceinline__ int64_t operator()(int64_t r) const {
    if (dense) return r * pixel;
    const Place at = place_of(static_cast<uint32_t>(r), pixels_h, pixels_w);
    return first + at.high * image + at.middle * step_h + at.low * step_w;
  }
};

}  // namespace sixloop::cuda
