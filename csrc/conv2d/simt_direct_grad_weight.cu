#include "conv2d/simt_direct.h"

namespace sixloop::cuda {
namespace {

// Left operand of the weight gradient: row x is (i, j, channel), step k is a pixel.
template <class T>
struct WindowColumns {
  static constexpr bool kTurned = false;
  Windows<T, Index> windows;
  Index images;
  Place step = {};  // from one pack of a thread to its next

  template <class Share>
  void prepare() {
    step = Place(Share::kLinesApart, windows.pixels_h, windows.pixels_w);
  }

  template <class Share>
  struct Loader {
    const WindowColumns& operand;
    const Windows<T, Index>& w;
    const T* group;
    Place element;  // (i, j, channel) of the thread's packs
    Place pixel;    // of the next pack

    __device__ __forceinline__ Loader(const WindowColumns& columns, int64_t batch, int64_t x, int64_t k, int64_t)
        : operand(columns),
          w(columns.windows),
          group(w.data + batch * w.run),
          element(x + Share::along(), w.taps_w, w.run),
          pixel(k + Share::line(), w.pixels_h, w.pixels_w) {}

    // Pixels beyond the end of a part are there, too: they are not multiplied.
    __device__ __forceinline__ const T* find(const Place& e) const {
      if (pixel.high >= operand.images || e.high >= w.taps_h) return nullptr;
      const Index r = w.row(pixel.middle, e.high), s = w.column(pixel.low, e.middle);
      if (!w.inside(r, s)) return nullptr;
      return group + w.image(pixel.high) + (w.offset(r, s) + e.low);
    }

    __device__ __forceinline__ void load(Share& share) {
#pragma unroll
      for (int p = 0; p < Share::kPacks; ++p) {
        gather(share.held[p], w.packs, element, w.taps_w, w.run, [&](const Place& e) { return find(e); });
        pixel.add(operand.step, w.pixels_h, w.pixels_w);
      }
    }
  };
};

}  // namespace

template <class T>
void direct_grad_weight(const Conv2dParams& p, const T* x, const T* dy, T* dw) {
  const int64_t pixels = p.n * p.oh * p.ow, columns = p.o / p.groups;
  const Windows<T> windows = windows_of(p, x);
  const int64_t rows = windows.steps();
  // The CPU cuts the sum of one group, or of all channels of a depthwise convolution.
  const int64_t result = rows * (is_depthwise(p) ? p.c : columns);
  const int64_t parts = pixel_parts(pixels, result * static_cast<int64_t>(sizeof(T)));
  const int64_t part = ceil_div(pixels, parts), size = rows * p.o;
  const Scratch<T> sums(parts > 1 ? parts * size : 0);
  T* const out = parts > 1 ? sums.get() : dw;
  if (!is_product(p) && by_elements(p, p.o, windows)) {
    grouped_grad_weight(p, windows, dy, pixels, parts, part, out);
  } else {
    Sink<T, DenseRows> sink{};
    sink.data = out;
    sink.rows = {p.o};
    sink.batch_step = columns;
    sink.part_step = size;
    sink.packs = packs_of(out, p.o, columns) && size % Pack<T>::N == 0;
    const ProductSizes g{rows, columns, pixels, p.groups, parts, part};
    const auto right = matrix<false>(dy, p.o, columns, columns);
    if (is_product(p)) {
      multiply(g, matrix<false>(x, p.c, p.c), right, sink);
    } else {
      launch_convolution<false>(g, WindowColumns<T>{shortened(windows), static_cast<Index>(p.n)}, right, sink);
    }
  }
  if (parts > 1) add_parts(static_cast<const T*>(sums.get()), parts, size, dw);
}

#define SIXLOOP_INSTANTIATE(T) template void direct_grad_weight(const Conv2dParams&, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop::cuda
