#include "conv2d/conv2d.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "guarded.h"
#include "rows.h"

namespace sixloop {
namespace {

using check::check_same_bits;
using check::for_each_row;
using check::Guarded;
using check::values;

TEST(depthwise) {
  for_each_row<Depthwise>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Depthwise, T>(row);
    constexpr int64_t kPixels = 2;
    for (int64_t channels = 1; channels <= 37; ++channels) {
      for (int64_t taps : {0, 1, 9}) {
        const bool with_bias = channels % 2 == 0;
        const bool relu = channels % 3 == 0;
        std::vector<Guarded<T>> inputs, outputs;
        std::vector<const T*> a;
        std::vector<T*> y;
        for (int64_t i = 0; i < kPixels * taps; ++i) {
          inputs.emplace_back(values<T>(channels, static_cast<uint64_t>(i)));
          a.push_back(inputs.back().get());
        }
        for (int64_t p = 0; p < kPixels; ++p) {
          outputs.emplace_back(channels);
          y.push_back(outputs.back().get());
        }
        const Guarded<T> w(values<T>(taps * channels, 100)), bias(values<T>(channels, 101));
        kernel({kPixels, taps, channels, a.data(), w.get(), with_bias ? bias.get() : nullptr, relu, y.data()});
        for (int64_t p = 0; p < kPixels; ++p) {
          std::vector<T> expected;
          for (int64_t c = 0; c < channels; ++c) {
            T sum = 0;
            for (int64_t tap = 0; tap < taps; ++tap) {
              sum = std::fma(a[static_cast<size_t>(p * taps + tap)][c], w[tap * channels + c], sum);
            }
            if (with_bias) sum += bias[c];
            expected.push_back(relu && sum < 0 ? T{0} : sum);
          }
          check_same_bits(row.name, y[static_cast<size_t>(p)], expected.data(), channels);
        }
      }
    }
  });
}

using Matrix = std::vector<std::vector<double>>;

// A^T, B^T and G of F(side, filter) from the interpolation points, by Cook and Toom. With fewer outputs than side,
// those of the first points and infinity, for the G of all of them.
struct Cook {
  std::vector<size_t> products;  // the numbers of the rows of bt and g, and of the columns of at
  Matrix at, bt, g;

  Cook(size_t side, size_t filter, size_t outputs) {
    const std::vector<double> points =
        side + filter == 5 ? std::vector<double>{0, 1, -1} : std::vector<double>{0, .75, -.75, 1.5, -1.5};
    const size_t used = outputs + filter - 2;
    const auto product = [&](size_t without) {  // coefficients of the product of (x - b)
      std::vector<double> c{1};
      for (size_t i = 0; i < used; ++i) {
        if (i == without) continue;
        std::vector<double> next(c.size() + 1, 0.0);
        for (size_t k = 0; k < c.size(); ++k) {
          next[k + 1] += c[k];
          next[k] -= points[i] * c[k];
        }
        c = next;
      }
      c.resize(used + 1, 0.0);
      return c;
    };
    at.assign(outputs, std::vector<double>(used + 1, 0.0));
    for (size_t i = 0; i < used; ++i) {
      products.push_back(i);
      bt.push_back(product(i));
      double scale = 1;
      for (size_t j = 0; j < points.size(); ++j) {
        const double factor = i == j ? 1 : points[i] - points[j];
        scale *= factor;
        for (double& element : bt.back()) element *= j < used ? 1 : factor;
      }
      g.emplace_back();
      for (size_t k = 0; k < filter; ++k) g.back().push_back(std::pow(points[i], k) / scale);
      for (size_t k = 0; k < outputs; ++k) at[k][i] = std::pow(points[i], k);
    }
    products.push_back(points.size());
    bt.push_back(product(used));
    g.emplace_back(filter, 0.0);
    g.back().back() = 1;
    at.back().back() = 1;
  }
};

