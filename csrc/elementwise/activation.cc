#include "elementwise/activation.h"

#include "base/error.h"
#include "elementwise/elementwise.h"

namespace sixloop {
namespace {

constexpr const char* kNames[] = {"none", "relu",     "sigmoid", "tanh", "leaky_relu", "elu",
                                  "gelu", "softplus", "step",    "ramp", "gaussian"};
constexpr int kFirst = static_cast<int>(Activation::relu);
constexpr int kLast = static_cast<int>(Activation::gaussian);

}  // namespace

Activation parse_activation(const char* op, const std::string& name) {
  std::string valid;
  for (int i = kFirst; i <= kLast; ++i) {
    if (name == kNames[i]) return static_cast<Activation>(i);
    valid += (i == kFirst ? "" : ", ") + std::string(kNames[i]);
  }
  value_error("[", op, "] unknown activation \"", name, "\"; valid: ", valid);
}

const char* name_of(Activation activation) { return kNames[static_cast<int>(activation)]; }

template <class T>
void apply_activation(T* y, int64_t n, Activation activation) {
  select<Activate, T>()(y, y, n, activation, T(default_alpha(activation)));
}

template void apply_activation(float*, int64_t, Activation);
template void apply_activation(double*, int64_t, Activation);

}  // namespace sixloop
