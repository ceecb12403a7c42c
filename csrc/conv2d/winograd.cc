#include <algorithm>
#include <memory>
#include <optional>

#include "conv2d/algorithms.h"
#include "conv2d/winograd_tiling.h"

namespace sixloop {
namespace {

constexpr int64_t kMaxPixels = 36;
constexpr int64_t kMaxTaps = 25;

// Pointers to the pixels of a square of an [n, h, w, c] array; those beyond its edges point to `outside`.
template <class P>
void square_pointers(P* array, P* outside, int64_t h, int64_t w, int64_t c, int64_t n, int64_t top, int64_t left,
                     int64_t side, P** pointers) {
  for (int64_t i = 0; i < side; ++i) {
    const bool row_inside = top + i >= 0 && top + i < h;
    for (int64_t j = 0; j < side; ++j) {
      const bool inside = row_inside && left + j >= 0 && left + j < w;
      *pointers++ = inside ? array + ((n * h + top + i) * w + left + j) * c : outside;
    }
  }
}

// pointers_of(place, pointers) for each of the tiles; then f(i, place, those of the i-th one, those of the next one or
// null).
template <class P, class PointersOf, class F>
void for_each_square(const WinogradTiling& tiling, int64_t begin, int64_t count, const PointersOf& pointers_of,
                     const F& f) {
  P* squares[2][kMaxPixels];
  WinogradPlace place = tiling.place(begin);
  pointers_of(place, squares[0]);
  for (int64_t i = 0; i < count; ++i) {
    P** const next = i + 1 < count ? squares[(i + 1) % 2] : nullptr;
    const WinogradPlace here = place;
    if (next != nullptr) {
      place = tiling.place(begin + i + 1);
      pointers_of(place, next);
    }
    f(i, here, squares[i % 2], next);
  }
}

// Rows of a matrix of products, and the matrices themselves, are one cache line longer than their elements, so that
// those of a power of two do not share cache sets.
template <class T>
constexpr int64_t padded(int64_t elements) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  return ceil_div(elements, kLine) * kLine + kLine;
}

template <class Kind, class T>
const Kernel& select_tile_row(int64_t side) {
  const Kernel& first = select_row<Kind, T>();
  for (const Kernel& row : Kind::kernels()) {
    if (is_row_of<Kind, T>(row) && row.isa == first.isa && row.facts.mr == side) return row;
  }
  throw std::logic_error("no Winograd kernel for this tile");
}

// A kernel of either kind has the type Winograd::Fn.
template <class T>
const Kernel& select_winograd(const WinogradTiling& tiling) {
  return tiling.filter == 5 ? select_tile_row<WinogradOf5x5, T>(tiling.side)
                            : select_tile_row<Winograd, T>(tiling.side);
}

// Matrices of products of up to `tiles` tiles, [products][tiles][ld].
template <class T>
struct Products {
  int64_t ld;
  int64_t step;
  Buffer<T> data;

  Products(const WinogradTiling& tiling, int64_t tiles, int64_t channels)
      : ld(padded<T>(channels)), step(tiles * ld), data(tiling.products * step) {}
  static int64_t scratch(const WinogradTiling& tiling, int64_t tiles, int64_t channels) {
    return buffer_bytes<T>(tiling.products * tiles * padded<T>(channels));
  }
  T* row(int64_t tile) { return data.get() + tile * ld; }
  T* row(int64_t product, int64_t tile) { return row(tile) + product * step; }
};

// The kernels of one call, chosen once: another thread may change the instruction set meanwhile. The products' rows lie
// at equal distances: strips take them, of all heights that the instruction set has for panels of nr columns. What is
// less than the lowest one is left to GemmRows.
template <class T>
class TileKernels {
 public:
  typename Winograd::Fn<T>* transform;

  TileKernels(const WinogradTiling& tiling, int64_t outputs)
      : transform(function_of<Winograd, T>(select_winograd<T>(tiling))),
        rows_(&select_tile<GemmRows, T>(std::min(kRows, tiling.count), outputs)) {
    const int64_t tiles = std::min(kRows, tiling.count);
    double best = 0;
    for (const Kernel& strip : GemmStrip::kernels()) {
      if (!is_row_of<GemmStrip, T>(strip) || strip.isa != rows_->isa || strip.facts.mr > tiles) continue;
      const double cost = static_cast<double>(ceil_div(tiles, strip.facts.mr)) * columns_cycles(strip, outputs);
      if (main_ != nullptr && cost >= best) continue;
      main_ = &strip;
      best = cost;
    }
    if (main_ == nullptr) return;
    rows_ = nullptr;
    for (const Kernel& kernel : GemmRows::kernels()) {
      if (kernel.isa != main_->isa || kernel.facts.nr != main_->facts.nr) continue;
      const bool lower = rows_ == nullptr || kernel.facts.mr < rows_->facts.mr;
      if (is_row_of<GemmRows, T>(kernel) && lower) rows_ = &kernel;
      if (is_row_of<GemmStrip, T>(kernel) && strip_count_ < kMostStrips) strips_[strip_count_++] = &kernel;
    }
    if (rows_ == nullptr) throw std::logic_error("no kernel for what strips leave");
  }

  const Kernel& rows() const { return *rows_; }
  // The one that takes most of the tiles.
  const Kernel& main() const { return main_ != nullptr ? *main_ : *rows_; }
  int64_t mr() const { return main().facts.mr; }
  int64_t nr() const { return rows_->facts.nr; }

