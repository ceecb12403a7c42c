#include <algorithm>

#include "conv2d/algorithms.h"

namespace sixloop {
namespace {

// The padded images and dy with the parts as their last axis: [images, height, width, channels, kPartLanes].
template <class T>
struct PartLanes {
  const Kernel& row;
  int64_t images;  // of a part
  int64_t x_h, x_row;
  int64_t dy_row;
  int64_t x_size, dy_size;  // with what the kernel's last tile reads beyond the end
  int64_t sums_size;

  explicit PartLanes(const Conv2dParams& p) : row(select_row<LaneSums, T>()), images(p.n / kPartLanes) {
    const Window& win = p.window;
    x_h = p.h + win.pad_top + win.pad_bottom;
    x_row = (p.w + win.pad_left + win.pad_right) * p.c;
    dy_row = p.ow * p.o;
    x_size = (images * x_h * x_row + row.facts.mr) * kPartLanes;
    dy_size = (images * p.oh * dy_row + row.facts.nr) * kPartLanes;
    sums_size = win.kh * win.kw * p.c * p.o * kPartLanes;
  }
};

}  // namespace

template <class T>
bool part_lanes_pay(const Conv2dParams& p) {
  constexpr int64_t kFewOutputs = 6;
  // With vectors of 32 bytes one thread gains nothing, and two lose half of their speed: what one has copied the other
  // reads from the third-level cache (LeNet-5's first layer, 64 images, AVX2: 0.15 to 0.28 ms).
  if (vector_bytes(select_row<LaneSums, T>().isa) < 64) return false;
  const int64_t bytes = p.window.kh * p.window.kw * p.c * p.o * static_cast<int64_t>(sizeof(T));
  return reads_filter_rows(p) && p.o <= kFewOutputs && p.n > 0 && p.n % kPartLanes == 0 &&
         pixel_parts(p.n * p.oh * p.ow, bytes) == kPartLanes;
}

template <class T>
int64_t part_lanes_scratch(const Conv2dParams& p) {
  const PartLanes<T> lanes(p);
  return buffer_bytes<T>(Windows<T>::storage_size(p)) + buffer_bytes<T>(lanes.x_size) + buffer_bytes<T>(lanes.dy_size) +
         buffer_bytes<T>(lanes.sums_size);
}

template <class T>
void part_lanes_grad_weight(const Conv2dParams& p, const Windows<T>& windows, const T* dy, T* dw) {
  const PartLanes<T> lanes(p);
  const auto kernel = function_of<LaneSums, T>(lanes.row);
  const int64_t mr = lanes.row.facts.mr;
  const int64_t nr = lanes.row.facts.nr;
  const Window& win = p.window;
  const int64_t run = windows.run();
  const int64_t x_image = lanes.x_h * lanes.x_row;
  const int64_t dy_image = p.oh * lanes.dy_row;
  Buffer<T> x_lanes(lanes.x_size), dy_lanes(lanes.dy_size), sums(lanes.sums_size);
  std::fill(x_lanes.get() + lanes.x_size - mr * kPartLanes, x_lanes.get() + lanes.x_size, T{0});
  std::fill(dy_lanes.get() + lanes.dy_size - nr * kPartLanes, dy_lanes.get() + lanes.dy_size, T{0});
  std::fill_n(sums.get(), lanes.sums_size, T{0});

  const Kernel& turn = select_row<GemmTranspose, T>();
  // Part i has images [i * images, (i + 1) * images).
  parallel_for(lanes.images * (lanes.x_h + p.oh), [&](int64_t task) {
    const int64_t image = task / (lanes.x_h + p.oh);
    const int64_t h = task % (lanes.x_h + p.oh);
    if (h < lanes.x_h) {
      transpose_by(turn, windows.row(image, 0) + h * lanes.x_row, lanes.images * x_image, kPartLanes, lanes.x_row,
                   x_lanes.get() + (image * lanes.x_h + h) * lanes.x_row * kPartLanes, kPartLanes);
    } else {
      const int64_t row = image * p.oh + h - lanes.x_h;
      transpose_by(turn, dy + row * lanes.dy_row, lanes.images * dy_image, kPartLanes, lanes.dy_row,
                   dy_lanes.get() + row * lanes.dy_row * kPartLanes, kPartLanes);
    }
  });

  // All elements of the filter pass over a few rows, which the first-level cache keeps, before the next ones come.
  constexpr int64_t kBlockBytes = 24 << 10;
  const int64_t row_bytes = lanes.dy_row * kPartLanes * static_cast<int64_t>(sizeof(T));
  const int64_t block = std::clamp<int64_t>(kBlockBytes / row_bytes, 1, p.oh);
  parallel_for(ceil_div(p.o, nr), [&](int64_t task) {
    const int64_t o = task * nr;
    for (int64_t image = 0; image < lanes.images; ++image) {
      for (int64_t oh = 0; oh < p.oh; oh += block) {
        for (int64_t tap = 0; tap < windows.taps(); ++tap) {
          const int64_t h = oh * win.stride_h + tap * win.dilation_h;
          const T* a = x_lanes.get() + (image * lanes.x_h + h) * lanes.x_row * kPartLanes;
          const T* b = dy_lanes.get() + ((image * p.oh + oh) * lanes.dy_row + o) * kPartLanes;
          for (int64_t i = 0; i < run; i += mr) {
            kernel({std::min(block, p.oh - oh), p.ow, a + i * kPartLanes, win.stride_h * lanes.x_row * kPartLanes,
                    win.stride_w * p.c * kPartLanes, b, p.o * kPartLanes, std::min(mr, run - i), std::min(nr, p.o - o),
                    sums.get() + ((tap * run + i) * p.o + o) * kPartLanes, p.o * kPartLanes});
          }
        }
      }
    }
  });
  for (int64_t i = 0; i < lanes.sums_size / kPartLanes; ++i) {
    const T* parts = sums.get() + i * kPartLanes;
    T sum = parts[0];
    for (int64_t part = 1; part < kPartLanes; ++part) sum += parts[part];
    dw[i] = sum;
  }
}

#define SIXLOOP_INSTANTIATE(T)                                 \
  template bool part_lanes_pay<T>(const Conv2dParams&);        \
  template int64_t part_lanes_scratch<T>(const Conv2dParams&); \
  template void part_lanes_grad_weight(const Conv2dParams&, const Windows<T>&, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