Matrix transposed(const Matrix& m) {
  Matrix t(m[0].size(), std::vector<double>(m.size()));
  for (size_t i = 0; i < m.size(); ++i) {
    for (size_t j = 0; j < m[0].size(); ++j) t[j][i] = m[i][j];
  }
  return t;
}

// One dimension of a transform: the elements of whole lines that it maps to each other.
struct LineMap {
  Matrix matrix;
  std::vector<size_t> from, to;
  size_t whole_from, whole_to;
};

LineMap line_map(WinogradTransform transform, size_t side, size_t filter, size_t outputs) {
  const Cook cook(side, filter, outputs);
  const size_t products = side + filter - 1;
  const auto first = [](size_t n) {
    std::vector<size_t> numbers(n);
    std::iota(numbers.begin(), numbers.end(), size_t{0});
    return numbers;
  };
  switch (transform) {
    case WinogradTransform::input:
      return {cook.bt, first(outputs + filter - 1), cook.products, products, products};
    case WinogradTransform::filter:
      return {cook.g, first(filter), cook.products, filter, products};
    case WinogradTransform::output:
      return {cook.at, cook.products, first(outputs), products, side};
    case WinogradTransform::grad_output:
      return {transposed(cook.at), first(outputs), cook.products, side, products};
    case WinogradTransform::grad_filter:
      return {transposed(cook.g), cook.products, first(filter), products, filter};
  }
  throw std::logic_error("no such transform");
}

template <class T>
using TileKernel = typename Winograd::Fn<T>;

// The transform of a tile of `rows` x `columns` outputs of F(side x side, filter x filter), beside the scalar kernel
// and the matrices.
template <class T>
void check_transform(const char* name, TileKernel<T>* kernel, TileKernel<T>* scalar, WinogradTransform transform,
                     size_t side, size_t filter, size_t rows, size_t columns, int64_t channels) {
  const LineMap down = line_map(transform, side, filter, rows);
  const LineMap across = line_map(transform, side, filter, columns);
  const bool scatter = transform == WinogradTransform::output || transform == WinogradTransform::grad_filter;
  const bool with_bias = scatter && channels % 2 == 0;
  const bool relu = scatter && channels % 3 == 0;
  const Guarded<T> bias(values<T>(channels, 9));
  const size_t from_size = down.whole_from * across.whole_from, to_size = down.whole_to * across.whole_to;
  const size_t pixels = scatter ? to_size : from_size, products = scatter ? from_size : to_size;
  const int64_t step = channels + 3;
  const std::vector<T> before = values<T>(static_cast<int64_t>(products - 1) * step + channels, 7);
  const auto pixel = [&](size_t i) { return values<T>(channels, static_cast<uint64_t>(100 + i)); };
  // Everything that a kernel may write, what it has to leave alone too.
  const auto run = [&](TileKernel<T>* function) {
    std::vector<Guarded<T>> arrays;
    std::vector<const T*> reads;
    std::vector<T*> writes;
    for (size_t i = 0; i < pixels; ++i) {
      arrays.emplace_back(pixel(i));
      reads.push_back(arrays.back().get());
      writes.push_back(arrays.back().get());
    }
    Guarded<T> matrix(before);
    function({transform, channels, scatter ? nullptr : reads.data(), scatter ? writes.data() : nullptr, matrix.get(),
              step, with_bias ? bias.get() : nullptr, relu, with_bias ? reads.data() : nullptr,
              static_cast<int64_t>(rows), static_cast<int64_t>(columns)});
    std::vector<T> results;
    for (size_t i = 0; i < to_size; ++i) {
      const T* at = scatter ? writes[i] : matrix.get() + static_cast<int64_t>(i) * step;
      results.insert(results.end(), at, at + channels);
    }
    return results;
  };
  const std::vector<T> actual = run(kernel);
  check_same_bits(name, actual.data(), run(scalar).data(), static_cast<int64_t>(actual.size()));

  const auto element = [&](size_t i, size_t ch) {
    if (scatter) return static_cast<double>(before[i * static_cast<size_t>(step) + ch]);
    return static_cast<double>(pixel(i)[ch]);
  };
  std::vector<bool> written(to_size, false);
  for (size_t i = 0; i < down.to.size(); ++i) {
    for (size_t j = 0; j < across.to.size(); ++j) {
      const size_t to = down.to[i] * across.whole_to + across.to[j];
      written[to] = true;
      std::vector<double> sums(static_cast<size_t>(channels)), sizes(static_cast<size_t>(channels));
      for (size_t k = 0; k < down.from.size(); ++k) {
        for (size_t l = 0; l < across.from.size(); ++l) {
          const size_t from = down.from[k] * across.whole_from + across.from[l];
          const std::vector<T> x = scatter ? std::vector<T>{} : pixel(from);
          for (size_t ch = 0; ch < sums.size(); ++ch) {
            const double value = scatter ? element(from, ch) : static_cast<double>(x[ch]);
            const double term = down.matrix[i][k] * value * across.matrix[j][l];
            sums[ch] += term;
            sizes[ch] += std::abs(term);
          }
        }
      }
      for (size_t ch = 0; ch < sums.size(); ++ch) {
        const double b = with_bias ? static_cast<double>(bias[static_cast<int64_t>(ch)]) : 0;
        double sum = sums[ch] + b;
        if (relu && sum < 0) sum = 0;
        // Some ten roundings on the way of each term.
        const double epsilon = static_cast<double>(std::numeric_limits<T>::epsilon());
        const double error = std::abs(sum - static_cast<double>(actual[to * sums.size() + ch]));
        CHECK(error <= 10 * epsilon * (sizes[ch] + std::abs(b)));
      }
    }
  }
  for (size_t i = 0; i < to_size; ++i) {
    if (written[i]) continue;
    const std::vector<T> untouched = scatter
                                         ? pixel(i)
                                         : std::vector<T>(before.begin() + static_cast<int64_t>(i) * step,
                                                          before.begin() + static_cast<int64_t>(i) * step + channels);
    check_same_bits(name, actual.data() + static_cast<int64_t>(i) * channels, untouched.data(), channels);
  }
}

