// Every convolution of some published networks, by every algorithm and in every pass, and matrix products: the lists of
// bench/shapes.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "conv2d/conv2d.h"
#include "gemm/gemm.h"
#include "micro.h"

namespace sixloop::micro {
namespace {

// The lines of a list that are no comments, as streams, with the place for errors.
template <class F>
void for_each_line(const std::filesystem::path& path, F&& f) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(message("cannot read ", path.string()));
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    f(fields);
    if (fields.fail() || !(fields >> std::ws).eof()) {
      throw std::runtime_error(message(path.string(), ":", number, ": not as its first lines say: ", line));
    }
  }
}

// One element of a result by the definition, for the arrays of one convolution. Indices are those of the dense result.
struct Definition {
  Conv2dParams p;
  const float* x;
  const float* w;
  const float* dy;

  double forward(int64_t index) const {
    const auto [n, oh, ow, o] = position(index, p.oh, p.ow, p.o);
    const int64_t i_count = p.c / p.groups;
    const int64_t first = o / (p.o / p.groups) * i_count;
    double sum = 0;
    for (int64_t kh = 0; kh < p.window.kh; ++kh) {
      for (int64_t kw = 0; kw < p.window.kw; ++kw) {
        const float* pixel = input(n, oh, ow, kh, kw);
        for (int64_t i = 0; pixel != nullptr && i < i_count; ++i) {
          sum += static_cast<double>(pixel[first + i]) *
                 static_cast<double>(w[((kh * p.window.kw + kw) * i_count + i) * p.o + o]);
        }
      }
    }
    return sum;
  }

  double grad_input(int64_t index) const {
    const auto [n, h, x_column, c] = position(index, p.h, p.w, p.c);
    const int64_t i_count = p.c / p.groups;
    const int64_t o_count = p.o / p.groups;
    const int64_t first = c / i_count * o_count;
    double sum = 0;
    for (int64_t kh = 0; kh < p.window.kh; ++kh) {
      for (int64_t kw = 0; kw < p.window.kw; ++kw) {
        const int64_t down = h + p.window.pad_top - kh;
        const int64_t right = x_column + p.window.pad_left - kw;
        if (down < 0 || right < 0 || down % p.window.stride_h != 0 || right % p.window.stride_w != 0) continue;
        const int64_t oh = down / p.window.stride_h;
        const int64_t ow = right / p.window.stride_w;
        if (oh >= p.oh || ow >= p.ow) continue;
        for (int64_t o = first; o < first + o_count; ++o) {
          sum += static_cast<double>(dy[((n * p.oh + oh) * p.ow + ow) * p.o + o]) *
                 static_cast<double>(w[((kh * p.window.kw + kw) * i_count + c % i_count) * p.o + o]);
        }
      }
    }
    return sum;
  }

  double grad_weight(int64_t index) const {
    const int64_t i_count = p.c / p.groups;
    const auto [kh, kw, i, o] = position(index, p.window.kw, i_count, p.o);
    const int64_t c = o / (p.o / p.groups) * i_count + i;
    double sum = 0;
    for (int64_t n = 0; n < p.n; ++n) {
      for (int64_t oh = 0; oh < p.oh; ++oh) {
        for (int64_t ow = 0; ow < p.ow; ++ow) {
          const float* pixel = input(n, oh, ow, kh, kw);
          if (pixel == nullptr) continue;
          sum += static_cast<double>(pixel[c]) * static_cast<double>(dy[((n * p.oh + oh) * p.ow + ow) * p.o + o]);
        }
      }
    }
    return sum;
  }

 private:
  struct Position {
    int64_t i0, i1, i2, i3;
  };
  static Position position(int64_t index, int64_t n1, int64_t n2, int64_t n3) {
    return {index / n3 / n2 / n1, index / n3 / n2 % n1, index / n3 % n2, index % n3};
  }

  // The pixel that a filter offset meets, null in the padding. The lists have no dilation.
  const float* input(int64_t n, int64_t oh, int64_t ow, int64_t kh, int64_t kw) const {
    const int64_t h = oh * p.window.stride_h - p.window.pad_top + kh;
    const int64_t column = ow * p.window.stride_w - p.window.pad_left + kw;
    if (h < 0 || h >= p.h || column < 0 || column >= p.w) return nullptr;
    return x + ((n * p.h + h) * p.w + column) * p.c;
  }
};

