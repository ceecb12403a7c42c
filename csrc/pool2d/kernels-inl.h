// The kernels, written once over a vector type V of base/simd/. Included by each <isa>.cc.
//
// Pixels with fewer channels than a vector are stored as whole vectors where that stays inside the row of the
// result: the lanes too many are overwritten by the next pixel. The loads read lanes too many likewise, where
// that stays inside the array.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/simd/host_device.h"
#include "base/simd/vectors.h"
#include "pool2d/pool2d.h"

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// Rounded up to whole vectors.
template <class V>
constexpr int64_t whole_vectors(int64_t length) {
  return (length + V::N - 1) / V::N * V::N;
}

SIXLOOP_HD inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
SIXLOOP_HD inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
// The smallest i >= 0 with i * stride >= a.
SIXLOOP_HD inline int64_t first_at_least(int64_t a, int64_t stride) { return a <= 0 ? 0 : (a + stride - 1) / stride; }

// One axis of a window: the input cells [begin, end) that output i covers.
struct Cover {
  int64_t begin, end;
};
SIXLOOP_HD inline Cover cover(int64_t i, int64_t stride, int64_t before, int64_t k, int64_t n) {
  const int64_t start = i * stride - before;
  return {larger(start, 0), smaller(start + k, n)};
}
// The outputs [begin, end) whose windows contain the input cells [begin, end) (partly).
SIXLOOP_HD inline Cover covering(Cover cells, int64_t stride, int64_t before, int64_t k, int64_t outputs) {
  return {first_at_least(cells.begin + before - k + 1, stride),
          smaller((cells.end - 1 + before) / stride + 1, outputs)};
}
// covering() of one cell after the other, from 0 on, without its divisions.
class CoveringWalk {
 public:
  CoveringWalk(int64_t stride, int64_t before, int64_t k, int64_t outputs)
      : stride_(stride),
        outputs_(outputs),
        begin_(first_at_least(before - k + 1, stride)),
        end_(before / stride + 1),
        begin_stays_(k > before ? k - before : stride - (before - k) % stride),
        end_stays_(stride - before % stride) {}

  Cover cover() const { return {begin_, smaller(end_, outputs_)}; }
  void next() {
    if (--begin_stays_ == 0) {
      ++begin_;
      begin_stays_ = stride_;
    }
    if (--end_stays_ == 0) {
      ++end_;
      end_stays_ = stride_;
    }
  }

 private:
  int64_t stride_, outputs_;
  int64_t begin_, end_;
  int64_t begin_stays_, end_stays_;  // for so many cells
};
// The outputs [begin, end) whose windows lie inside [0, n) as a whole.
inline Cover interior(int64_t stride, int64_t before, int64_t k, int64_t n, int64_t outputs) {
  const int64_t begin = smaller(first_at_least(before, stride), outputs);
  const int64_t room = n + before - k;
  const int64_t end = room < 0 ? 0 : smaller(room / stride + 1, outputs);
  return {begin, larger(begin, end)};
}

// Folds: of() makes one of a cell, join() adds the next cell or row, result() ends it.
template <class V>
struct MaxFold {
  using T = typename V::T;
  V best;
  typename V::Mask nan;

  SIXLOOP_HD static MaxFold of(V v) { return {v, V::is_nan(v)}; }
  SIXLOOP_HD void join(MaxFold next) {
    best = V::max(next.best, best);
    nan = nan | next.nan;
  }
  SIXLOOP_HD V result(int64_t) const { return V::select(nan, V::set1(static_cast<T>(__builtin_nan(""))), best); }

  static T join_values(T a, T b) { return b > a || b != b ? b : a; }
  static T result_value(T a, int64_t) { return a == a ? a : static_cast<T>(__builtin_nan("")); }
};

template <class V>
struct SumFold {
  using T = typename V::T;
  V sum;