  // The strips for so many tiles, or null if GemmRows is to take them.
  const Kernel* strip_for(int64_t tiles) const {
    const Kernel* best = nullptr;
    int64_t fewest = 0;
    for (int64_t i = 0; i < strip_count_; ++i) {
      const int64_t mr = strips_[i]->facts.mr;
      const int64_t computed = ceil_div(tiles, mr) * mr;
      if (mr > tiles || (best != nullptr && computed > fewest)) continue;
      if (best != nullptr && computed == fewest && mr < best->facts.mr) continue;
      best = strips_[i];
      fewest = computed;
    }
    return best;
  }

 private:
  static constexpr int64_t kRows = 840;  // a multiple of every tile's rows
  static constexpr int64_t kMostStrips = 4;

  const Kernel* rows_;
  const Kernel* main_ = nullptr;
  const Kernel* strips_[kMostStrips] = {};
  int64_t strip_count_ = 0;
};

// Filters [taps, c, o]: element (k, i, j) is data[k * k_step + i * i_step + j].
template <class T>
struct FilterView {
  const T* data;
  int64_t k_step;
  int64_t i_step;
};

// The products of a block of tiles with panels of transformed filters, [products][c][nr] each.
template <class T>
class Multiplier {
 public:
  Multiplier(const TileKernels<T>& kernels, const WinogradTiling& tiling)
      : kernels_(kernels),
        side_(tiling.side),
        products_(tiling.products),
        taps_(tiling.taps()),
        runner_(function_of<GemmRows, T>(kernels.rows()), kernels.rows().facts.mr, kernels.rows().facts.nr) {}

  // Transforms `channels` input channels of `columns` filters; those of a product lie `step` after the one before.
  void transform(const FilterView<T>& w, int64_t channels, int64_t columns, T* panels, int64_t step) const {
    for (int64_t i = 0; i < channels; ++i) {
      const T* pixels[kMaxTaps];
      const T* next[kMaxTaps];
      const int64_t ahead = std::min(i + kFiltersAhead, channels - 1);
      for (int64_t k = 0; k < taps_; ++k) {
        pixels[k] = w.data + k * w.k_step + i * w.i_step;
        next[k] = w.data + k * w.k_step + ahead * w.i_step;
      }
      T* to = panels + i * kernels_.nr();
      kernels_.transform(
          {WinogradTransform::filter, columns, pixels, nullptr, to, step, nullptr, false, next, side_, side_});
      for (int64_t k = 0; columns < kernels_.nr() && k < products_; ++k) {
        std::fill(to + k * step + columns, to + k * step + kernels_.nr(), T{0});
      }
    }
  }

  // out = v times one panel of `steps` channels, or added to out; for `rows` rows and `columns` columns. next: what is
  // needed after it, or null.
  void multiply(int64_t rows, const T* v, int64_t ldv, const T* panel, int64_t steps, int64_t columns, bool adds,
                const T* next, T* out, int64_t ld_out) {
    int64_t done = 0;
    if (const Kernel* strip = kernels_.strip_for(rows); strip != nullptr) {
      const auto kernel = function_of<GemmStrip, T>(*strip);
      const int64_t nr = kernels_.nr();
      const int64_t mr = strip->facts.mr;
      done = adds ? rows / mr * mr : rows;
      const int64_t next_step = ceil_div(nr, ceil_div(done, mr));
      kernel({done, columns, 1, steps, v, ldv, 0, panel, nr, 0, nullptr, false, out, ld_out, adds, next, next_step});
      next = nullptr;
    }
    if (done < rows) {
      multiply_rest(rows - done, v + done * ldv, ldv, panel, steps, columns, adds, next, out + done * ld_out, ld_out);
    }
  }

 private:
  void multiply_rest(int64_t rows, const T* v, int64_t ldv, const T* panel, int64_t steps, int64_t columns, bool adds,
                     const T* next, T* out, int64_t ld_out) {
    const int64_t mr = kernels_.rows().facts.mr;
    const int64_t tiles = ceil_div(rows, mr);
    GemmTile<T> tile{};
    tile.taps = 1;
    tile.ldb = kernels_.nr();
    tile.next_step = ceil_div(kernels_.nr(), tiles);
    for (int64_t k = 0; k < steps; k += kBlockSteps) {
      tile.kc = std::min(kBlockSteps, steps - k);
      tile.a_offset = k;
      tile.accumulate = adds || k > 0;
      tile.b = panel + k * kernels_.nr();
      for (int64_t t = 0; t < tiles; ++t) {
        const T* a[TileRunner<T>::kMaxMr];
        T* c[TileRunner<T>::kMaxMr];
        const int64_t first = t * mr;
        const int64_t live = std::min(mr, rows - first);
        for (int64_t i = 0; i < mr; ++i) a[i] = v + (first + std::min(i, live - 1)) * ldv;
        for (int64_t i = 0; i < live; ++i) c[i] = out + (first + i) * ld_out;
        tile.a = a;
        tile.next = next != nullptr ? next + k * kernels_.nr() + t * tile.kc * kernels_.nr() / tiles : nullptr;
        runner_.run(tile, c, live, columns, false);
      }
    }
  }

  static constexpr int64_t kFiltersAhead = 4;

  const TileKernels<T>& kernels_;
  int64_t side_, products_, taps_;
  TileRunner<T> runner_;
};

// Reads and writes the tiles of one convolution.
template <class T>
class Tiles {
 public:
  Tiles(const Conv2dParams& p, const WinogradTiling& tiling, typename Winograd::Fn<T>* transform, const T* x,
        const Epilogue<T>& epilogue, T* y)
      : p_(p), tiling_(tiling), transform_(transform), x_(x), epilogue_(epilogue), y_(y), zeros_(p.c) {
    std::fill(zeros_.get(), zeros_.get() + p.c, T{0});
  }

