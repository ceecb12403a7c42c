// Every op's results as hashes, the same whichever processor, instruction set and number of threads computed them: what
// comparisons with the scalar kernels of the same build cannot see. A new order of arithmetic (CHANGELOG.md, "Bits")
// changes them; the test prints the new ones.
#include <algorithm>
#include <array>
#include <cstdio>
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

namespace sixloop {
namespace {

using check::values;

// FNV-1a over the bytes of all elements. No op here makes a NaN, whose bits processors choose differently.
class Hash {
 public:
  void add(const Tensor& t) { add(t.raw(), t.bytes()); }
  void add(const void* data, int64_t bytes) {
    const unsigned char* p = static_cast<const unsigned char*>(data);
    for (int64_t i = 0; i < bytes; ++i) state_ = (state_ ^ p[i]) * 0x100000001b3;
  }
  uint64_t value() const { return state_; }

 private:
  uint64_t state_ = 0xcbf29ce484222325;
};

// Operands of one type, the same on every machine.
struct Operands {
  DType dtype;

  Tensor operator()(const Shape& shape, uint64_t seed) const {
    const Tensor t = Tensor::empty(shape, dtype);
    dispatch_floating(dtype, [&](auto zero) {
      using T = decltype(zero);
      const std::vector<T> v = values<T>(t.size(), seed);
      std::copy(v.begin(), v.end(), t.data<T>());
    });
    return t;
  }
  Tensor positive(const Shape& shape, uint64_t seed) const {
    const Tensor t = (*this)(shape, seed);
    dispatch_floating(dtype, [&](auto zero) {
      using T = decltype(zero);
      for (int64_t i = 0; i < t.size(); ++i) t.data<T>()[i] = t.data<T>()[i] * t.data<T>()[i] + T{0.125};
    });
    return t;
  }
  // From the largest results of exp to subnormal ones.
  Tensor wide(const Shape& shape, uint64_t seed) const {
    return scale((*this)(shape, seed), dtype == DType::float64 ? 372.5 : 51.75);
  }
};

Window window_of(int64_t k, int64_t stride, int64_t dilation, int64_t before, int64_t after) {
  Window w;
  w.kh = w.kw = k;
  w.stride_h = w.stride_w = stride;
  w.dilation_h = w.dilation_w = dilation;
  w.pad_top = w.pad_left = before;
  w.pad_bottom = w.pad_right = after;
  return w;
}

// Forward with bias and activation, and both gradients.
void convolve(const Operands& make, Hash& hash, const Shape& x_shape, const Shape& w_shape, const Window& window,
              int64_t groups, Conv2dAlgorithm algorithm, Activation activation) {
  const Conv2dParams p = conv2d_params("conv2d", x_shape, w_shape, window, groups);
  const Tensor x = make(x_shape, 1), w = make(w_shape, 2), dy = make({p.n, p.oh, p.ow, p.o}, 3);
  hash.add(conv2d(x, w, make({p.o}, 4), window, groups, activation, algorithm));
  hash.add(conv2d_grad_input(dy, w, x_shape, window, groups, algorithm));
  hash.add(conv2d_grad_weight(x, dy, w_shape, window, groups, algorithm));
}

struct Case {
  const char* name;
  uint64_t f32, f64;
  void (*run)(const Operands& make, Hash& hash);
};

constexpr PhiloxKey kKey{0x0123456789abcdef, 3, 7};

const Case kCases[] = {
    {"gemm", 0x2eb9ea863fdd7afe, 0xa3da5e401fe41d3d,
     [](const Operands& make, Hash& hash) {
       // More steps than a block, tiles and strips; edges of every tile.
       for (const auto& [m, n, k] : {std::array<int64_t, 3>{53, 71, 1100}, {400, 37, 50}, {7, 130, 19}}) {
         for (bool transpose_a : {false, true}) {
           for (bool transpose_b : {false, true}) {
             hash.add(gemm(make(transpose_a ? Shape{k, m} : Shape{m, k}, 1),
                           make(transpose_b ? Shape{n, k} : Shape{k, n}, 2), make({n}, 3), transpose_a, transpose_b,
                           Activation::relu));
           }
         }
       }
     }},
    {"conv2d direct", 0xda4c8cd27b86a5cb, 0xf82b3c7b35afa6d9,
     [](const Operands& make, Hash& hash) {
       convolve(make, hash, {2, 13, 11, 20}, {3, 3, 20, 33}, window_of(3, 2, 1, 1, 0), 1, Conv2dAlgorithm::direct,
                Activation::tanh);
       convolve(make, hash, {1, 9, 10, 24}, {3, 3, 12, 18}, window_of(3, 1, 2, 2, 2), 2, Conv2dAlgorithm::direct,
                Activation::none);
       convolve(make, hash, {2, 12, 12, 32}, {1, 1, 32, 48}, window_of(1, 1, 1, 0, 0), 1, Conv2dAlgorithm::direct,
                Activation::relu);
     }},
    {"conv2d with few channels", 0xa48c368d8c62ecd3, 0xf399e4adacb379db,
     [](const Operands& make, Hash& hash) {
       convolve(make, hash, {2, 33, 35, 3}, {5, 5, 3, 32}, window_of(5, 1, 1, 2, 2), 1, Conv2dAlgorithm::direct,
                Activation::relu);
       convolve(make, hash, {1, 41, 37, 3}, {7, 7, 3, 20}, window_of(7, 2, 1, 3, 2), 1, Conv2dAlgorithm::direct,
                Activation::sigmoid);
     }},
    {"conv2d of planes", 0x7b01872cc4626d35, 0xc4f2d2aa4b6e4b25,
     [](const Operands& make, Hash& hash) {
       convolve(make, hash, {3, 28, 28, 1}, {5, 5, 1, 6}, window_of(5, 1, 1, 2, 2), 1, Conv2dAlgorithm::direct,
                Activation::tanh);
       convolve(make, hash, {2, 17, 19, 4}, {3, 3, 4, 3}, window_of(3, 1, 1, 1, 1), 1, Conv2dAlgorithm::direct,
                Activation::relu);
     }},
    {"conv2d depthwise", 0xe08ae4b7f25b25d2, 0x443ffafc60944118,
     [](const Operands& make, Hash& hash) {
       convolve(make, hash, {2, 15, 14, 37}, {3, 3, 1, 37}, window_of(3, 1, 1, 1, 1), 37, Conv2dAlgorithm::direct,
                Activation::relu);
       convolve(make, hash, {1, 16, 17, 16}, {5, 5, 1, 16}, window_of(5, 2, 1, 2, 2), 16, Conv2dAlgorithm::direct,
                Activation::none);
     }},
    {"conv2d im2col", 0x8dd2574d07cdfaac, 0xe716651691b6a9d3,
     [](const Operands& make, Hash& hash) {
       convolve(make, hash, {2, 11, 13, 9}, {3, 3, 9, 21}, window_of(3, 2, 1, 1, 2), 1, Conv2dAlgorithm::im2col,
                Activation::gelu);
     }},
    {"conv2d winograd2x2", 0x86d754d175d4badd, 0xf7c0e730efe30ed6,
     [](const Operands& make, Hash& hash) {
       convolve(make, hash, {2, 15, 14, 19}, {3, 3, 19, 22}, window_of(3, 1, 1, 1, 1), 1, Conv2dAlgorithm::winograd2x2,
                Activation::relu);
     }},
    {"conv2d winograd4x4", 0x4efc29b5d4fae708, 0x699b1b03d431be47,
     [](const Operands& make, Hash& hash) {
       convolve(make, hash, {2, 15, 18, 21}, {3, 3, 21, 18}, window_of(3, 1, 1, 1, 1), 1, Conv2dAlgorithm::winograd4x4,
                Activation::softplus);
     }},
    {"conv2d winograd2x2 of 5x5", 0x63d175e02e53ac38, 0xa52c35ee94389f25,
     [](const Operands& make, Hash& hash) {
       convolve(make, hash, {2, 15, 14, 19}, {5, 5, 19, 22}, window_of(5, 1, 1, 2, 1), 1, Conv2dAlgorithm::winograd2x2,
                Activation::relu);
     }},
    {"pool2d", 0x6a6d610494e99b4f, 0x5d5e797d1b53929c,
     [](const Operands& make, Hash& hash) {
       for (int64_t channels : {1, 6, 35}) {
         for (const Window& window : {window_of(2, 2, 1, 0, 0), window_of(3, 2, 1, 1, 1), window_of(3, 1, 1, 1, 0)}) {
           const Tensor x = make({2, 13, 15, channels}, 1);
           const Tensor dy = make(pool2d_output_shape("pool", x.shape(), window), 2);
           hash.add(max_pool2d(x, window));
           hash.add(max_pool2d_grad(dy, x, window));
           hash.add(max_pool2d_indices(x, window).second);
           hash.add(avg_pool2d(x, window));
           hash.add(avg_pool2d_grad(dy, x.shape(), window));
         }
       }
       hash.add(global_avg_pool2d(make({3, 7, 5, 37}, 3)));
       hash.add(global_avg_pool2d_grad(make({3, 37}, 4), {3, 7, 5, 37}));
     }},
    {"softmax", 0x2c96a97ed620bb98, 0x6a6adcec966f887b,
     [](const Operands& make, Hash& hash) {
       for (int64_t axis : {1, 2}) {
         const Tensor x = make.wide({5, 37, 70}, 1), dy = make(x.shape(), 2);
         const Tensor y = softmax(x, axis), log_y = log_softmax(x, axis);
         for (const Tensor& t : {y, log_y, softmax_grad(dy, y, axis), log_softmax_grad(dy, log_y, axis)}) hash.add(t);
       }
       const Tensor labels = Tensor::empty({40}, DType::int64);
       for (int64_t i = 0; i < labels.size(); ++i) labels.data<int64_t>()[i] = i * 7 % 23;
       const CrossEntropy loss = cross_entropy(make({40, 23}, 3), labels);
       hash.add(&loss.loss, sizeof loss.loss);
       hash.add(loss.dlogits);
     }},
    {"norm", 0x1bf5001f76fdd9c7, 0x0ad5f9f758b0c8a1,
     [](const Operands& make, Hash& hash) {
       for (int64_t channels : {3, 37}) {
         const Tensor x = make({7, 9, 11, channels}, 1), dy = make(x.shape(), 2), gamma = make({channels}, 3);
         const BatchNorm norm = batch_norm(x, gamma, make({channels}, 4), {}, {}, 1e-5, Activation::relu);
         for (const Tensor& t : {norm.y, norm.mean, norm.variance}) hash.add(t);
         for (bool training : {false, true}) {
           for (const std::optional<Tensor>& affine : {std::optional<Tensor>(), std::optional<Tensor>(norm.affine)}) {
             const BatchNormGrad grad = batch_norm_grad(dy, x, gamma, norm.mean, norm.variance, 1e-5, training, affine);
             for (const Tensor& t : {grad.dx, grad.dgamma, grad.dbeta}) hash.add(t);
           }
         }
         hash.add(local_response_norm(x, 5, 1e-2, 0.75, 2));
         hash.add(local_response_norm_grad(dy, x, 5, 1e-2, 0.75, 2));
       }
     }},
    {"norm with a residual", 0xb4e7f5d7a288709a, 0x9a143846b6d75656,
     [](const Operands& make, Hash& hash) {
       for (int64_t channels : {3, 37}) {
         const Tensor x = make({7, 9, 11, channels}, 1), dy = make(x.shape(), 2), gamma = make({channels}, 3);
         const BatchNorm norm =
             batch_norm(x, gamma, make({channels}, 4), {}, {}, 1e-5, Activation::relu, make(x.shape(), 5));
         hash.add(norm.y);
         const BatchNormGrad grad = batch_norm_grad(dy, x, gamma, norm.mean, norm.variance, 1e-5, true, {}, norm.y);
         for (const Tensor& t : {grad.dx, grad.dgamma, grad.dbeta, *grad.dresidual}) hash.add(t);
       }
     }},
    {"elementwise", 0x544749af11679717, 0x01bbde0fa5050216,
     [](const Operands& make, Hash& hash) {
       const Tensor a = make({331, 37}, 1), b = make({331, 37}, 2);
       hash.add(add(a, b, Activation::relu));
       hash.add(bias_add(a, make({37}, 3), Activation::none));
       hash.add(bias_grad(a));
       hash.add(bias_grad(make({1000, 3}, 4)));
       hash.add(scale(a, 0.3));
     }},
    {"activations", 0xe2938f2aabef8cae, 0x9f1a5fe4a51182c4,
     [](const Operands& make, Hash& hash) {
       const Tensor dy = make({4001}, 1), near = make({4001}, 2), far = make.wide({4001}, 3);
       for (Activation activation :
            {Activation::relu, Activation::sigmoid, Activation::tanh, Activation::leaky_relu, Activation::elu,
             Activation::gelu, Activation::softplus, Activation::step, Activation::ramp, Activation::gaussian}) {
         for (const Tensor& x : {near, far}) {
           hash.add(activate("activate", x, activation, 0.25));
           hash.add(activate_grad("activate", dy, x, activation, 0.25));
         }
       }
     }},
    {"optimizers", 0x1532c3c2f227d55f, 0x48ef6d03c28fcce2,
     [](const Operands& make, Hash& hash) {
       const Tensor param = make({1001}, 1), first = make({1001}, 2), second = make.positive({1001}, 3);
       for (int64_t step = 1; step <= 3; ++step) {
         const Tensor grad = make({1001}, static_cast<uint64_t>(10 + step));
         sgd_update({param}, {grad}, Tensors{first}, 0.1, 0.9, step == 2, 1e-2);
         adam_update({param}, {grad}, {first}, {second}, step, 1e-2, 0.9, 0.999, 1e-8, 1e-2, step == 2);
         rmsprop_update({param}, {grad}, {second}, 1e-2, 0.99, 1e-8, 1e-3);
       }
       for (const Tensor& t : {param, first, second}) hash.add(t);
     }},
    {"random", 0xfd1a23a283cef6b4, 0x566e354f8ba8268a,
     [](const Operands& make, Hash& hash) {
       std::vector<int64_t> bits(1001);
       random_bits(kKey, static_cast<int64_t>(bits.size()), bits.data());
       hash.add(bits.data(), static_cast<int64_t>(bits.size() * sizeof bits[0]));
       hash.add(random_uniform({20001}, -1, 3, kKey, make.dtype));
       hash.add(random_normal({20001}, 0.5, 2, kKey, make.dtype));
       hash.add(dropout("dropout", make({20001}, 1), 0.3, kKey));
     }},
};

void check_hashes() {
  for (const Case& c : kCases) {
    uint64_t got[2];
    for (DType dtype : {DType::float32, DType::float64}) {
      Hash hash;
      c.run({dtype}, hash);
      got[dtype == DType::float64] = hash.value();
    }
    if (got[0] == c.f32 && got[1] == c.f64) continue;
    char text[80];
    std::snprintf(text, sizeof text, "got {0x%016llx, 0x%016llx}", static_cast<unsigned long long>(got[0]),
                  static_cast<unsigned long long>(got[1]));
    check::fail(c.name, 0, std::string(text) + " with " + name_of(best_isa(current_arch())));
  }
}

TEST(results_have_the_bits_of_every_other_processor) {
  const int before = num_threads();
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (int threads : {1, 3}) {
      set_num_threads(threads);
      check_hashes();
    }
  }
  set_num_threads(before);
  set_isa("");
}

}  // namespace
}  // namespace sixloop