  SIXLOOP_HD static SumFold of(V v) { return {v}; }
  SIXLOOP_HD void join(SumFold next) { sum = sum + next.sum; }
  // A power of two has an exact inverse: the product is the quotient, in a quarter of the cycles.
  SIXLOOP_HD V result(int64_t cells) const {
    const V count = V::set1(static_cast<T>(cells));
    return (cells & (cells - 1)) == 0 ? sum * (V::set1(1) / count) : sum / count;
  }

  static T join_values(T a, T b) { return a + b; }
  static T result_value(T a, int64_t cells) { return a / static_cast<T>(cells); }
};

// M vectors of one row of a window.
template <class V, class Fold, int KW, int M, class Lanes>
void fold_row(Lanes lanes, const typename V::T* x, int64_t cols, int64_t pitch, Fold* row) {
  const int64_t count = KW > 0 ? KW : cols;
  for (int m = 0; m < M; ++m) row[m] = Fold::of(lanes.load(x + m * V::N));
  for (int64_t j = 1; j < count; ++j) {
    for (int m = 0; m < M; ++m) row[m].join(Fold::of(lanes.load(x + j * pitch + m * V::N)));
  }
}

// `length` consecutive results whose windows begin at consecutive elements from x on. KH, KW: the window's size, or 0.
template <class V, class Fold, int KH, int KW>
void fold_windows(const typename V::T* x, int64_t rows, int64_t cols, int64_t row_pitch, int64_t pitch, int64_t length,
                  bool whole, typename V::T* y) {
  const int64_t count = KH > 0 ? KH : rows;
  for_vectors<V, 4>(length, whole, [&]<int M>(auto lanes, int64_t i) {
    Fold total[M];
    fold_row<V, Fold, KW, M>(lanes, x + i, cols, pitch, total);
    for (int64_t r = 1; r < count; ++r) {
      Fold row[M];
      fold_row<V, Fold, KW, M>(lanes, x + i + r * row_pitch, cols, pitch, row);
      for (int m = 0; m < M; ++m) total[m].join(row[m]);
    }
    for (int m = 0; m < M; ++m) lanes.store(total[m].result(rows * cols), y + i + m * V::N);
  });
}

// One channel, windows of 2 x 2, stride 2: pairs lie side by side, which the compiler turns into shuffles.
template <class Fold, class T>
void fold_pairs(const T* x, int64_t row_pitch, int64_t length, T* y) {
  const T* next = x + row_pitch;
  for (int64_t j = 0; j < length; ++j) {
    const T top = Fold::join_values(x[2 * j], x[2 * j + 1]);
    const T bottom = Fold::join_values(next[2 * j], next[2 * j + 1]);
    y[j] = Fold::result_value(Fold::join_values(top, bottom), 4);
  }
}

// The number, in its window, of the first maximum (of the first NaN where there is one).
template <class V>
struct ArgMax {
  V best, index;
  SIXLOOP_HD void join(V v, V number) {
    const auto better = V::lt(best, v) | (V::is_nan(v) & V::eq(best, best));
    best = V::select(better, v, best);
    index = V::select(better, number, index);
  }
};