  // Tiles [begin, begin + count) of all to rows t, t + 1, ... of v.
  void read(int64_t begin, int64_t count, int64_t t, Products<T>& v) const {
    for_each_square<const T>(
        tiling_, begin, count,
        [&](const WinogradPlace& at, const T** pixels) {
          square_pointers<const T>(x_, zeros_.get(), p_.h, p_.w, p_.c, at.image, at.top - p_.window.pad_top,
                                   at.left - p_.window.pad_left, tiling_.reach(), pixels);
        },
        [&](int64_t i, const WinogradPlace& at, const T* const* pixels, const T* const* next) {
          transform_({WinogradTransform::input, p_.c, pixels, nullptr, v.row(t + i), v.step, nullptr, false, next,
                      at.rows, at.columns});
        });
  }

  // Rows t, t + 1, ... of sums to channels [j, j + columns) of tiles [begin, begin + count); what lies outside the
  // image goes to sink.
  void write(int64_t begin, int64_t count, int64_t t, Products<T>& sums, int64_t j, int64_t columns, T* sink) const {
    const bool relu = epilogue_.activation == Activation::relu;
    const T* const bias = epilogue_.bias == nullptr ? nullptr : epilogue_.bias + j;
    for_each_square<T>(
        tiling_, begin, count,
        [&](const WinogradPlace& at, T** results) {
          square_pointers<T>(y_ + j, sink, p_.oh, p_.ow, p_.o, at.image, at.top, at.left, tiling_.side, results);
        },
        [&](int64_t i, const WinogradPlace& at, T* const* results, const T* const* next) {
          transform_({WinogradTransform::output, columns, nullptr, results, sums.row(t + i), sums.step, bias, relu,
                      next, at.rows, at.columns});
          if (relu || epilogue_.activation == Activation::none) return;
          for (int64_t k = 0; k < tiling_.side * tiling_.side; ++k) {
            if (results[k] != sink) apply_activation(results[k], columns, epilogue_.activation);
          }
        });
  }

 private:
  const Conv2dParams& p_;
  const WinogradTiling& tiling_;
  typename Winograd::Fn<T>* transform_;
  const T* x_;
  Epilogue<T> epilogue_;
  T* y_;
  Buffer<T> zeros_;
};

constexpr int64_t kTilesInTask = 8;

// f(t, count) for tiles [t, t + count) of `tiles`, in parallel.
template <class F>
void for_tiles(int64_t tiles, const F& f) {
  parallel_for(ceil_div(tiles, kTilesInTask), [&](int64_t task) {
    const int64_t t = task * kTilesInTask;
    f(t, std::min(kTilesInTask, tiles - t));
  });
}

constexpr int64_t kLeastPanels = 8;

// With few tiles the filters are most of the data: then each task takes a panel of them through its cache, transform,
// products and results, and the transformed filters never reach memory. The tiles are read again for each panel. There
// must be panels for all threads.
bool few_tiles(int64_t tiles, int64_t most, int64_t outputs, int64_t nr) {
  return tiles <= most && outputs >= kLeastPanels * nr;
}
// On AVX-512, with 32 tiles panels are 12% faster than passes, with 98 and more 10% slower.
bool forward_has_few_tiles(const WinogradTiling& tiling, int64_t outputs, int64_t nr) {
  return few_tiles(tiling.count, 64, outputs, nr);
}

// The cut of forward_by_panels(): the transformed filters and the sums of a task each fill a third of its second-level
// cache at most. With wider tasks fewer channels fit, whose sums are added more often: four panels of AVX2 instead of
// two are 4 to 10% slower (7x7 and 14x14, 512 channels).
template <class T>
struct PanelsCut {
  static constexpr int64_t kMostPanels = 2;
  static constexpr int64_t kLeastChannels = 16;

  int64_t columns;   // outputs of a task, whole panels
  int64_t channels;  // that are transformed and multiplied at a time
  int64_t step;      // elements of one product's transformed filters, [panels][channels][nr]