Work prepare_conv2d(const std::string& name, Conv2dAlgorithm algorithm, Conv2dPass pass, const Conv2dParams& p) {
  const Shape x_shape{p.n, p.h, p.w, p.c};
  const Shape w_shape{p.window.kh, p.window.kw, p.c / p.groups, p.o};
  const Tensor x = values(x_shape, DType::float32, 1);
  const Tensor w = values(w_shape, DType::float32, 2);
  const Tensor dy = values({p.n, p.oh, p.ow, p.o}, DType::float32, 3);
  const auto run = [=] {
    switch (pass) {
      case Conv2dPass::forward:
        return conv2d(x, w, std::nullopt, p.window, p.groups, Activation::none, algorithm);
      case Conv2dPass::grad_input:
        return conv2d_grad_input(dy, w, x_shape, p.window, p.groups, algorithm);
      case Conv2dPass::grad_weight:
        return conv2d_grad_weight(x, dy, w_shape, p.window, p.groups, algorithm);
    }
    throw std::logic_error("unknown pass");
  };
  const Definition definition{p, x.data<float>(), w.data<float>(), dy.data<float>()};
  check_samples(name, run(), [&](int64_t i) {
    return pass == Conv2dPass::forward      ? definition.forward(i)
           : pass == Conv2dPass::grad_input ? definition.grad_input(i)
                                            : definition.grad_weight(i);
  });
  // The operations of the sums as they are written: Winograd's algorithm does fewer and may have more than the peak.
  return compute_bound(run, 2.0 * static_cast<double>(dy.size()) * static_cast<double>(w.size() / p.o), fma_peak());
}

bool applies(Conv2dAlgorithm algorithm, Conv2dPass pass, const Conv2dParams& p) {
  try {
    return select_algorithm("conv2d", pass, p, algorithm) == algorithm;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

void add_network(const std::filesystem::path& path) {
  for_each_line(path, [&](std::istream& fields) {
    std::string layer;
    Conv2dParams p{};
    Window& window = p.window;
    fields >> layer >> p.n >> p.h >> p.w >> p.c >> p.o >> window.kh >> window.kw >> window.stride_h >>
        window.stride_w >> window.pad_top >> window.pad_bottom >> window.pad_left >> window.pad_right >> p.groups;
    if (fields.fail() || p.groups < 1) return fields.setstate(std::ios::failbit);
    p = conv2d_params("conv2d", {p.n, p.h, p.w, p.c}, {window.kh, window.kw, p.c / p.groups, p.o}, window, p.groups);
    for (Conv2dAlgorithm algorithm : {Conv2dAlgorithm::direct, Conv2dAlgorithm::im2col, Conv2dAlgorithm::winograd2x2,
                                      Conv2dAlgorithm::winograd4x4}) {
      for (const auto& [pass, pass_name] :
           {std::pair{Conv2dPass::forward, "forward"}, std::pair{Conv2dPass::grad_input, "grad_input"},
            std::pair{Conv2dPass::grad_weight, "grad_weight"}}) {
        if (!applies(algorithm, pass, p)) continue;
        const std::string name =
            message("conv2d/", name_of(algorithm), "/", pass_name, "/", path.stem().string(), "/", layer);
        add(name, [=, pass = pass] { return prepare_conv2d(name, algorithm, pass, p); });
      }
    }
  });
}

Work prepare_gemm(const std::string& name, int64_t m, int64_t n, int64_t k) {
  const Tensor a = values({m, k}, DType::float32, 1);
  const Tensor b = values({k, n}, DType::float32, 2);
  const auto run = [=] { return gemm(a, b, std::nullopt, false, false, Activation::none); };
  check_samples(name, run(), [&](int64_t index) {
    double sum = 0;
    for (int64_t i = 0; i < k; ++i) {
      sum += static_cast<double>(a.data<float>()[index / n * k + i]) *
             static_cast<double>(b.data<float>()[i * n + index % n]);
    }
    return sum;
  });
  return compute_bound(run, 2.0 * static_cast<double>(m * n) * static_cast<double>(k), fma_peak());
}

void add_products(const std::filesystem::path& path) {
  for_each_line(path, [](std::istream& fields) {
    int64_t m, n, k;
    if (!(fields >> m >> n >> k)) return;
    const std::string name = message("gemm/", joined({m, n, k}));
    add(name, [=] { return prepare_gemm(name, m, n, k); });
  });
}

}  // namespace

void add_layers(const std::string& directory) {
  std::vector<std::filesystem::path> lists;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() == ".txt") lists.push_back(entry.path());
  }
  std::sort(lists.begin(), lists.end());
  for (const std::filesystem::path& list : lists) {
    if (list.stem() == "gemm") {
      add_products(list);
    } else {
      add_network(list);
    }
  }
}

}  // namespace sixloop::micro