// As fold_windows for MaxFold, which gives the same bits, with the number of each maximum. `number`: that of the first
// cell at x; the cell below it has `row_numbers` more.
template <class V, int KH, int KW>
void fold_maxima(const typename V::T* x, int64_t rows, int64_t cols, int64_t row_pitch, int64_t pitch, int64_t length,
                 bool whole, int64_t number, int64_t row_numbers, typename V::T* y, uint8_t* indices) {
  using T = typename V::T;
  const int64_t row_count = KH > 0 ? KH : rows;
  const int64_t col_count = KW > 0 ? KW : cols;
  for_vectors<V, 2>(length, whole, [&]<int M>(auto lanes, int64_t i) {
    // Of all cells but the first, f(m, v, cell): v of the m-th vector has the number `cell`.
    const auto for_cells = [&](const auto& f) __attribute__((always_inline)) {
      for (int64_t r = 0; r < row_count; ++r) {
        V cell = V::set1(static_cast<T>(number + r * row_numbers));
        for (int64_t s = 0; s < col_count; ++s) {
          for (int m = 0; r + s > 0 && m < M; ++m) f(m, lanes.load(x + i + r * row_pitch + s * pitch + m * V::N), cell);
          cell = cell + V::set1(1);
        }
      }
    };
    const auto first = [&](int m) { return lanes.load(x + i + m * V::N); };
    ArgMax<V> arg[M];
    V sum[M];  // NaN where a cell is, and it may be so for infinities
    for (int m = 0; m < M; ++m) {
      arg[m] = {first(m), V::set1(static_cast<T>(number))};
      sum[m] = arg[m].best;
    }
    // Without NaN: numbers ascend, and the last one that found a larger value is the largest such number.
    for_cells([&](int m, V v, V cell) __attribute__((always_inline)) {
      arg[m].index = V::max(V::where(V::lt(arg[m].best, v), cell), arg[m].index);
      arg[m].index.pin();  // GCC would leave all of this for after the question below, and spill every cell
      arg[m].best = V::max(v, arg[m].best);
      sum[m] = sum[m] + v;
    });
    bool in_doubt = false;
    for (int m = 0; m < M; ++m) in_doubt |= V::any(V::is_nan(sum[m]));
    if (in_doubt) {
      for (int m = 0; m < M; ++m) arg[m] = {first(m), V::set1(static_cast<T>(number))};
      for_cells([&](int m, V v, V cell) { arg[m].join(v, cell); });
      for (int m = 0; m < M; ++m) {
        const V nan = V::set1(static_cast<T>(__builtin_nan("")));
        arg[m].best = V::select(V::is_nan(arg[m].best), nan, arg[m].best);
      }
    }
    for (int m = 0; m < M; ++m) {
      lanes.store(arg[m].best, y + i + m * V::N);
      lanes.store_bytes(arg[m].index, indices + i + m * V::N);
    }
  });
}

// kIndices: the maxima, with their numbers into args.indices.
template <class V, template <class> class Fold, bool kIndices = false, class T = typename V::T>
void pool_rows(const PoolArgs<T>& a, int64_t begin, int64_t end) {
  const Window& window = a.window;
  const int64_t row_pitch = a.w * a.c;
  const T* x_end = a.x + a.n * a.h * row_pitch;
  T* y_end = a.y + end * a.ow * a.c;
  const Cover inside = interior(window.stride_w, window.pad_left, window.kw, a.w, a.ow);

  for (int64_t row = begin; row < end; ++row) {
    const int64_t first_row = row % a.oh * window.stride_h - window.pad_top;  // of the windows, also in the padding
    const Cover rows = cover(row % a.oh, window.stride_h, window.pad_top, window.kh, a.h);
    const T* x_row = a.x + (row / a.oh * a.h + rows.begin) * row_pitch;
    T* y_row = a.y + row * a.ow * a.c;
    const int64_t kh = rows.end - rows.begin;

    // `windows` windows of the same size, whose first covers `pixels` outputs from column j on.
    const auto run = [&](int64_t j, int64_t pixels, int64_t windows) {
      const Cover cols = cover(j, window.stride_w, window.pad_left, window.kw, a.w);
      const T* x = x_row + cols.begin * a.c;
      T* y = y_row + j * a.c;
      const int64_t kw = cols.end - cols.begin;
      const int64_t length = pixels * a.c;
      const int64_t x_step = window.stride_w * a.c;
      // Of the windows, the first ones may be touched in whole vectors.
      const int64_t reach = whole_vectors<V>(length);
      const int64_t x_room = x_end - x - (kh - 1) * row_pitch - (kw - 1) * a.c - reach;
      const int64_t y_room = y_end - y - reach;
      const int64_t whole = x_room < 0 || y_room < 0 ? 0 : smaller(x_room / x_step, y_room / a.c) + 1;
      const int64_t above = rows.begin - first_row;
      const int64_t number = above * window.kw + cols.begin + window.pad_left - j * window.stride_w;
      // By value: behind references the compiler would look again at each window what does not change.
      const auto fold = [=, channels = a.c, indices = kIndices ? a.indices + (y - a.y) : nullptr]<int KH, int KW>() {
        const T* from = x;
        int64_t to = 0;
        for (int64_t i = 0; i < windows; ++i, from += x_step, to += channels) {
          if constexpr (kIndices) {
            fold_maxima<V, KH, KW>(from, kh, kw, row_pitch, channels, length, i < whole, number, window.kw, y + to,
                                   indices + to);
          } else {
            fold_windows<V, Fold<V>, KH, KW>(from, kh, kw, row_pitch, channels, length, i < whole, y + to);
          }
        }
      };
      if (kh == 2 && kw == 2) {
        fold.template operator()<2, 2>();
      } else if (kh == 3 && kw == 3) {
        fold.template operator()<3, 3>();
      } else {
        fold.template operator()<0, 0>();
      }
    };

    for (int64_t j = 0; j < inside.begin; ++j) run(j, 1, 1);
    if (window.stride_w == 1) {
      // Neighbouring windows begin at neighbouring pixels: the whole run is one.
      if (inside.begin < inside.end) run(inside.begin, inside.end - inside.begin, 1);
    } else if (!kIndices && a.c == 1 && kh == 2 && window.kw == 2 && window.stride_w == 2) {
      fold_pairs<Fold<V>>(x_row + inside.begin * 2 - window.pad_left, row_pitch, inside.end - inside.begin,
                          y_row + inside.begin);
    } else if (inside.begin < inside.end) {
      run(inside.begin, 1, inside.end - inside.begin);
    }
    for (int64_t j = inside.end; j < a.ow; ++j) run(j, 1, 1);
  }
}