  PanelsCut(int64_t nr, const Conv2dParams& p, const WinogradTiling& tiling) {
    const int64_t most = l2_bytes() / 3 / tiling.products / static_cast<int64_t>(sizeof(T));
    columns = std::max(nr, std::min({kMostPanels * nr, p.o / kLeastPanels, most / tiling.count}) / nr * nr);
    const int64_t blocks = ceil_div(p.c, std::max(kLeastChannels, most / columns));
    channels = ceil_div(p.c, blocks);
    step = padded<T>(channels * columns);
  }
};

// view(i, channels, j, columns, scratch) gives the filters of inputs [i, i + channels) and outputs [j, j + columns), if
// need be copied to scratch, which has room for them.
template <class T, class View>
void forward_by_panels(const TileKernels<T>& kernels, const Conv2dParams& p, const WinogradTiling& tiling, const T* x,
                       const Epilogue<T>& epilogue, T* y, bool scratch_needed, const View& view) {
  const Tiles<T> tiles(p, tiling, kernels.transform, x, epilogue, y);
  const int64_t nr = kernels.nr();
  const PanelsCut<T> cut(nr, p, tiling);
  Products<T> v(tiling, tiling.count, p.c);
  for_tiles(tiling.count, [&](int64_t t, int64_t count) { tiles.read(t, count, t, v); });
  parallel_for(ceil_div(p.o, cut.columns), [&](int64_t task) {
    Multiplier<T> multiplier(kernels, tiling);
    const int64_t j = task * cut.columns;
    const int64_t columns = std::min(cut.columns, p.o - j);
    Buffer<T> panels(tiling.products * cut.step), sink(columns);
    Buffer<T> scratch(scratch_needed ? tiling.taps() * cut.channels * cut.columns : 1);
    Products<T> sums(tiling, tiling.count, cut.columns);
    for (int64_t i = 0; i < p.c; i += cut.channels) {
      const int64_t channels = std::min(cut.channels, p.c - i);
      const FilterView<T> filters = view(i, channels, j, columns, scratch.get());
      for (int64_t n = 0; n < columns; n += nr) {
        multiplier.transform({filters.data + n, filters.k_step, filters.i_step}, channels, std::min(nr, columns - n),
                             panels.get() + n * cut.channels, cut.step);
      }
      for (int64_t k = 0; k < tiling.products; ++k) {
        const TileRange range = tiling.tiles_of(k);
        if (range.begin == range.end) continue;
        for (int64_t n = 0; n < columns; n += nr) {
          multiplier.multiply(range.end - range.begin, v.row(k, range.begin) + i, v.ld,
                              panels.get() + k * cut.step + n * cut.channels, channels, std::min(nr, columns - n),
                              i > 0, nullptr, sums.row(k, range.begin) + n, sums.ld);
        }
      }
    }
    tiles.write(0, tiling.count, 0, sums, j, columns, sink.get());
  });
}

// Bytes of products that go through the caches between two passes of all threads.
constexpr int64_t kBlockBytes = 8 << 20;

enum class WinogradCut { panels, tasks, passes };

// How the tiles of a convolution are cut: into panels of outputs, forward_by_panels(); into tasks, each with a block of
// tiles that it takes through all three passes in its second-level cache, if that has room for enough of them to make
// the filters' passage worth while; else into blocks between whose passes the threads meet.
template <class T>
struct ForwardCut {
  WinogradCut cut;
  int64_t block = 0;  // tiles

  // kept: the transformed filters are there already.
  ForwardCut(const TileKernels<T>& kernels, const Conv2dParams& p, const WinogradTiling& tiling, bool kept) {
    const int64_t mr = kernels.mr();
    if (forward_has_few_tiles(tiling, p.o, kernels.nr())) {
      cut = kept ? WinogradCut::passes : WinogradCut::panels;
      block = tiling.count;
      return;
    }
    const int64_t tile_bytes = tiling.products * (p.c + p.o) * static_cast<int64_t>(sizeof(T));
    const int64_t in_cache = l2_bytes() / 2 / tile_bytes / mr * mr;
    if (in_cache >= 2 * mr) {
      cut = WinogradCut::tasks;
      // A task that reads the filters for a few tiles waits for them: 8x14x14, 112 to 224 channels, is a quarter faster
      // with 16 tiles than with 8.
      const int64_t filter_bytes = tiling.products * p.c * p.o * static_cast<int64_t>(sizeof(T));
      const int64_t least = std::max(ceil_div(tiling.count, kTasks), ceil_div(filter_bytes, 4 * tile_bytes));
      block = std::min(in_cache, ceil_div(least, mr) * mr);
      return;
    }
    cut = WinogradCut::passes;
    const int64_t most = std::max(mr, kBlockBytes / tile_bytes / mr * mr);
    const int64_t blocks = ceil_div(tiling.count, most);
    block = std::min(tiling.count, ceil_div(ceil_div(tiling.count, blocks), mr) * mr);
  }
};

// All transformed filters: those of a product are [panels][c][nr].
template <class T>
struct FiltersForm {
  int64_t step;  // elements from one product to the next
  int64_t size;  // elements

  FiltersForm(const Conv2dParams& p, const WinogradTiling& tiling, int64_t nr)
      : step(padded<T>(ceil_div(p.o, nr) * p.c * nr)),
        size(tiling.products * step + p.c) {}  // the last prefetch may reach this far beyond
};

// The cut of the weight gradient: with few tiles into panels of outputs; with few channels into parts of the tiles,
// each with sums of its own that stay in the second-level cache; else into blocks of tiles between whose passes the
// threads meet.
template <class T>
struct GradWeightCut {
  bool panels;
  int64_t parts;      // not 1: the tiles are cut into so many
  int64_t block;      // tiles, all or a multiple of kRunTiles
  int64_t step;       // elements of one product's sums
  int64_t sums_size;  // of a panel, or of all outputs

  GradWeightCut(const Conv2dParams& p, const WinogradTiling& tiling, int64_t nr)
      : panels(few_tiles(tiling.count, nr * 3 / 2 - 1, p.o, nr)),
        parts(tiling.grad_weight_parts(p.c, p.o)),
        block(tiling.count),
        step(padded<T>(p.c * (panels ? nr : p.o))),
        sums_size(tiling.products * step) {
    if (panels) return;
    if (parts > 1) {
      block = kRunTiles;
      return;
    }
    const int64_t tile_bytes = tiling.products * (p.c + p.o) * static_cast<int64_t>(sizeof(T));
    const int64_t most = std::max(kRunTiles, kBlockBytes / tile_bytes);
    const int64_t even = ceil_div(tiling.count, ceil_div(tiling.count, most));
    block = std::min(tiling.count, ceil_div(even, kRunTiles) * kRunTiles);
  }