template <class Kind>
void check_winograd(size_t filter) {
  for_each_row<Kind>([filter](const Kernel& row, auto t) {
    using T = decltype(t);
    const Kernel* scalar = nullptr;
    for (const Kernel& other : Kind::kernels()) {
      if (is_row_of<Kind, T>(other) && other.isa == Isa::scalar && other.facts.mr == row.facts.mr) scalar = &other;
    }
    CHECK(scalar != nullptr);
    const size_t side = static_cast<size_t>(row.facts.mr);
    const auto check = [&](WinogradTransform transform, size_t rows, size_t columns, int64_t channels) {
      check_transform<T>(row.name, function_of<Kind, T>(row), function_of<Kind, T>(*scalar), transform, side, filter,
                         rows, columns, channels);
    };
    using W = WinogradTransform;
    for (int64_t channels = 1; channels <= 35; ++channels) {
      for (const auto transform : {W::input, W::filter, W::output, W::grad_output, W::grad_filter}) {
        check(transform, side, side, channels);
      }
    }
    if (side != 4) return;
    for (const int64_t channels : {1, 7, 16, 34, 35}) {
      for (size_t edge = 0; edge < 15; ++edge) {  // all but 4x4
        for (const auto transform : {W::input, W::output, W::grad_output}) {
          check(transform, edge / 4 + 1, edge % 4 + 1, channels);
        }
      }
    }
  });
}

TEST(winograd) { check_winograd<Winograd>(3); }
TEST(winograd_of_5x5) { check_winograd<WinogradOf5x5>(5); }