// Whether each cell lies in one window at most, none of which reaches beyond the image.
inline bool tiles_image(const Window& window) {
  return window.kh == window.stride_h && window.kw == window.stride_w && window.pad_top == 0 &&
         window.pad_bottom == 0 && window.pad_left == 0 && window.pad_right == 0;
}

// What no window covers, of windows that tile the image: the columns at the right of rows [begin, end), ...
template <class T>
void clear_right(const PoolGradArgs<T>& a, int64_t image, int64_t begin, int64_t end) {
  const int64_t covered = a.ow * a.window.kw * a.c;
  const int64_t row_pitch = a.w * a.c;
  if (covered == row_pitch) return;
  for (int64_t h = begin; h < end; ++h) {
    std::memset(a.dx + (image * a.h + h) * row_pitch + covered, 0,
                static_cast<size_t>(row_pitch - covered) * sizeof(T));
  }
}
// ... and whole rows.
template <class T>
void clear_rows(const PoolGradArgs<T>& a, int64_t image, int64_t begin, int64_t end) {
  std::memset(a.dx + (image * a.h + begin) * a.w * a.c, 0, static_cast<size_t>((end - begin) * a.w * a.c) * sizeof(T));
}

// Windows that tile the image: each dx has at most one, so a window writes its cells. KH, KW: its size, or 0.
// kIndexed: the numbers of the maxima are those in args.indices.
template <class V, bool kIndexed, int KH, int KW, class T = typename V::T>
void max_grad_tiles(const PoolGradArgs<T>& a, int64_t image, Cover unit) {
  const int64_t kh = KH > 0 ? KH : a.window.kh;
  const int64_t kw = KW > 0 ? KW : a.window.kw;
  const int64_t row_pitch = a.w * a.c;
  const T* dy_end = a.dy + a.n * a.oh * a.ow * a.c;
  const int64_t reach = whole_vectors<V>(a.c);
  const int64_t windows_end = smaller(unit.end / kh, a.oh);

  for (int64_t i = unit.begin / kh; i < windows_end; ++i) {
    const int64_t first_row = (image * a.h + i * kh) * row_pitch;
    for (int64_t j = 0; j < a.ow; ++j) {
      const int64_t corner = j * kw * a.c;
      const int64_t output = ((image * a.oh + i) * a.ow + j) * a.c;
      T* dx = a.dx + first_row + corner;
      const T* dy = a.dy + output;
      // With more than one vector to a pixel, lanes too many would spoil the next cell's first vector, which is stored
      // by then.
      const bool whole = a.c < V::N && corner + (kw - 1) * a.c + reach <= row_pitch && dy + reach <= dy_end;
      for_vectors<V, 1>(a.c, whole, [&]<int M>(auto lanes, int64_t c) {
        V index;
        if constexpr (kIndexed) {
          index = lanes.load_bytes(a.indices + output + c);
        } else {
          const T* x = a.x + first_row + corner + c;
          ArgMax<V> arg{lanes.load(x), V::zero()};
          V cell = V::zero();
          for (int64_t r = 0; r < kh; ++r) {
            for (int64_t s = 0; s < kw; ++s) {
              if (r + s > 0) arg.join(lanes.load(x + r * row_pitch + s * a.c), cell);
              cell = cell + V::set1(1);
            }
          }
          index = arg.index;
        }
        const V g = lanes.load(dy + c);
        V number = V::zero();
        for (int64_t r = 0; r < kh; ++r) {
          for (int64_t s = 0; s < kw; ++s) {
            lanes.store(V::where(V::eq(index, number), g), dx + c + r * row_pitch + s * a.c);
            number = number + V::set1(1);
          }
        }
      });
    }
    clear_right(a, image, i * kh, i * kh + kh);
  }
  clear_rows(a, image, larger(windows_end * kh, unit.begin), unit.end);
}