 private:
  static constexpr int64_t kRunTiles = WinogradTiling::kRunTiles;
};

// The input gradient as a convolution of dy: with the filters turned by 180 degrees and the channels exchanged.
Conv2dParams turned_params(const Conv2dParams& p) {
  Conv2dParams q{p.n, p.oh, p.ow, p.o, p.h, p.w, p.c, 1, p.window};
  const int64_t reach = p.window.kh - 1;
  q.window.pad_top = reach - p.window.pad_top;
  q.window.pad_bottom = reach - p.window.pad_bottom;
  q.window.pad_left = reach - p.window.pad_left;
  q.window.pad_right = reach - p.window.pad_right;
  return q;
}

// Whether the input gradient goes by panels, which saves the copy of all turned filters.
bool turns_by_panels(const Conv2dParams& turned, const WinogradTiling& tiling, int64_t nr) {
  return turned.c > 0 && forward_has_few_tiles(tiling, turned.o, nr);
}

// Bytes that forward_by_panels() takes.
template <class T>
int64_t panels_scratch(const Conv2dParams& p, const WinogradTiling& tiling, int64_t nr, bool scratch_needed) {
  const PanelsCut<T> cut(nr, p, tiling);
  const int64_t task = buffer_bytes<T>(tiling.products * cut.step) + buffer_bytes<T>(cut.columns) +
                       buffer_bytes<T>(scratch_needed ? tiling.taps() * cut.channels * cut.columns : 1) +
                       Products<T>::scratch(tiling, tiling.count, cut.columns);
  return buffer_bytes<T>(p.c) + Products<T>::scratch(tiling, tiling.count, p.c) +
         task_bytes(ceil_div(p.o, cut.columns), task);
}

template <class T>
int64_t forward_scratch(const Conv2dParams& p, int64_t side, bool kept) {
  const WinogradTiling tiling(p, side);
  const TileKernels<T> kernels(tiling, p.o);
  const ForwardCut<T> cut(kernels, p, tiling, kept);
  if (cut.cut == WinogradCut::panels) return panels_scratch<T>(p, tiling, kernels.nr(), false);
  const int64_t products = Products<T>::scratch(tiling, cut.block, p.c) + Products<T>::scratch(tiling, cut.block, p.o);
  const int64_t sink = buffer_bytes<T>(p.o);
  const int64_t filters = kept ? 0 : buffer_bytes<T>(FiltersForm<T>(p, tiling, kernels.nr()).size);
  return buffer_bytes<T>(p.c) + filters +
         (cut.cut == WinogradCut::tasks ? task_bytes(ceil_div(tiling.count, cut.block), products + sink)
                                        : products + task_bytes(ceil_div(cut.block, kTilesInTask), sink));
}

}  // namespace

const char* winograd_refusal(const Conv2dParams& p, int64_t side) {
  const Window& win = p.window;
  if (win.kh != win.kw || (win.kh != 3 && win.kh != 5)) return "the filter is neither 3x3 nor 5x5";
  if (win.kh == 5 && side != 2) return "the filter is not 3x3";
  if (win.stride_h != 1 || win.stride_w != 1) return "the stride is not 1";
  if (win.dilation_h != 1 || win.dilation_w != 1) return "the filter is dilated";
  if (p.groups != 1) return "the channels are in groups";
  if (std::max({win.pad_top, win.pad_bottom, win.pad_left, win.pad_right}) >= win.kh) {
    return win.kh == 3 ? "the padding exceeds 2" : "the padding exceeds 4";
  }
  return nullptr;
}

// In a tile of 4x4 a product serves 4 multiply-adds, in one of 2x2 2.25; against that stand the transforms of input,
// output and filters. Measured on maps of 4x4 to 224x224 with 16 to 512 channels: from 24 tiles of 4x4 on they are
// faster than direct convolution, from 16 on tiles of 2x2 (map 14x14, batch 1); with fewer the filters' transform
// costs more than it saves. The weight gradient's sums have the size of the filters, and want more channels. A 5x5
// filter's product in a tile of 2x2 serves 2.8 multiply-adds: it pays from 16 such tiles on (map 7x7, batch 1).
Conv2dAlgorithm winograd_choice(Conv2dPass pass, const Conv2dParams& p, bool any_batch, std::string* reason) {
  constexpr int64_t kTiles4x4 = 24;
  constexpr int64_t kTiles2x2 = 16;
  const bool is_5x5 = p.window.kh == 5;
  const int64_t least_channels = pass != Conv2dPass::grad_weight ? 16 : is_5x5 ? 24 : 32;
  constexpr int64_t kMostChannels = 512;
  const auto because = [&](Conv2dAlgorithm algorithm, const auto&... words) {
    if (reason != nullptr) *reason = message(words...);
    return algorithm;
  };
  if (const char* refusal = winograd_refusal(p, 2); refusal != nullptr) {
    return because(Conv2dAlgorithm::direct, refusal);
  }
  if (const int64_t least = std::min(p.c, p.o); least < least_channels) {
    return because(Conv2dAlgorithm::direct, least, " channels, fewer than ", least_channels);
  }
  if (const int64_t most = std::max(p.c, p.o); most > kMostChannels) {
    return because(Conv2dAlgorithm::direct, most, " channels, more than ", kMostChannels);
  }
  const auto few = [&](int64_t count) { return std::min(count, kTiles4x4); };  // whose products cannot overflow
  const auto tiles_of = [&](int64_t side) {
    return few(any_batch ? 1 : p.n) * few(ceil_div(p.oh, side)) * few(ceil_div(p.ow, side));
  };
  if (is_5x5) {
    const int64_t tiles = tiles_of(2);
    if (tiles >= kTiles2x2) return because(Conv2dAlgorithm::winograd2x2, "tiles of 2x2: at least ", kTiles2x2);
    return because(Conv2dAlgorithm::direct, "tiles of 2x2: ", tiles, ", fewer than ", kTiles2x2);
  }
  const int64_t tiles = tiles_of(4);
  if (tiles >= kTiles4x4) return because(Conv2dAlgorithm::winograd4x4, "tiles of 4x4: at least ", kTiles4x4);
  if (tiles >= kTiles2x2) {
    return because(Conv2dAlgorithm::winograd2x2, "tiles of 4x4: ", tiles, ", from ", kTiles2x2, " to ", kTiles4x4 - 1);
  }
  return because(Conv2dAlgorithm::direct, "tiles of 4x4: ", tiles, ", fewer than ", kTiles2x2);
}

