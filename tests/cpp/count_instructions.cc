// Each op once, on one thread, for tools/count_instructions.py: callgrind counts the instructions of measured_call().
// Prints the compiler and the names of the calls, in their order.
#include <array>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "conv2d/conv2d.h"
#include "elementwise/elementwise.h"
#include "gemm/gemm.h"
#include "guarded.h"
#include "norm/norm.h"
#include "optimizer/optimizer.h"
#include "pool2d/pool2d.h"
#include "random/random.h"
#include "softmax/softmax.h"

// By this name callgrind knows when to count.
extern "C" __attribute__((noinline)) void measured_call(const std::function<void()>& call) { call(); }

namespace sixloop {
namespace {

Tensor random(const Shape& shape) {
  static uint64_t calls = 0;
  return random_normal(shape, 0, 1, PhiloxKey{++calls, 0, 0}, DType::float32);
}

void count(const std::string& name, const std::function<void()>& call) {
  call();  // the allocator has what it needs
  measured_call(call);
  std::printf("%s\n", name.c_str());
}

void count_gemm(const std::string& name, int64_t m, int64_t n, int64_t k, bool transpose_a, bool transpose_b) {
  const Tensor a = random(transpose_a ? Shape{k, m} : Shape{m, k});
  const Tensor b = random(transpose_b ? Shape{n, k} : Shape{k, n});
  count("gemm, " + name, [&] { (void)gemm(a, b, {}, transpose_a, transpose_b, Activation::none); });
}

struct Layer {
  int64_t n, h, w, c, filter, o, stride, pad, groups;
};

void count_conv2d(const std::string& name, const Layer& l) {
  Window window;
  window.kh = window.kw = l.filter;
  window.stride_h = window.stride_w = l.stride;
  window.pad_top = window.pad_left = window.pad_bottom = window.pad_right = l.pad;
  const Shape x_shape{l.n, l.h, l.w, l.c};
  const Shape w_shape{l.filter, l.filter, l.c / l.groups, l.o};
  const Conv2dParams p = conv2d_params("conv2d", x_shape, w_shape, window, l.groups);
  const Tensor x = random(x_shape), w = random(w_shape), dy = random({p.n, p.oh, p.ow, p.o}), bias = random({p.o});
  const Conv2dAlgorithm algorithm = Conv2dAlgorithm::automatic;
  count("conv2d, " + name, [&] { (void)conv2d(x, w, bias, window, l.groups, Activation::relu, algorithm); });
  count("conv2d_grad_input, " + name, [&] { (void)conv2d_grad_input(dy, w, x_shape, window, l.groups, algorithm); });
  count("conv2d_grad_weight, " + name, [&] { (void)conv2d_grad_weight(x, dy, w_shape, window, l.groups, algorithm); });
}

void count_pools() {
  Window window;
  window.kh = window.kw = 3;
  window.stride_h = window.stride_w = 2;
  window.pad_top = window.pad_left = window.pad_bottom = window.pad_right = 1;
  const Tensor x = random({2, 28, 26, 40});
  const Tensor y = max_pool2d(x, window);
  const Tensor dy = random(y.shape());
  const Tensor indices = max_pool2d_indices(x, window).second;
  count("max_pool2d", [&] { (void)max_pool2d(x, window); });
  count("max_pool2d_indices", [&] { (void)max_pool2d_indices(x, window); });
  count("max_pool2d_grad", [&] { (void)max_pool2d_grad(dy, x.shape(), indices, window); });
  count("avg_pool2d", [&] { (void)avg_pool2d(x, window); });
  count("avg_pool2d_grad", [&] { (void)avg_pool2d_grad(dy, x.shape(), window); });
}

void count_rows() {
  for (const int64_t classes : {10, 1000}) {
    const std::string name = ", " + std::to_string(classes) + " classes";
    const Tensor x = random({64, classes});
    const Tensor y = softmax(x, 1);
    count("softmax" + name, [&] { (void)softmax(x, 1); });
    count("log_softmax" + name, [&] { (void)log_softmax(x, 1); });
    count("softmax_grad" + name, [&] { (void)softmax_grad(x, y, 1); });
    const Tensor labels = Tensor::zeros({64}, DType::int64);
    count("cross_entropy" + name, [&] { (void)cross_entropy(x, labels); });
  }
}

void count_norms() {
  const Tensor x = random({2, 28, 26, 40}), dy = random(x.shape()), gamma = random({40}), beta = random({40});
  const BatchNorm forward = batch_norm(x, gamma, beta, {}, {}, 1e-5, Activation::relu);
  count("batch_norm, training", [&] { (void)batch_norm(x, gamma, beta, {}, {}, 1e-5, Activation::relu); });
  count("batch_norm, inference",
        [&] { (void)batch_norm(x, gamma, beta, forward.mean, forward.variance, 1e-5, Activation::relu); });
  count("batch_norm_grad",
        [&] { (void)batch_norm_grad(dy, x, gamma, forward.mean, forward.variance, 1e-5, true, forward.affine); });
  const std::optional<Tensor> mean = forward.mean, variance = forward.variance;
  count("batch_norm with a residual, inference",
        [&] { (void)batch_norm(x, gamma, beta, mean, variance, 1e-5, Activation::relu, dy); });
  count("batch_norm_grad with a residual",
        [&] { (void)batch_norm_grad(dy, x, gamma, *mean, *variance, 1e-5, true, {}, forward.y); });
  count("local_response_norm", [&] { (void)local_response_norm(x, 5, 1e-4, 0.75, 2); });
}

void count_elements() {
  const Tensor x = random({64, 1000}), dy = random({64, 1000});
  for (const auto& [name, activation] : {std::pair{"relu", Activation::relu}, std::pair{"tanh", Activation::tanh},
                                         std::pair{"gelu", Activation::gelu}}) {
    count(name, [&, a = activation] { (void)activate("activate", x, a, 0); });
  }
  count("add", [&] { (void)add(x, dy, Activation::relu); });
  count("bias_grad", [&] { (void)bias_grad(dy); });
  count("adam_update", [&, m = Tensor::zeros(x.shape(), x.dtype()), v = Tensor::zeros(x.shape(), x.dtype())] {
    adam_update({x}, {dy}, {m}, {v}, 1, 1e-3, 0.9, 0.999, 1e-8, 0, false);
  });
  count("dropout", [&] { (void)dropout("dropout", x, 0.5, PhiloxKey{1, 2, 3}); });
}

void count_all() {
  count_gemm("512x256x300", 512, 256, 300, false, false);
  count_gemm("a transposed", 200, 256, 300, true, false);
  count_gemm("b transposed", 200, 256, 300, false, true);
  count_gemm("64 rows", 64, 1000, 512, false, false);
  count_gemm("one row", 1, 1000, 512, false, false);
  count_conv2d("LeNet's first", {4, 28, 28, 1, 5, 6, 1, 2, 1});
  count_conv2d("LeNet's second", {4, 14, 14, 6, 5, 16, 1, 0, 1});
  count_conv2d("a stem", {1, 64, 60, 3, 7, 64, 2, 3, 1});
  count_conv2d("3x3", {1, 28, 26, 64, 3, 64, 1, 1, 1});
  count_conv2d("3x3 with strides", {1, 28, 26, 64, 3, 128, 2, 1, 1});
  count_conv2d("1x1", {2, 28, 26, 128, 1, 64, 1, 0, 1});
  count_conv2d("5x5", {1, 14, 13, 32, 5, 64, 1, 2, 1});
  count_conv2d("groups", {1, 14, 13, 96, 3, 96, 1, 1, 2});
  count_conv2d("depthwise", {1, 28, 26, 64, 3, 64, 1, 1, 64});
  count_pools();
  count_rows();
  count_norms();
  count_elements();
}

}  // namespace
}  // namespace sixloop

int main() {
  std::printf("%s\n", __VERSION__);
  sixloop::set_num_threads(1);
  sixloop::count_all();
}
