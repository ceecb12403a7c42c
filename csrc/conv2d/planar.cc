#include <algorithm>

#include "conv2d/algorithms.h"

namespace sixloop {
namespace {

// x as channel planes with the padding written out: [n, c, h + top + bottom, w + left + right].
template <class T>
struct Planes {
  int64_t h, w;
  Buffer<T> data;

  Planes(const T* x, int64_t n, int64_t c, int64_t x_h, int64_t x_w, const Window& win)
      : h(x_h + win.pad_top + win.pad_bottom),
        w(x_w + win.pad_left + win.pad_right),
        data(Shape{n * c, h, w}.size() + kOverrun) {
    T* end = data.get() + n * c * h * w;
    std::fill(end, end + kOverrun, T{0});
    parallel_for(n, [&](int64_t image) {
      T* planes = data.get() + image * c * h * w;
      std::fill(planes, planes + c * h * w, T{0});
      for (int64_t r = 0; r < x_h; ++r) {
        const T* from = x + (image * x_h + r) * x_w * c;
        T* to = planes + (r + win.pad_top) * w + win.pad_left;
        for (int64_t j = 0; j < x_w; ++j) {
          for (int64_t i = 0; i < c; ++i) to[i * h * w + j] = from[j * c + i];
        }
      }
    });
  }

  // A tile's last vectors may begin inside the last plane and end this far behind it.
  static constexpr int64_t kOverrun = 64;
};

template <class T>
const Kernel& select_planar(int64_t channels) {
  const Kernel& first = select_row<Planar, T>();
  const Kernel* best = &first;
  for (const Kernel& row : Planar::kernels()) {
    if (row.kind != first.kind || row.dtype != first.dtype || row.isa != first.isa) continue;
    // Vectors of accumulators for one vector of pixels.
    if (ceil_div(channels, row.facts.mr) * row.facts.mr < ceil_div(channels, best->facts.mr) * best->facts.mr)
      best = &row;
  }
  return *best;
}

}  // namespace

bool planar_forward_pays(const Conv2dParams& p) {
  const Window& win = p.window;
  return p.groups == 1 && win.stride_h == 1 && win.stride_w == 1 && p.o <= 6 && p.c <= 16 && p.ow >= 8 &&
         win.kh * win.kw > 1;
}

template <class T>
void planar_forward(const Conv2dParams& p, const T* x, const T* w, const Epilogue<T>& epilogue, T* y) {
  const Window& win = p.window;
  const Kernel& row = select_planar<T>(p.o);
  const auto kernel = function_of<Planar, T>(row);
  const int64_t mr = row.facts.mr;
  const int64_t nr = row.facts.nr;
  const Planes<T> planes(x, p.n, p.c, p.h, p.w, win);
  const int64_t steps = win.kh * win.kw * p.c;
  const int64_t blocks = ceil_div(p.o, mr);
  Buffer<T> weights(blocks * steps * mr);
  Buffer<int64_t> offsets(std::max<int64_t>(steps, 1));
  for (int64_t s = 0; s < steps; ++s) {
    const int64_t kh = s / (win.kw * p.c);
    const int64_t kw = s / p.c % win.kw;
    offsets[s] = (s % p.c * planes.h + kh * win.dilation_h) * planes.w + kw * win.dilation_w;
    for (int64_t o = 0; o < blocks * mr; ++o) {
      weights[(o / mr * steps + s) * mr + o % mr] = o < p.o ? w[s * p.o + o] : T{0};
    }
  }
  const bool relu = epilogue.activation == Activation::relu;
  // Output positions are numbered along the padded rows, so that a tile may cross them.
  const int64_t positions = (p.oh - 1) * planes.w + p.ow;
  parallel_for(p.n, [&](int64_t image) {
    Buffer<T> tile(mr * nr);
    for (int64_t begin = 0; begin < positions; begin += nr) {
      for (int64_t block = 0; block < blocks; ++block) {
        kernel({steps, weights.get() + block * steps * mr,
                planes.data.get() + image * p.c * planes.h * planes.w + begin, offsets.get(), tile.get()});
        const int64_t first = block * mr;
        const int64_t channels = std::min(mr, p.o - first);
        int64_t r = begin / planes.w;
        int64_t column = begin % planes.w;
        const int64_t count = std::min(nr, positions - begin);
        for (int64_t j = 0; j < count;) {
          // The stretch of positions in one output row.
          const int64_t live = std::min(count - j, std::max<int64_t>(0, p.ow - column));
          T* out = y + ((image * p.oh + r) * p.ow + column) * p.o + first;
          for (int64_t o = 0; o < channels; ++o) {
            const T* from = tile.get() + o * nr + j;
            const T bias = epilogue.bias != nullptr ? epilogue.bias[first + o] : T{0};
            for (int64_t i = 0; i < live; ++i) {
              T value = from[i];
              if (epilogue.bias != nullptr) value += bias;
              if (relu) value = T{0} > value ? T{0} : value;
              out[i * p.o + o] = value;
            }
          }
          const int64_t skip = std::min(count - j, planes.w - column);
          j += skip;
          column += skip;
          if (column == planes.w) {
            column = 0;
            ++r;
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

#define SIXLOOP_INSTANTIATE(T) \
  template void planar_forward(const Conv2dParams&, const T*, const T*, const Epilogue<T>&, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
