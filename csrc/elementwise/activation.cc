#include "elementwise/activation.h"

#include "base/error.h"

namespace sixloop {
namespace {

constexpr const char* kNames[] = {"relu", "sigmoid",  "tanh", "leaky_relu", "elu",
                                  "gelu", "softplus", "step", "ramp",       "gaussian"};

}  // namespace

Activation parse_activation(const char* op, const std::string& name) {
  std::string valid;
  int i = 0;
  for (const char* candidate : kNames) {
    ++i;
    if (name == candidate) return static_cast<Activation>(i);
    valid += (i == 1 ? "" : ", ") + std::string(candidate);
  }
  value_error("[", op, "] unknown activation \"", name, "\"; valid: ", valid);
}

template <class T>
void apply_activation(T*, int64_t, Activation) {
  value_error("[activation] only relu can be fused so far");
}

template void apply_activation(float*, int64_t, Activation);
template void apply_activation(double*, int64_t, Activation);

}  // namespace sixloop
