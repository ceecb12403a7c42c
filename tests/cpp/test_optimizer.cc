#include "optimizer/optimizer.h"

#include <vector>

#include "guarded.h"
#include "rows.h"

namespace sixloop {
namespace {

using check::check_same_bits;
using check::for_each_row;
using check::Guarded;
using check::values;

// What an update changes: parameters and up to two arrays of state, which must not be negative.
template <class T>
struct State {
  explicit State(int64_t n) : param(values<T>(n, 1)), first(values<T>(n, 3)), second(values<T>(n, 4)), size(n) {
    for (int64_t i = 0; i < n; ++i) second[i] = second[i] * second[i];
  }
  void check_same(const char* name, const State& other) const {
    check_same_bits(name, param.get(), other.param.get(), size);
    check_same_bits(name, first.get(), other.first.get(), size);
    check_same_bits(name, second.get(), other.second.get(), size);
  }
  Guarded<T> param, first, second;
  int64_t size;
};

// Runs update(kernel, state, grad, n) of every row and of the scalar one on the same numbers.
template <class Kind, class Update>
void check_update(const Update& update) {
  for_each_row<Kind>([&](const Kernel& row, auto t) {
    using T = decltype(t);
    for (int64_t n = 0; n <= 70; ++n) {
      const Guarded<T> grad(values<T>(n, 2));
      State<T> actual(n), expected(n);
      update(select<Kind, T>(arch_of(Isa::scalar)), expected, grad.get(), n);
      update(function_of<Kind, T>(row), actual, grad.get(), n);
      actual.check_same(row.name, expected);
    }
  });
}

TEST(sgd) {
  for (bool nesterov : {false, true}) {
    for (bool with_velocity : {false, true}) {
      check_update<Sgd>([&]<class T>(auto kernel, State<T>& s, const T* grad, int64_t n) {
        SgdArgs<T> args{};
        args.param = s.param.get();
        args.grad = grad;
        args.velocity = with_velocity ? s.first.get() : nullptr;
        args.lr = static_cast<T>(0.1);
        args.momentum = static_cast<T>(with_velocity ? 0.9 : 0);
        args.weight_decay = static_cast<T>(0.01);
        args.nesterov = nesterov && with_velocity;
        kernel(args, n);
      });
    }
  }
}

TEST(adam) {
  check_update<Adam>([]<class T>(auto kernel, State<T>& s, const T* grad, int64_t n) {
    AdamArgs<T> args{};
    args.param = s.param.get();
    args.grad = grad;
    args.m = s.first.get();
    args.v = s.second.get();
    args.beta1 = static_cast<T>(0.9);
    args.one_minus_beta1 = static_cast<T>(0.1);
    args.beta2 = static_cast<T>(0.999);
    args.one_minus_beta2 = static_cast<T>(0.001);
    args.epsilon = static_cast<T>(1e-8);
    args.rate = static_cast<T>(0.01);
    args.root = static_cast<T>(1.5);
    args.weight_decay = static_cast<T>(0.01);
    args.shrink = static_cast<T>(0.999);
    kernel(args, n);
  });
}

TEST(rmsprop) {
  check_update<Rmsprop>([]<class T>(auto kernel, State<T>& s, const T* grad, int64_t n) {
    RmspropArgs<T> args{};
    args.param = s.param.get();
    args.grad = grad;
    args.square_avg = s.second.get();
    args.lr = static_cast<T>(0.01);
    args.rho = static_cast<T>(0.99);
    args.one_minus_rho = static_cast<T>(0.01);
    args.epsilon = static_cast<T>(1e-8);
    args.weight_decay = static_cast<T>(0.01);
    kernel(args, n);
  });
}

}  // namespace
}  // namespace sixloop
