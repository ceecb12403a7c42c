#include <algorithm>
#include <optional>

#include "base/transpose.h"
#include "conv2d/algorithms.h"

namespace sixloop {
namespace {

// x as channel planes with the left and right padding written out, and `spare` rows of zeros above and below:
// [n, c, spare + h + spare, left + w + right].
template <class T>
struct Planes {
  int64_t h, w;
  Buffer<T> data;

  Planes(const T* x, const Conv2dParams& p, int64_t spare) : h(p.h + 2 * spare), w(width(p)), data(size(p, spare)) {
    T* end = data.get() + p.n * p.c * h * w;
    std::fill(end, end + kOverrun, T{0});
    parallel_for(p.n, [&](int64_t image) {
      T* const first = data.get() + image * p.c * h * w;
      // All of it, in the first-level cache: calls for each row's few zeros take longer.
      std::fill_n(first, p.c * h * w, T{0});
      for (int64_t r = 0; r < p.h; ++r) {
        const T* from = x + (image * p.h + r) * p.w * p.c;
        T* to = first + (spare + r) * w + p.window.pad_left;
        if (p.c == 1) {
          std::copy_n(from, p.w, to);
        } else {
          transpose(from, p.c, p.w, p.c, to, h * w);
        }
      }
    });
  }

  static int64_t width(const Conv2dParams& p) { return p.window.pad_left + p.w + p.window.pad_right; }
  static int64_t size(const Conv2dParams& p, int64_t spare) {
    return Shape{p.n * p.c, p.h + 2 * spare, width(p)}.size() + kOverrun;
  }

