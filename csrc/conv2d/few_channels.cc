#include <algorithm>
#include <optional>
#include <vector>

#include "conv2d/algorithms.h"

namespace sixloop {

// The strip kernel that spends the fewest cycles on the pixels.
template <class T>
const Kernel& select_few_channels(const Conv2dParams& p) {
  const int64_t steps = p.window.kh * p.window.kw * p.c;
  const int64_t pixels = p.n * p.oh * p.ow;
  const auto cost = [&](const Kernel& row) {
    // A store a cycle, and what a tile costs besides.
    constexpr int64_t kTileCycles = 20;
    const int64_t mr = row.facts.mr;
    const int64_t lanes = std::max<int64_t>(1, vector_bytes(row.isa) / static_cast<int64_t>(sizeof(T)));
    const int64_t stores = mr * ceil_div(p.o, lanes);
    // Rows in several lines have pointers of their own, of which the registers hold nine.
    const double bent = p.ow % mr == 0 ? 0 : static_cast<double>(std::min(mr, p.ow)) / static_cast<double>(p.ow);
    const double cycles =
        (1 - bent) * columns_cycles(row, p.o) + bent * columns_cycles(row, p.o, std::max<int64_t>(0, mr - 9));
    return static_cast<double>(ceil_div(pixels, mr)) *
           (cycles * static_cast<double>(steps) +
            static_cast<double>(stores + kTileCycles * ceil_div(p.o, row.facts.nr)));
  };
  const Kernel& first = select_row<GemmStrip, T>();
  const Kernel* best = &first;
  for (const Kernel& row : GemmStrip::kernels()) {
    if (row.kind == first.kind && row.dtype == first.dtype && row.isa == first.isa && row.facts.mr <= pixels &&
        cost(row) < cost(*best)) {
      best = &row;
    }
  }
  return *best;
}

bool few_channels_forward_pays(const Kernel& strip, const Conv2dParams& p) {
  // 5x5 filters at 14x14 and 7x7 of 24 to 48 channels are 5 to 19% faster than by row pointers; with 64 to 192
  // channels, whose filters fill more than half of the second-level cache, 15% slower.
  constexpr int64_t kMostChannels = 48;
  const Window& win = p.window;
  if (p.groups != 1 || win.dilation_w != 1 || win.kw == 1 || p.c > kMostChannels) return false;
  const int64_t filter_bytes = win.kh * win.kw * p.c * p.o * static_cast<int64_t>(size_of(strip.dtype));
  return p.n * p.oh * p.ow >= strip.facts.mr && (p.c <= kFewChannels || filter_bytes <= l2_bytes() * 3 / 8);
}

template <class T>
void few_channels_forward(const Kernel& strip, const Conv2dParams& p, const Windows<T>& windows, const T* w,
                          const Epilogue<T>& epilogue, T* y) {
  MatrixB<T> b;
  b.tap_data = {w};
  b.kc = windows.taps() * windows.run();
  b.n = p.o;
  b.ld = p.o;
  const int64_t a_step = p.window.stride_w * p.c;
  const int64_t a_line = p.window.stride_h * windows.row_length();
  const StripLines lines{p.ow, a_line, p.oh, windows.row(1, 0) - windows.row(0, p.oh)};
  const auto place = [&](int64_t pixel) {
    const int64_t in_line = pixel % p.ow;
    const int64_t line = pixel / p.ow;
    return StripPlace<T>{windows.row(line / p.oh, line % p.oh) + in_line * a_step, in_line, line % p.oh};
  };
  gemm_strip_loops(strip, p.n * p.oh * p.ow, windows.taps(), windows.run(), a_step,
                   p.window.dilation_h * windows.row_length(), lines, b, epilogue, /*few_rows=*/false, place, y);
}

template <class T>
int64_t few_channels_grad_weight_scratch(const Conv2dParams& p) {
  const int64_t size = p.window.kh * p.window.kw * p.c * p.o;
  const int64_t parts = pixel_parts(p.n * p.oh * p.ow, size * static_cast<int64_t>(sizeof(T)));
  return buffer_bytes<T>(Windows<T>::storage_size(p)) + (parts > 1 ? buffer_bytes<T>(parts * size) : 0);
}

template <class T>
void few_channels_grad_weight(const Conv2dParams& p, const Windows<T>& windows, const T* dy, T* dw) {
  const int64_t run = windows.run();
  const int64_t m = windows.taps() * run;
  const Kernel& row = select_tile<GemmColumns, T>(m, p.o);
  const auto kernel = function_of<GemmColumns, T>(row);
  const int64_t mr = row.facts.mr;
  const int64_t nr = row.facts.nr;
  const int64_t tiles = ceil_div(m, mr);
  const int64_t pixels = p.n * p.oh * p.ow;
  const int64_t parts = pixel_parts(pixels, m * p.o * static_cast<int64_t>(sizeof(T)));
  const int64_t part_pixels = ceil_div(pixels, parts);
  const int64_t a_step = p.window.stride_w * p.c;
  std::optional<Buffer<T>> sums;
  if (parts > 1) sums.emplace(parts * m * p.o);

  // All tiles and panels of a task pass over a few image rows before it goes on to the next ones: dy, which is larger
  // than x, comes from memory once.
  constexpr int64_t kBlockBytes = 96 << 10;
  const int64_t block_rows = std::max<int64_t>(1, kBlockBytes / (p.ow * p.o * static_cast<int64_t>(sizeof(T))));
  const int64_t groups = std::min(tiles, ceil_div(kPanelTasks * num_threads(), parts));
  const int64_t tiles_per_group = ceil_div(tiles, groups);

  std::vector<int64_t> places(static_cast<size_t>(m));  // of the filter's elements in a window
  for (int64_t i = 0; i < m; ++i) {
    places[static_cast<size_t>(i)] = i / run * p.window.dilation_h * windows.row_length() + i % run;
  }

  parallel_for(parts * groups, [&](int64_t task) {
    const int64_t part = task / groups;
    const int64_t begin = task % groups * tiles_per_group * mr;
    const int64_t stop = std::min(m, begin + tiles_per_group * mr);
    if (begin >= stop) return;
    T* out = parts > 1 ? sums->get() + part * m * p.o : dw;
    T edge[TileRunner<T>::kMaxNr] = {};
    const int64_t end = std::min(pixels, (part + 1) * part_pixels);
    for (int64_t pixel = part * part_pixels; pixel < end;) {
      // Whole rows of one image, or a part of one row where the part of the sum begins or ends in it.
      const int64_t ow = pixel % p.ow;
      const int64_t oh = pixel / p.ow % p.oh;
      const int64_t n = pixel / (p.ow * p.oh);
      const bool whole = ow == 0 && end - pixel >= p.ow;
      const int64_t rows = whole ? std::min({p.oh - oh, (end - pixel) / p.ow, block_rows}) : 1;
      const int64_t length = whole ? p.ow : std::min(end - pixel, p.ow - ow);
      // A panel of these rows of dy stays in the first-level cache while the tiles pass.
      const T* corner = windows.row(n, oh) + ow * a_step;
      for (int64_t j = 0; j < p.o; j += nr) {
        for (int64_t first = begin; first < stop; first += mr) {
          const T* a[TileRunner<T>::kMaxMr];
          for (int64_t i = 0; i < mr; ++i) a[i] = corner + places[static_cast<size_t>(std::min(first + i, m - 1))];
          T* c[TileRunner<T>::kMaxMr];
          for (int64_t i = 0; i < mr; ++i) c[i] = first + i < stop ? out + (first + i) * p.o + j : edge;
          kernel({rows, length, a, p.window.stride_h * windows.row_length(), a_step, dy + pixel * p.o + j, p.o,
                  std::min(nr, p.o - j), pixel > part * part_pixels ? Accumulation::resume : Accumulation::none, c});
        }
      }
      pixel += rows * length;
    }
  });
  if (parts > 1) add_parts(parts, m, p.o, sums->get(), dw, p.o);
}

#define SIXLOOP_INSTANTIATE(T)                                                                        \
  template const Kernel& select_few_channels<T>(const Conv2dParams&);                                 \
  template int64_t few_channels_grad_weight_scratch<T>(const Conv2dParams&);                          \
  template void few_channels_forward(const Kernel&, const Conv2dParams&, const Windows<T>&, const T*, \
                                     const Epilogue<T>&, T*);                                         \
  template void few_channels_grad_weight(const Conv2dParams&, const Windows<T>&, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