// Windows that tile the image: each of their cells gets the same share.
template <class V, class T = typename V::T>
void avg_grad_tiles(const PoolGradArgs<T>& a, int64_t image, Cover unit) {
  const int64_t kh = a.window.kh, kw = a.window.kw;
  const int64_t row_pitch = a.w * a.c;
  const int64_t windows_end = smaller(unit.end / kh, a.oh);
  const T* dy_end = a.dy + a.n * a.oh * a.ow * a.c;
  const int64_t reach = whole_vectors<V>(a.c);
  for (int64_t i = unit.begin / kh; i < windows_end; ++i) {
    for (int64_t j = 0; j < a.ow; ++j) {
      const T* dy = a.dy + ((image * a.oh + i) * a.ow + j) * a.c;
      T* dx = a.dx + (image * a.h + i * kh) * row_pitch + j * kw * a.c;
      // As in max_grad_tiles.
      const bool whole = a.c < V::N && (j * kw + kw - 1) * a.c + reach <= row_pitch && dy + reach <= dy_end;
      for_vectors<V, 1>(a.c, whole, [&]<int M>(auto lanes, int64_t c) {
        const V share = SumFold<V>::of(lanes.load(dy + c)).result(kh * kw);
        for (int64_t r = 0; r < kh; ++r) {
          for (int64_t s = 0; s < kw; ++s) lanes.store(share, dx + c + r * row_pitch + s * a.c);
        }
      });
    }
    clear_right(a, image, i * kh, i * kh + kh);
  }
  clear_rows(a, image, larger(windows_end * kh, unit.begin), unit.end);
}

template <class V, class Lanes>
V load_numbers(Lanes lanes, const typename V::T* p) {
  return lanes.load(p);
}
template <class V, class Lanes>
V load_numbers(Lanes lanes, const uint8_t* p) {
  return lanes.load_bytes(p);
}