TEST(planar) {
  for_each_row<Planar>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Planar, T>(row);
    const int64_t mr = row.facts.mr;
    const int64_t nr = row.facts.nr;
    const int64_t lanes = std::max<int64_t>(1, vector_bytes(row.isa) / static_cast<int64_t>(sizeof(T)));
    for (int64_t steps : {0, 1, 2, 25, 26}) {
      const int64_t x_step = steps == 26 ? lanes + 11 : lanes;
      std::vector<int64_t> offsets;
      for (int64_t s = 0; s < steps; ++s) offsets.push_back(s * 7 % 31);
      // The last step reads to the last element and no further.
      const int64_t length = (nr / lanes - 1) * x_step + lanes;
      const int64_t reach = steps > 0 ? *std::max_element(offsets.begin(), offsets.end()) + length : 0;
      const Guarded<T> x(values<T>(reach, 1)), w(values<T>(steps * mr, 2));
      Guarded<T> y(mr * nr);
      const Guarded<T> bias(values<T>(mr, 3));
      const bool with_bias = steps % 2 == 1;
      const bool relu = steps > 1;
      kernel({steps, w.get(), x.get(), x_step, offsets.data(), with_bias ? bias.get() : nullptr, relu, y.get()});
      std::vector<T> expected;
      for (int64_t o = 0; o < mr; ++o) {
        for (int64_t j = 0; j < nr; ++j) {
          T sum = 0;
          for (int64_t s = 0; s < steps; ++s) {
            sum = std::fma(w[s * mr + o], x[offsets[static_cast<size_t>(s)] + j / lanes * x_step + j % lanes], sum);
          }
          if (with_bias) sum += bias[o];
          expected.push_back(relu && sum < 0 ? T{0} : sum);
        }
      }
      check_same_bits(row.name, y.get(), expected.data(), mr * nr);
    }
  });
}

TEST(lane_sums) {
  for_each_row<LaneSums>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<LaneSums, T>(row);
    const int64_t mr = row.facts.mr, nr = row.facts.nr;
    constexpr int64_t kRows = 3, kRun = 4;
    const int64_t a_step = 2 * kPartLanes, a_row = 11 * kPartLanes, b_step = (nr + 1) * kPartLanes;
    const int64_t ldc = (nr + 2) * kPartLanes;
    const Guarded<T> a(values<T>((kRows - 1) * a_row + (kRun - 1) * a_step + mr * kPartLanes, 1));
    const Guarded<T> b(values<T>((kRows * kRun - 1) * b_step + nr * kPartLanes, 2));
    for (int64_t live_rows = 1; live_rows <= mr; ++live_rows) {
      for (int64_t live_columns = 1; live_columns <= nr; ++live_columns) {
        std::vector<T> expected = values<T>((live_rows - 1) * ldc + live_columns * kPartLanes, 3);
        Guarded<T> c(expected);
        for (int64_t i = 0; i < live_rows; ++i) {
          for (int64_t j = 0; j < live_columns * kPartLanes; ++j) {
            T& sum = expected[static_cast<size_t>(i * ldc + j)];
            for (int64_t k = 0; k < kRows * kRun; ++k) {
              const int64_t place = k / kRun * a_row + k % kRun * a_step + i * kPartLanes + j % kPartLanes;
              sum = std::fma(a[place], b[k * b_step + j], sum);
            }
          }
        }
        kernel({kRows, kRun, a.get(), a_row, a_step, b.get(), b_step, live_rows, live_columns, c.get(), ldc});
        check_same_bits(row.name, c.get(), expected.data(), static_cast<int64_t>(expected.size()));
      }
    }
  });
}

