// Kernels that wait for memory, beside a copy of as many bytes. The bytes are those of the arrays that must be read or
// written once.
#include <utility>

#include "base/error.h"
#include "elementwise/elementwise.h"
#include "micro.h"
#include "norm/norm.h"
#include "pool2d/pool2d.h"
#include "softmax/softmax.h"

namespace sixloop::micro {
namespace {

constexpr int64_t kFloat = sizeof(float);
constexpr double kEpsilon = 1e-5;

using Compute = std::function<std::vector<Tensor>()>;

// All instruction sets give the same bits, so the scalar kernels say what is right.
Work verified(const std::string& name, const Compute& compute, int64_t bytes) {
  const std::string isa = name_of(best_isa(current_arch()));
  set_isa("scalar");
  const std::vector<Tensor> expected = compute();
  set_isa(isa);
  check_same(name, compute(), expected);
  return memory_bound(compute, bytes);
}

// `make` allocates the operands when the benchmark is about to run.
void add_verified(const std::string& name, int64_t bytes, std::function<Compute()> make) {
  add(name, [=] { return verified(name, make(), bytes); });
}

void add_pools(int64_t n, int64_t h, int64_t w, int64_t c, int64_t side, int64_t stride) {
  const Shape x_shape{n, h, w, c};
  Window window;
  window.kh = window.kw = side;
  window.stride_h = window.stride_w = stride;
  const Shape y_shape = pool2d_output_shape("pool2d", x_shape, window);
  const std::string shape = message(joined({n, h, w, c}), "/", joined({side, side}), "/", stride);
  const int64_t bytes = kFloat * (x_shape.size() + y_shape.size());
  // Training keeps a byte for the number of each maximum.
  const int64_t max_bytes = bytes + y_shape.size();
  add_verified("max_pool2d/forward/" + shape, max_bytes, [=]() -> Compute {
    return [=, x = values(x_shape, DType::float32, 1)]() -> std::vector<Tensor> {
      auto [y, indices] = max_pool2d_indices(x, window);
      return {y, indices};
    };
  });
  add_verified("max_pool2d/backward/" + shape, max_bytes, [=]() -> Compute {
    const Tensor indices = max_pool2d_indices(values(x_shape, DType::float32, 1), window).second;
    return [=, dy = values(y_shape, DType::float32, 2)]() -> std::vector<Tensor> {
      return {max_pool2d_grad(dy, x_shape, indices, window)};
    };
  });
  add_verified("avg_pool2d/forward/" + shape, bytes, [=]() -> Compute {
    return [=, x = values(x_shape, DType::float32, 1)]() -> std::vector<Tensor> { return {avg_pool2d(x, window)}; };
  });
  add_verified("avg_pool2d/backward/" + shape, bytes, [=]() -> Compute {
    return [=, dy = values(y_shape, DType::float32, 2)]() -> std::vector<Tensor> {
      return {avg_pool2d_grad(dy, x_shape, window)};
    };
  });
}

// With the ReLU that follows in networks.
void add_batch_norm(int64_t n, int64_t h, int64_t w, int64_t c) {
  struct Operands {
    Tensor x, dy, gamma, beta, mean, variance;
  };
  const Shape shape{n, h, w, c};
  const auto operands = [=] {
    Operands result{values(shape, DType::float32, 1), values(shape, DType::float32, 2), values({c}, DType::float32, 3),
                    values({c}, DType::float32, 4),   values({c}, DType::float32, 5),   values({c}, DType::float32, 6)};
    for (int64_t i = 0; i < c; ++i) result.variance.data<float>()[i] += 2;
    return result;
  };
  const std::string suffix = joined({n, h, w, c});
  const int64_t array = kFloat * shape.size();
  add_verified("batch_norm/training/" + suffix, 2 * array, [=]() -> Compute {
    return [t = operands()]() -> std::vector<Tensor> {
      const BatchNorm r = batch_norm(t.x, t.gamma, t.beta, std::nullopt, std::nullopt, kEpsilon, Activation::relu);
      return {r.y, r.mean, r.variance};
    };
  });
  add_verified("batch_norm/inference/" + suffix, 2 * array, [=]() -> Compute {
    return [t = operands()]() -> std::vector<Tensor> {
      return {batch_norm(t.x, t.gamma, t.beta, t.mean, t.variance, kEpsilon, Activation::relu).y};
    };
  });
  add_verified("batch_norm/backward/" + suffix, 3 * array, [=]() -> Compute {
    const Operands t = operands();
    const BatchNorm forward = batch_norm(t.x, t.gamma, t.beta, std::nullopt, std::nullopt, kEpsilon, Activation::relu);
    return [t, mean = forward.mean, variance = forward.variance, affine = forward.affine]() -> std::vector<Tensor> {
      const BatchNormGrad r = batch_norm_grad(t.dy, t.x, t.gamma, mean, variance, kEpsilon, true, affine);
      return {r.dx, r.dgamma, r.dbeta};
    };
  });
  // With the residual that is added before it; dy serves as one.
  add_verified("batch_norm_residual/training/" + suffix, 3 * array, [=]() -> Compute {
    return [t = operands()]() -> std::vector<Tensor> {
      return {batch_norm(t.x, t.gamma, t.beta, std::nullopt, std::nullopt, kEpsilon, Activation::relu, t.dy).y};
    };
  });
  add_verified("batch_norm_residual/inference/" + suffix, 3 * array, [=]() -> Compute {
    return [t = operands()]() -> std::vector<Tensor> {
      return {batch_norm(t.x, t.gamma, t.beta, t.mean, t.variance, kEpsilon, Activation::relu, t.dy).y};
    };
  });
  add_verified("batch_norm_residual/backward/" + suffix, 5 * array, [=]() -> Compute {
    const Operands t = operands();
    const BatchNorm forward =
        batch_norm(t.x, t.gamma, t.beta, std::nullopt, std::nullopt, kEpsilon, Activation::relu, t.dy);
    return [t, y = forward.y, mean = forward.mean, variance = forward.variance]() -> std::vector<Tensor> {
      const BatchNormGrad r = batch_norm_grad(t.dy, t.x, t.gamma, mean, variance, kEpsilon, true, std::nullopt, y);
      return {r.dx, r.dgamma, r.dbeta, *r.dresidual};
    };
  });
  add_verified("relu/forward/" + suffix, 2 * array, [=]() -> Compute {
    return [t = operands()]() -> std::vector<Tensor> { return {activate("relu", t.x, Activation::relu, 0)}; };
  });
  add_verified("relu/backward/" + suffix, 3 * array, [=]() -> Compute {
    return
        [t = operands()]() -> std::vector<Tensor> { return {activate_grad("relu", t.dy, t.x, Activation::relu, 0)}; };
  });
}

void add_softmax(int64_t rows, int64_t classes) {
  const Shape shape{rows, classes};
  const std::string suffix = joined({rows, classes});
  const int64_t bytes = 2 * kFloat * shape.size();
  add_verified("softmax/" + suffix, bytes, [=]() -> Compute {
    return [x = values(shape, DType::float32, 1)]() -> std::vector<Tensor> { return {softmax(x, 1)}; };
  });
  add_verified("cross_entropy/" + suffix, bytes, [=]() -> Compute {
    const Tensor labels = Tensor::empty({rows}, DType::int32);
    for (int64_t i = 0; i < rows; ++i) labels.data<int32_t>()[i] = static_cast<int32_t>(i * 7919 % classes);
    return [labels, x = values(shape, DType::float32, 1)]() -> std::vector<Tensor> {
      return {cross_entropy(x, labels).dlogits};
    };
  });
}

}  // namespace

// The shapes that `sixloop bench` times.
void add_memory_bound() {
  add_pools(16, 112, 112, 64, 3, 2);
  add_pools(16, 112, 112, 64, 2, 2);
  add_pools(8, 55, 55, 96, 3, 2);
  add_pools(16, 28, 28, 128, 2, 2);
  add_batch_norm(16, 56, 56, 64);
  add_batch_norm(16, 112, 112, 64);
  add_batch_norm(8, 14, 14, 256);
  add_softmax(4096, 10);
  add_softmax(256, 1000);
  add_softmax(64, 50000);
}

}  // namespace sixloop::micro