// dx of the rows of a unit from the windows that cover them. `source` has, for the output rows `windows`, the number of
// each window's maximum (kMax) or what each of its cells gets.
template <class V, bool kMax, class From, class T = typename V::T>
void gather_windows(const PoolGradArgs<T>& a, int64_t image, Cover unit, Cover windows, const From* source) {
  const Window& window = a.window;
  const int64_t out_pitch = a.ow * a.c;
  const T* dy_image = a.dy + image * a.oh * out_pitch;
  const T* dy_end = a.dy + a.n * a.oh * out_pitch;
  const int64_t reach = whole_vectors<V>(a.c);

  for (int64_t h = unit.begin; h < unit.end; ++h) {
    const Cover rows = covering({h, h + 1}, window.stride_h, window.pad_top, window.kh, a.oh);
    T* dx_row = a.dx + (image * a.h + h) * a.w * a.c;
    CoveringWalk walk(window.stride_w, window.pad_left, window.kw, a.ow);
    for (int64_t w = 0; w < a.w; ++w, walk.next()) {
      const Cover cols = walk.cover();
      const bool whole = w * a.c + reach <= a.w * a.c &&
                         (!kMax || dy_image + ((rows.end - 1) * a.ow + cols.end - 1) * a.c + reach <= dy_end);
      for_vectors<V, 4>(a.c, whole, [&]<int M>(auto lanes, int64_t c) {
        V sum[M];
        for (int m = 0; m < M; ++m) sum[m] = V::zero();
        for (int64_t i = rows.begin; i < rows.end; ++i) {
          const int64_t row_number = (h + window.pad_top - i * window.stride_h) * window.kw;
          for (int64_t j = cols.begin; j < cols.end; ++j) {
            const From* from = source + (i - windows.begin) * out_pitch + j * a.c + c;
            const V number = V::set1(static_cast<T>(row_number + w + window.pad_left - j * window.stride_w));
            const T* dy = dy_image + i * out_pitch + j * a.c + c;
            for (int m = 0; m < M; ++m) {
              V part = load_numbers<V>(lanes, from + m * V::N);
              if constexpr (kMax) part = V::where(V::eq(part, number), lanes.load(dy + m * V::N));
              sum[m] = sum[m] + part;
            }
          }
        }
        for (int m = 0; m < M; ++m) lanes.store(sum[m], dx_row + w * a.c + c + m * V::N);
      });
    }
  }
}

template <class V, class T = typename V::T>
void find_maxima(const PoolGradArgs<T>& a, int64_t image, Cover windows, T* scratch) {
  const Window& window = a.window;
  const int64_t row_pitch = a.w * a.c;
  const T* x_image = a.x + image * a.h * row_pitch;
  const T* x_end = a.x + a.n * a.h * row_pitch;
  const int64_t reach = whole_vectors<V>(a.c);
  for (int64_t i = windows.begin; i < windows.end; ++i) {
    const Cover rows = cover(i, window.stride_h, window.pad_top, window.kh, a.h);
    for (int64_t j = 0; j < a.ow; ++j) {
      const Cover cols = cover(j, window.stride_w, window.pad_left, window.kw, a.w);
      // The number of cell (h, w) of the image in this window is h * kw + w - origin.
      const int64_t origin = (i * window.stride_h - window.pad_top) * window.kw + j * window.stride_w - window.pad_left;
      T* to = scratch + ((i - windows.begin) * a.ow + j) * a.c;
      const bool whole = x_image + (rows.end - 1) * row_pitch + (cols.end - 1) * a.c + reach <= x_end;
      for_vectors<V, 2>(a.c, whole, [&]<int M>(auto lanes, int64_t c) {
        ArgMax<V> arg[M];
        for (int m = 0; m < M; ++m) {
          arg[m] = {lanes.load(x_image + rows.begin * row_pitch + cols.begin * a.c + c + m * V::N),
                    V::set1(static_cast<T>(rows.begin * window.kw + cols.begin - origin))};
        }
        for (int64_t h = rows.begin; h < rows.end; ++h) {
          const T* x = x_image + h * row_pitch + c;
          for (int64_t w = cols.begin; w < cols.end; ++w) {
            const V number = V::set1(static_cast<T>(h * window.kw + w - origin));
            for (int m = 0; m < M; ++m) arg[m].join(lanes.load(x + w * a.c + m * V::N), number);
          }
        }
        // Lanes too many go to the next pixel, which comes next, or to the scratch's spare elements.
        for (int m = 0; m < M; ++m) lanes.store(arg[m].index, to + c + m * V::N);
      });
    }
  }
}