TEST(depthwise_grad_weight) {
  for_each_row<DepthwiseGradWeight>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<DepthwiseGradWeight, T>(row);
    for (int64_t channels = 1; channels <= 70; ++channels) {
      for (int64_t pixels : {0, 1, 6}) {
        const int64_t ld = channels + channels % 4;
        std::vector<Guarded<T>> inputs;
        std::vector<const T*> a;
        for (int64_t p = 0; p < pixels; ++p) {
          inputs.emplace_back(values<T>(channels, static_cast<uint64_t>(p)));
          a.push_back(inputs.back().get());
        }
        const Guarded<T> dy(values<T>(pixels > 0 ? (pixels - 1) * ld + channels : 0, 100));
        Guarded<T> sum(values<T>(channels, 101));
        std::vector<T> expected(sum.get(), sum.get() + channels);
        for (int64_t c = 0; c < channels; ++c) {
          T& total = expected[static_cast<size_t>(c)];
          for (int64_t p = 0; p < pixels; ++p) total = std::fma(a[static_cast<size_t>(p)][c], dy[p * ld + c], total);
        }
        kernel(pixels, channels, a.data(), dy.get(), ld, sum.get());
        check_same_bits(row.name, sum.get(), expected.data(), channels);
      }
    }
  });
}

struct ConvCase {
  Shape x;
  Shape w;
  Window window;
  int64_t groups;
};

Window window_of(int64_t kh, int64_t kw, int64_t sh, int64_t sw, int64_t dh, int64_t dw, int64_t top, int64_t bottom,
                 int64_t left, int64_t right) {
  Window window;
  window.kh = kh;
  window.kw = kw;
  window.stride_h = sh;
  window.stride_w = sw;
  window.dilation_h = dh;
  window.dilation_w = dw;
  window.pad_top = top;
  window.pad_bottom = bottom;
  window.pad_left = left;
  window.pad_right = right;
  return window;
}

const ConvCase kCases[] = {
    {{1, 1, 1, 1}, {1, 1, 1, 1}, window_of(1, 1, 1, 1, 1, 1, 0, 0, 0, 0), 1},
    {{2, 9, 7, 3}, {3, 2, 3, 5}, window_of(3, 2, 1, 1, 1, 1, 1, 0, 0, 2), 1},
    {{1, 8, 11, 3}, {5, 5, 3, 17}, window_of(5, 5, 2, 3, 1, 1, 2, 1, 3, 0), 1},
    {{1, 9, 8, 4}, {3, 3, 2, 6}, window_of(3, 3, 2, 1, 2, 3, 2, 2, 3, 4), 2},
    {{2, 6, 5, 19}, {3, 3, 1, 19}, window_of(3, 3, 1, 2, 1, 1, 1, 1, 1, 1), 19},
    {{1, 5, 6, 20}, {1, 1, 20, 33}, window_of(1, 1, 1, 1, 1, 1, 0, 0, 0, 0), 1},
    {{2, 9, 10, 52}, {1, 1, 52, 24}, window_of(1, 1, 1, 1, 1, 1, 0, 0, 0, 0), 1},
    {{1, 4, 4, 18}, {4, 4, 18, 9}, window_of(4, 4, 3, 3, 1, 1, 3, 3, 3, 3), 1},
};

// Calls f(n, oh, ow, h, w, kh, kw) for every pair of an output and an input pixel that a filter offset joins.
template <class F>
void for_each_pair(const Conv2dParams& p, F&& f) {
  for (int64_t n = 0; n < p.n; ++n) {
    for (int64_t oh = 0; oh < p.oh; ++oh) {
      for (int64_t ow = 0; ow < p.ow; ++ow) {
        for (int64_t kh = 0; kh < p.window.kh; ++kh) {
          for (int64_t kw = 0; kw < p.window.kw; ++kw) {
            const int64_t h = oh * p.window.stride_h - p.window.pad_top + kh * p.window.dilation_h;
            const int64_t w = ow * p.window.stride_w - p.window.pad_left + kw * p.window.dilation_w;
            if (h >= 0 && h < p.h && w >= 0 && w < p.w) f(n, oh, ow, h, w, kh, kw);
          }
        }
      }
    }
  }
}