template <class T>
WayPlan plan_winograd(Conv2dPass pass, const Conv2dParams& p, int64_t side) {
  const WinogradTiling tiling(p, side);
  const Kernel& transform = select_winograd<T>(tiling);
  if (pass == Conv2dPass::grad_weight) {
    return {ConvWay::winograd, &select_tile<GemmColumns, T>(p.c, p.o), &transform};
  }
  // The input gradient is a convolution with the channels exchanged.
  const int64_t outputs = pass == Conv2dPass::forward ? p.o : p.c;
  return {ConvWay::winograd, &TileKernels<T>(tiling, outputs).main(), &transform};
}

template <class T>
void winograd_forward(const Conv2dParams& p, int64_t side, const T* x, const T* w, const Epilogue<T>& epilogue, T* y,
                      OwnMemory* memory) {
  if (p.c == 0) return direct_forward(p, x, w, epilogue, y);  // sums without terms
  const WinogradTiling tiling(p, side);
  const TileKernels<T> kernels(tiling, p.o);
  const int64_t nr = kernels.nr();
  const FiltersForm<T> form(p, tiling, nr);
  const auto transform_all = [&](T* filters) {
    parallel_ranges(p.c, std::max<int64_t>(1, 4096 / p.o), [&](int64_t begin, int64_t end) {
      const Multiplier<T> shape(kernels, tiling);
      for (int64_t j = 0; j < p.o; j += nr) {
        shape.transform({w + begin * p.o + j, p.c * p.o, p.o}, end - begin, std::min(nr, p.o - j),
                        filters + j * p.c + begin * nr, form.step);
      }
    });
  };
  const FormKey key{w, &select_winograd<T>(tiling), {nr, p.c, p.o}};
  const std::shared_ptr<const Form> kept = kept_form<T>(memory, key, form.size, transform_all);
  const ForwardCut<T> cut(kernels, p, tiling, kept != nullptr);
  if (cut.cut == WinogradCut::panels) {
    return forward_by_panels(
        kernels, p, tiling, x, epilogue, y, false,
        [&](int64_t i, int64_t, int64_t j, int64_t, T*) { return FilterView<T>{w + i * p.o + j, p.c * p.o, p.o}; });
  }
  std::optional<Buffer<T>> made;
  if (kept == nullptr) transform_all(made.emplace(form.size).get());
  const T* const filters = kept != nullptr ? kept->data<T>() : made->get();
  const Tiles<T> tiles(p, tiling, kernels.transform, x, epilogue, y);

  // The sums of product k of those of tiles [begin, begin + rows) that need it.
  const auto multiply = [&](Multiplier<T>& multiplier, int64_t k, int64_t begin, int64_t rows, Products<T>& v,
                            Products<T>& sums) {
    const TileRange range = tiling.tiles_of(k);
    const int64_t first = std::max<int64_t>(range.begin - begin, 0);
    const int64_t live = std::min(range.end - begin, rows) - first;
    if (live <= 0) return;
    for (int64_t j = 0; j < p.o; j += nr) {
      const T* panel = filters + k * form.step + j * p.c;
      multiplier.multiply(live, v.row(k, first), v.ld, panel, p.c, std::min(nr, p.o - j), false,
                          j + nr < p.o ? panel + p.c * nr : nullptr, sums.row(k, first) + j, sums.ld);
    }
  };

  const int64_t block = cut.block;
  if (cut.cut == WinogradCut::tasks) {
    parallel_for(ceil_div(tiling.count, block), [&](int64_t task) {
      Multiplier<T> multiplier(kernels, tiling);
      const int64_t begin = task * block;
      const int64_t rows = std::min(block, tiling.count - begin);
      Products<T> v(tiling, block, p.c), sums(tiling, block, p.o);
      Buffer<T> sink(p.o);
      tiles.read(begin, rows, 0, v);
      for (int64_t k = 0; k < tiling.products; ++k) multiply(multiplier, k, begin, rows, v, sums);
      tiles.write(begin, rows, 0, sums, 0, p.o, sink.get());
    });
    return;
  }
  Products<T> v(tiling, block, p.c), sums(tiling, block, p.o);
  for (int64_t begin = 0; begin < tiling.count; begin += block) {
    const int64_t rows = std::min(block, tiling.count - begin);
    for_tiles(rows, [&](int64_t t, int64_t count) { tiles.read(begin + t, count, t, v); });
    parallel_for(tiling.products, [&](int64_t k) {
      Multiplier<T> multiplier(kernels, tiling);
      multiply(multiplier, k, begin, rows, v, sums);
    });
    for_tiles(rows, [&](int64_t t, int64_t count) {
      Buffer<T> sink(p.o);
      tiles.write(begin + t, count, t, sums, 0, p.o, sink.get());
    });
  }
}

