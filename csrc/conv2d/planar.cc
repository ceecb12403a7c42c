#include <algorithm>

#include "conv2d/algorithms.h"

namespace sixloop {
namespace {

// x as channel planes with the left and right padding written out: [n, c, h, left + w + right].
template <class T>
struct Planes {
  int64_t h, w;
  Buffer<T> data;

  Planes(const T* x, int64_t n, int64_t c, int64_t x_h, int64_t x_w, const Window& win)
      : h(x_h), w(win.pad_left + x_w + win.pad_right), data(size(n, c, x_h, x_w, win)) {
    T* end = data.get() + n * c * h * w;
    std::fill(end, end + kOverrun, T{0});
    parallel_for(n, [&](int64_t image) {
      for (int64_t i = 0; i < c; ++i) {
        T* to = data.get() + (image * c + i) * h * w;
        const T* from = x + image * h * x_w * c + i;
        for (int64_t r = 0; r < h; ++r) {
          to = std::fill_n(to, win.pad_left, T{0});
          for (int64_t j = 0; j < x_w; ++j, from += c) *to++ = *from;
          to = std::fill_n(to, win.pad_right, T{0});
        }
      }
    });
  }

  static int64_t size(int64_t n, int64_t c, int64_t h, int64_t w, const Window& win) {
    return Shape{n * c, h, win.pad_left + w + win.pad_right}.size() + kOverrun;
  }

  // A tile's last vectors may begin inside the last plane and end this far behind it.
  static constexpr int64_t kOverrun = 64;
};

}  // namespace

template <class T>
const Kernel& select_planar(int64_t channels, int64_t ow) {
  // A step of a tile: two fused multiply-adds or two loads a cycle, but no accumulator more than once in four.
  const auto cost = [&](const Kernel& row) {
    const int64_t mr = row.facts.mr;
    const int64_t vectors = row.facts.nr * static_cast<int64_t>(sizeof(T)) / std::max(vector_bytes(row.isa), 1);
    const int64_t halves = std::max<int64_t>({mr * vectors, mr + vectors, 8});
    return ceil_div(channels, mr) * ceil_div(ow, row.facts.nr) * halves;
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
  const Kernel& row = select_planar<T>(p.o, p.ow);
  const int64_t steps = p.window.kh * p.window.kw * p.c;
  const int64_t filters = ceil_div(p.o, row.facts.mr) * row.facts.mr;
  return buffer_bytes<T>(Planes<T>::size(p.n, p.c, p.h, p.w, p.window)) + buffer_bytes<T>(filters * steps) +
         buffer_bytes<int64_t>(steps) + PaddedBias<T>::scratch(filters) +
         task_bytes(p.n, buffer_bytes<T>(row.facts.mr * row.facts.nr));
}

template <class T>
void planar_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y) {
  const Window& win = p.window;
  const Kernel& row = select_planar<T>(p.o, p.ow);
  const auto kernel = function_of<Planar, T>(row);
  const int64_t mr = row.facts.mr;
  const int64_t nr = row.facts.nr;
  const Planes<T> planes(x, p.n, p.c, p.h, p.w, win);
  const int64_t row_steps = win.kw * p.c;
  const int64_t steps = win.kh * row_steps;
  const int64_t blocks = ceil_div(p.o, mr);
  Buffer<T> weights(blocks * steps * mr);
  Buffer<int64_t> offsets(std::max<int64_t>(steps, 1));
  int64_t* offset = offsets.get();
  for (int64_t kh = 0; kh < win.kh; ++kh) {
    for (int64_t kw = 0; kw < win.kw; ++kw) {
      const int64_t first = kh * win.dilation_h * planes.w + kw * win.dilation_w;
      for (int64_t c = 0; c < p.c; ++c) *offset++ = first + c * planes.h * planes.w;
    }
  }
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t live = std::min(mr, p.o - block * mr);
    T* to = weights.get() + block * steps * mr;
    for (int64_t s = 0; s < steps; ++s, to += mr) {
      const T* from = w + s * p.o + block * mr;
      for (int64_t o = 0; o < mr; ++o) to[o] = o < live ? from[o] : T{0};
    }
  }
  const PaddedBias<T> bias(epilogue.bias, p.o, blocks * mr);
  const bool relu = epilogue.activation == Activation::relu;
  parallel_for(p.n, [&](int64_t image) {
    Buffer<T> tile(mr * nr);
    for (int64_t r = 0; r < p.oh; ++r) {
      // Filter rows that meet the image, not the padding above or below it.
      const int64_t top = r - win.pad_top;
      const int64_t first_kh = top < 0 ? std::min(win.kh, ceil_div(-top, win.dilation_h)) : 0;
      const int64_t end_kh = top < p.h ? std::min(win.kh, ceil_div(p.h - top, win.dilation_h)) : 0;
      const int64_t first_step = first_kh * row_steps;
      const int64_t live_steps = std::max<int64_t>(0, end_kh - first_kh) * row_steps;
      for (int64_t begin = 0; begin < p.ow; begin += nr) {
        const T* in = planes.data.get() + (image * p.c * planes.h + top) * planes.w + begin;
        const int64_t live = std::min(nr, p.ow - begin);
        for (int64_t block = 0; block < blocks; ++block) {
          kernel({live_steps, weights.get() + (block * steps + first_step) * mr, in, offsets.get() + first_step,
                  bias.at(block * mr), relu, tile.get()});
          const int64_t first = block * mr;
          const int64_t channels = std::min(mr, p.o - first);
          T* out = y + ((image * p.oh + r) * p.ow + begin) * p.o + first;
          for (int64_t i = 0; i < live; ++i) {
            for (int64_t o = 0; o < channels; ++o) out[i * p.o + o] = tile[o * nr + i];
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

#define SIXLOOP_INSTANTIATE(T)                               \
  template int64_t planar_scratch<T>(const Conv2dParams&);   \
  template const Kernel& select_planar<T>(int64_t, int64_t); \
  template void planar_forward(const Conv2dParams&, const T*, const T*, const Epilogue<T>&, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