template <class T>
Cover unit_rows(const PoolGradArgs<T>& a, int64_t unit) {
  const int64_t begin = unit % a.units_per_image * a.block;
  return {begin, smaller(begin + a.block, a.h)};
}

template <class V, class T = typename V::T>
void max_grad_units(const PoolGradArgs<T>& a, int64_t begin, int64_t end, T* scratch) {
  const Window& window = a.window;
  const bool tiles = tiles_image(window);
  for (int64_t u = begin; u < end; ++u) {
    const int64_t image = u / a.units_per_image;
    const Cover unit = unit_rows(a, u);
    if (tiles) {
      const bool pairs = window.kh == 2 && window.kw == 2;
      if (a.indices != nullptr) {
        pairs ? max_grad_tiles<V, true, 2, 2>(a, image, unit) : max_grad_tiles<V, true, 0, 0>(a, image, unit);
      } else {
        pairs ? max_grad_tiles<V, false, 2, 2>(a, image, unit) : max_grad_tiles<V, false, 0, 0>(a, image, unit);
      }
      continue;
    }
    const Cover windows = covering(unit, window.stride_h, window.pad_top, window.kh, a.oh);
    if (a.indices != nullptr) {
      const uint8_t* rows = a.indices + (image * a.oh + windows.begin) * a.ow * a.c;
      gather_windows<V, true>(a, image, unit, windows, rows);
    } else {
      find_maxima<V>(a, image, windows, scratch);
      gather_windows<V, true>(a, image, unit, windows, static_cast<const T*>(scratch));
    }
  }
}

template <class V, class T = typename V::T>
void avg_grad_units(const PoolGradArgs<T>& a, int64_t begin, int64_t end, T* scratch) {
  const Window& window = a.window;
  const int64_t out_pitch = a.ow * a.c;
  const Cover inside = interior(window.stride_w, window.pad_left, window.kw, a.w, a.ow);
  const bool tiles = tiles_image(window);
  for (int64_t u = begin; u < end; ++u) {
    const int64_t image = u / a.units_per_image;
    const Cover unit = unit_rows(a, u);
    if (tiles) {
      avg_grad_tiles<V>(a, image, unit);
      continue;
    }
    const Cover windows = covering(unit, window.stride_h, window.pad_top, window.kh, a.oh);
    for (int64_t i = windows.begin; i < windows.end; ++i) {
      const Cover rows = cover(i, window.stride_h, window.pad_top, window.kh, a.h);
      const T* dy = a.dy + (image * a.oh + i) * out_pitch;
      T* to = scratch + (i - windows.begin) * out_pitch;
      const auto share = [&](int64_t j, int64_t pixels) {
        const Cover cols = cover(j, window.stride_w, window.pad_left, window.kw, a.w);
        const V cells = V::set1(static_cast<T>((rows.end - rows.begin) * (cols.end - cols.begin)));
        for_each_vector<V>(pixels * a.c, [&](auto lanes, int64_t c) {
          lanes.store(lanes.load(dy + j * a.c + c) / cells, to + j * a.c + c);
        });
      };
      for (int64_t j = 0; j < inside.begin; ++j) share(j, 1);
      if (inside.begin < inside.end) share(inside.begin, inside.end - inside.begin);
      for (int64_t j = inside.end; j < a.ow; ++j) share(j, 1);
    }
    gather_windows<V, false>(a, image, unit, windows, static_cast<const T*>(scratch));
  }
}

}  // namespace
}  // namespace sixloop