  // A tile's last vectors may begin inside the last plane and end this far behind it.
  static constexpr int64_t kOverrun = 64;
};

template <class T>
int64_t vectors_of(const Kernel& row) {
  return row.facts.nr * static_cast<int64_t>(sizeof(T)) / std::max(vector_bytes(row.isa), static_cast<int>(sizeof(T)));
}

// Rows of pixels in a tile: where one vector has room for a row, each vector has one of its own.
template <class T>
int64_t tile_rows(const Kernel& row, int64_t oh, int64_t ow) {
  const int64_t vectors = vectors_of<T>(row);
  return ow <= row.facts.nr / vectors && oh >= vectors ? vectors : 1;
}

}  // namespace

template <class T>
const Kernel& select_planar(int64_t channels, int64_t oh, int64_t ow) {
  // A step of a tile: two fused multiply-adds or two loads a cycle, but no accumulator more than once in four.
  const auto cost = [&](const Kernel& row) {
    constexpr int64_t kRows = 12;  // a multiple of all numbers of rows in a tile
    const int64_t mr = row.facts.mr;
    const int64_t vectors = vectors_of<T>(row);
    const int64_t halves = std::max<int64_t>({mr * vectors, mr + vectors, 8});
    const int64_t rows = tile_rows<T>(row, oh, ow);
    return ceil_div(channels, mr) * (rows > 1 ? 1 : ceil_div(ow, row.facts.nr)) * halves * kRows / rows;
  };
  const Kernel& first = select_row<Planar, T>();
  const Kernel* best = &first;
  for (const Kernel& row : Planar::kernels()) {
    if (row.kind == first.kind && row.dtype == first.dtype && row.isa == first.isa && cost(row) < cost(*best)) {
      best = &row;
    }
  }
  return *best;
}

bool planar_forward_pays(const Conv2dParams& p) {
  const Window& win = p.window;
  return p.groups == 1 && win.stride_h == 1 && win.stride_w == 1 && p.o <= 6 && p.c <= 16 && p.ow >= 8 &&
         win.kh * win.kw > 1;
}

template <class T>
int64_t planar_scratch(const Conv2dParams& p) {
  const Kernel& row = select_planar<T>(p.o, p.oh, p.ow);
  const int64_t steps = p.window.kh * p.window.kw * p.c;
  const int64_t filters = ceil_div(p.o, row.facts.mr) * row.facts.mr;
  const int64_t spare = tile_rows<T>(row, p.oh, p.ow) - 1;
  return buffer_bytes<T>(Planes<T>::size(p, spare)) + (row.facts.mr != p.o ? buffer_bytes<T>(filters * steps) : 0) +
         buffer_bytes<int64_t>(steps) + PaddedBias<T>::scratch(filters);
}

template <class T>
void planar_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y) {
  const Window& win = p.window;
  const Kernel& row = select_planar<T>(p.o, p.oh, p.ow);
  const auto kernel = function_of<Planar, T>(row);
  const int64_t mr = row.facts.mr;
  const int64_t nr = row.facts.nr;
  const int64_t lanes = nr / vectors_of<T>(row);
  const int64_t rows = tile_rows<T>(row, p.oh, p.ow);
  const int64_t spare = rows - 1;
  const Planes<T> planes(x, p, spare);
  const int64_t row_steps = win.kw * p.c;
  const int64_t steps = win.kh * row_steps;
  const int64_t blocks = ceil_div(p.o, mr);
  Buffer<int64_t> offsets(std::max<int64_t>(steps, 1));
  int64_t* offset = offsets.get();
  for (int64_t kh = 0; kh < win.kh; ++kh) {
    for (int64_t kw = 0; kw < win.kw; ++kw) {
      const int64_t first = kh * win.dilation_h * planes.w + kw * win.dilation_w;
      for (int64_t c = 0; c < p.c; ++c) *offset++ = first + c * planes.h * planes.w;
    }
  }
  std::optional<Buffer<T>> padded;
  if (mr != p.o) {
    padded.emplace(blocks * steps * mr);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t live = std::min(mr, p.o - block * mr);
      T* to = padded->get() + block * steps * mr;
      for (int64_t s = 0; s < steps; ++s, to += mr) {
        const T* from = w + s * p.o + block * mr;
        for (int64_t o = 0; o < mr; ++o) to[o] = o < live ? from[o] : T{0};
      }
    }
  }
  // Filters of a single whole block lie as the kernel wants them.
  const T* weights = padded ? padded->get() : w;
  const PaddedBias<T> bias(epilogue.bias, p.o, blocks * mr);
  const bool relu = epilogue.activation == Activation::relu;
  // Filter rows that meet the image, not the padding above or below it, from output row r.
  const auto first_kh = [&](int64_t r) {
    const int64_t above = win.pad_top - r;
    return above > 0 ? std::min(win.kh, ceil_div(above, win.dilation_h)) : 0;
  };
  const auto end_kh = [&](int64_t r) {
    const int64_t below = p.h + win.pad_top - r;
    return below > 0 ? std::min(win.kh, ceil_div(below, win.dilation_h)) : 0;
  };
  parallel_for(p.n, [&](int64_t image) {
    alignas(64) T tile[TileRunner<T>::kMaxMr * TileRunner<T>::kMaxNr];
    for (int64_t done = 0; done < p.oh; done += rows) {
      // The last tile ends with the last row: what it shares with the tile before it computes again, to the same bits.
      const int64_t r = std::min(done, p.oh - rows);
      // All rows take the filter rows that one of them needs; the others meet the spare zeros there.
      const int64_t begin_kh = first_kh(r + spare);
      const int64_t first_step = begin_kh * row_steps;
      const int64_t live_steps = std::max<int64_t>(0, end_kh(r) - begin_kh) * row_steps;
      for (int64_t begin = 0; begin < p.ow; begin += nr) {
        const T* in = planes.data.get() + (image * p.c * planes.h + spare + r - win.pad_top) * planes.w + begin;
        const int64_t live = std::min(nr, p.ow - begin);
        for (int64_t block = 0; block < blocks; ++block) {
          kernel({live_steps, weights + (block * steps + first_step) * mr, in, rows > 1 ? planes.w : lanes,
                  offsets.get() + first_step, bias.at(block * mr), relu, tile});
          const int64_t first = block * mr;
          for (int64_t i = 0; i < rows; ++i) {
            transpose(tile + i * lanes, nr, std::min(mr, p.o - first), live,
                      y + ((image * p.oh + r + i) * p.ow + begin) * p.o + first, p.o);
          }
        }
      }
    }
    if (!relu && epilogue.activation != Activation::none) {
      const int64_t size = p.oh * p.ow * p.o;
      apply_activation(y + image * size, size, epilogue.activation);
    }
  });
}

#define SIXLOOP_INSTANTIATE(T)                                        \
  template int64_t planar_scratch<T>(const Conv2dParams&);            \
  template const Kernel& select_planar<T>(int64_t, int64_t, int64_t); \
  template void planar_forward(const Conv2dParams&, const T*, const T*, const Epilogue<T>&, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