// Whole numbers up to 8: every order of summation is exact, so the three passes can be compared with plain loops.
template <class T>
std::vector<T> whole_numbers(int64_t n, uint64_t seed) {
  std::vector<T> result = values<T>(n, seed);
  for (T& x : result) x = std::round(x * 4);
  return result;
}

template <class T>
void check_case(const ConvCase& c, Conv2dAlgorithm algorithm) {
  const Conv2dParams p = conv2d_params("conv2d", c.x, c.w, c.window, c.groups);
  const Shape y_shape{p.n, p.oh, p.ow, p.o};
  const int64_t inputs = p.c / p.groups;
  const int64_t outputs = p.o / p.groups;
  Guarded<T> x(whole_numbers<T>(c.x.size(), 1)), w(whole_numbers<T>(c.w.size(), 2));
  Guarded<T> dy(whole_numbers<T>(y_shape.size(), 3)), bias(whole_numbers<T>(p.o, 4));
  std::vector<T> y(static_cast<size_t>(y_shape.size())), dx(static_cast<size_t>(c.x.size()));
  std::vector<T> dw(static_cast<size_t>(c.w.size()));
  for (size_t i = 0; i < y.size(); ++i) y[i] = bias[static_cast<int64_t>(i) % p.o];
  for_each_pair(p, [&](int64_t n, int64_t oh, int64_t ow, int64_t h, int64_t column, int64_t kh, int64_t kw) {
    for (int64_t o = 0; o < p.o; ++o) {
      for (int64_t i = 0; i < inputs; ++i) {
        const int64_t ix = ((n * p.h + h) * p.w + column) * p.c + o / outputs * inputs + i;
        const int64_t iw = ((kh * p.window.kw + kw) * inputs + i) * p.o + o;
        const int64_t iy = ((n * p.oh + oh) * p.ow + ow) * p.o + o;
        y[static_cast<size_t>(iy)] += x[ix] * w[iw];
        dx[static_cast<size_t>(ix)] += dy[iy] * w[iw];
        dw[static_cast<size_t>(iw)] += dy[iy] * x[ix];
      }
    }
  });

  const DType dtype = DTypeOf<T>::value;
  const Tensor tx = Tensor::borrow(x.get(), c.x, dtype, nullptr);
  const Tensor tw = Tensor::borrow(w.get(), c.w, dtype, nullptr);
  const Tensor tdy = Tensor::borrow(dy.get(), y_shape, dtype, nullptr);
  const Tensor tbias = Tensor::borrow(bias.get(), {p.o}, dtype, nullptr);
  const std::string what = c.x.str() + " * " + c.w.str();
  const auto equal = [&](const char* pass, const Tensor& actual, const std::vector<T>& expected) {
    CHECK_EQ(actual.size(), static_cast<int64_t>(expected.size()));
    for (size_t i = 0; i < expected.size(); ++i) {
      if (actual.data<T>()[i] == expected[i]) continue;
      check::fail((what + " " + pass).c_str(), static_cast<int>(i),
                  check::show(actual.data<T>()[i]) + ", expected " + check::show(expected[i]));
      return;
    }
  };
  equal("forward", conv2d(tx, tw, tbias, c.window, c.groups, Activation::none, algorithm), y);
  equal("input gradient", conv2d_grad_input(tdy, tw, c.x, c.window, c.groups, algorithm), dx);
  equal("weight gradient", conv2d_grad_weight(tx, tdy, c.w, c.window, c.groups, algorithm), dw);
}

TEST(all_passes_read_their_operands_only) {
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (const ConvCase& c : kCases) {
      for (Conv2dAlgorithm algorithm : {Conv2dAlgorithm::direct, Conv2dAlgorithm::im2col}) {
        check_case<float>(c, algorithm);
        check_case<double>(c, algorithm);
      }
    }
  }
  set_isa("");
}

}  // namespace
}  // namespace sixloop