template <class T>
void winograd_grad_input(const Conv2dParams& p, int64_t side, const T* dy, const T* w, T* dx) {
  const Conv2dParams q = turned_params(p);
  const WinogradTiling tiling(q, side);
  const int64_t taps = tiling.taps();
  const TileKernels<T> kernels(tiling, q.o);
  const int64_t nr = kernels.nr();
  // Tap k of the turned filters [taps][dy's channels][x's channels].
  const auto tap = [&](int64_t k) { return w + (taps - 1 - k) * p.c * p.o; };
  const Kernel& turn = select_row<GemmTranspose, T>();
  if (turns_by_panels(q, tiling, nr)) {
    return forward_by_panels(kernels, q, tiling, dy, Epilogue<T>{}, dx, true,
                             [&](int64_t i, int64_t channels, int64_t j, int64_t columns, T* scratch) {
                               for (int64_t k = 0; k < taps; ++k) {
                                 transpose_by(turn, tap(k) + j * p.o + i, p.o, columns, channels,
                                              scratch + k * channels * columns, columns);
                               }
                               return FilterView<T>{scratch, channels * columns, columns};
                             });
  }
  Buffer<T> turned(taps * p.c * p.o);
  constexpr int64_t kStrip = 64;
  const int64_t strips = ceil_div(p.c, kStrip);
  parallel_for(taps * strips, [&](int64_t task) {
    const int64_t k = task / strips;
    const int64_t j = task % strips * kStrip;
    transpose_by(turn, tap(k) + j * p.o, p.o, std::min(kStrip, p.c - j), p.o, turned.get() + k * p.o * p.c + j, p.c);
  });
  winograd_forward(q, side, dy, turned.get(), Epilogue<T>{}, dx, nullptr);
}

template <class T>
void winograd_grad_weight(const Conv2dParams& p, int64_t side, const T* x, const T* dy, T* dw) {
  const WinogradTiling tiling(p, side);
  const auto transform = function_of<Winograd, T>(select_winograd<T>(tiling));
  const Kernel& row = select_tile<GemmColumns, T>(p.c, p.o);
  const auto kernel = function_of<GemmColumns, T>(row);
  const int64_t mr = row.facts.mr;
  const int64_t nr = row.facts.nr;
  const Tiles<T> inputs(p, tiling, transform, x, Epilogue<T>{}, nullptr);
  Buffer<T> zeros(p.o);
  std::fill(zeros.get(), zeros.get() + p.o, T{0});
  const auto read = [&](int64_t begin, int64_t count, int64_t t, Products<T>& v, Products<T>& d) {
    inputs.read(begin, count, t, v);
    for_each_square<const T>(
        tiling, begin, count,
        [&](const WinogradPlace& at, const T** pixels) {
          square_pointers<const T>(dy, zeros.get(), p.oh, p.ow, p.o, at.image, at.top, at.left, side, pixels);
        },
        [&](int64_t i, const WinogradPlace& at, const T* const* pixels, const T* const* next) {
          transform({WinogradTransform::grad_output, p.o, pixels, nullptr, d.row(t + i), d.step, nullptr, false, next,
                     at.rows, at.columns});
        });
  };
  // Columns [j, j + columns) of one product's sum over those of tiles [begin, begin + rows) that need it, to rows of
  // sums that lie ld apart and begin with the first of `all` tiles. The sums of 64 tiles begin at multiples of 64,
  // wherever a product's tiles do.
  const auto multiply = [&](int64_t k, const TileRange& all, int64_t begin, int64_t rows, Products<T>& v,
                            Products<T>& d, int64_t j, int64_t columns, T* sums, int64_t ld) {
    const TileRange live = tiling.tiles_of(k);
    const TileRange range{std::max(live.begin, all.begin), std::min(live.end, all.end)};
    if (range.begin >= range.end && begin == all.begin) {
      for (int64_t i = 0; i < p.c; ++i) std::fill(sums + i * ld, sums + i * ld + columns, T{0});
    }
    const int64_t end = std::min(range.end - begin, rows);
    T edge[TileRunner<T>::kMaxNr] = {};
    for (int64_t first = 0; first < p.c; first += mr) {
      const T* a[TileRunner<T>::kMaxMr];
      T* c[TileRunner<T>::kMaxMr];
      for (int64_t i = 0; i < mr; ++i) c[i] = first + i < p.c ? sums + (first + i) * ld : edge;
      for (int64_t t = std::max<int64_t>(range.begin - begin, 0), next; t < end; t = next) {
        next = std::min(end, (t / tiling.kRunTiles + 1) * tiling.kRunTiles);
        for (int64_t i = 0; i < mr; ++i) a[i] = v.row(k, t) + std::min(first + i, p.c - 1);
        kernel({1, next - t, a, 0, v.ld, d.row(k, t) + j, d.ld, columns,
                begin + t == range.begin ? Accumulation::none : Accumulation::add, c});
      }
    }
  };
  const auto finish = [&](int64_t i, int64_t j, int64_t columns, T* sums, int64_t step) {
    T* results[kMaxTaps];
    for (int64_t k = 0; k < tiling.taps(); ++k) results[k] = dw + (k * p.c + i) * p.o + j;
    transform(
        {WinogradTransform::grad_filter, columns, nullptr, results, sums, step, nullptr, false, nullptr, side, side});
  };

  const GradWeightCut<T> cut(p, tiling, nr);
  const int64_t step = cut.step;
  const TileRange all{0, tiling.count};
  if (cut.panels) {
    Products<T> v(tiling, tiling.count, p.c), d(tiling, tiling.count, p.o);
    for_tiles(tiling.count, [&](int64_t t, int64_t count) { read(t, count, t, v, d); });
    parallel_for(ceil_div(p.o, nr), [&](int64_t task) {
      const int64_t j = task * nr;
      const int64_t columns = std::min(nr, p.o - j);
      Buffer<T> sums(cut.sums_size);
      for (int64_t k = 0; k < tiling.products; ++k) {
        multiply(k, all, 0, tiling.count, v, d, j, columns, sums.get() + k * step, nr);
      }
      for (int64_t i = 0; i < p.c; ++i) finish(i, j, columns, sums.get() + i * nr, step);
    });
    return;
  }
  const int64_t block = cut.block;
  if (cut.parts > 1) {
    Buffer<T> sums(cut.parts * cut.sums_size);
    parallel_for(cut.parts, [&](int64_t part) {
      const TileRange tiles = tiling.grad_weight_part(part, cut.parts);
      Products<T> v(tiling, block, p.c), d(tiling, block, p.o);
      T* const part_sums = sums.get() + part * cut.sums_size;
      for (int64_t begin = tiles.begin; begin < tiles.end; begin += block) {
        const int64_t rows = std::min(block, tiles.end - begin);
        read(begin, rows, 0, v, d);
        for (int64_t k = 0; k < tiling.products; ++k) {
          for (int64_t j = 0; j < p.o; j += nr) {
            multiply(k, tiles, begin, rows, v, d, j, std::min(nr, p.o - j), part_sums + k * step + j, p.o);
          }
        }
      }
    });
    parallel_ranges(p.c, std::max<int64_t>(1, 1024 / p.o), [&](int64_t begin, int64_t end) {
      for (int64_t k = 0; k < tiling.products; ++k) {
        T* const sum = sums.get() + k * step;
        for (int64_t part = 1; part < cut.parts; ++part) {
          const T* const next = sum + part * cut.sums_size;
          for (int64_t i = begin * p.o; i < end * p.o; ++i) sum[i] += next[i];
        }
      }
      for (int64_t i = begin; i < end; ++i) finish(i, 0, p.o, sums.get() + i * p.o, step);
    });
    return;
  }
  Buffer<T> sums(cut.sums_size);
  Products<T> v(tiling, block, p.c), d(tiling, block, p.o);
  for (int64_t begin = 0; begin < tiling.count; begin += block) {
    const int64_t rows = std::min(block, tiling.count - begin);
    for_tiles(rows, [&](int64_t t, int64_t count) { read(begin + t, count, t, v, d); });
    parallel_for(tiling.products, [&](int64_t k) {
      for (int64_t j = 0; j < p.o; j += nr) {
        multiply(k, all, begin, rows, v, d, j, std::min(nr, p.o - j), sums.get() + k * step + j, p.o);
      }
    });
  }
  parallel_ranges(p.c, std::max<int64_t>(1, 1024 / p.o), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) finish(i, 0, p.o, sums.get() + i * p.o, step);
  });
}

template <class T>
int64_t winograd_scratch(Conv2dPass pass, const Conv2dParams& p, int64_t side, bool kept) {
  if (pass == Conv2dPass::forward) return p.c == 0 ? 0 : forward_scratch<T>(p, side, kept);
  if (pass == Conv2dPass::grad_input) {
    const Conv2dParams q = turned_params(p);
    const WinogradTiling tiling(q, side);
    const int64_t nr = TileKernels<T>(tiling, q.o).nr();
    if (turns_by_panels(q, tiling, nr)) return panels_scratch<T>(q, tiling, nr, true);
    return buffer_bytes<T>(tiling.taps() * p.c * p.o) + forward_scratch<T>(q, side, false);
  }
  const WinogradTiling tiling(p, side);
  const int64_t nr = select_tile<GemmColumns, T>(p.c, p.o).facts.nr;
  const GradWeightCut<T> cut(p, tiling, nr);
  const int64_t zeros = buffer_bytes<T>(p.c) + buffer_bytes<T>(p.o);
  const int64_t products = Products<T>::scratch(tiling, cut.block, p.c) + Products<T>::scratch(tiling, cut.block, p.o);
  if (cut.parts > 1) {
    return zeros + task_bytes(cut.parts, products) + buffer_bytes<T>(cut.parts * cut.sums_size);
  }
  const int64_t sums = buffer_bytes<T>(cut.sums_size);
  return zeros + products + (cut.panels ? task_bytes(ceil_div(p.o, nr), sums) : sums);
}

template <class T>
int64_t winograd_kept(const Conv2dParams& p, int64_t side) {
  if (p.c == 0) return 0;
  const WinogradTiling tiling(p, side);
  return buffer_bytes<T>(FiltersForm<T>(p, tiling, TileKernels<T>(tiling, p.o).nr()).size);
}

#define SIXLOOP_INSTANTIATE(T)                                                                             \
  template int64_t winograd_kept<T>(const Conv2dParams&, int64_t);                                         \
  template int64_t winograd_scratch<T>(Conv2dPass, const Conv2dParams&, int64_t, bool);                    \
  template WayPlan plan_winograd<T>(Conv2dPass, const Conv2dParams&, int64_t);                             \
  template void winograd_forward(const Conv2dParams&, int64_t, const T*, const T*, const Epilogue<T>&, T*, \
                                 OwnMemory*);                                                              \
  template void winograd_grad_input(const Conv2dParams&, int64_t, const T*, const T*, T*);                 \
  template void winograd_grad_weight(const Conv2dParams&, int64_t, const T*, const T*, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
