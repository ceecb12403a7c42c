// The activation functions by name, as ops and fused epilogues take them.
#pragma once

#include <cstdint>
#include <string>

namespace sixloop {

enum class Activation { none, relu, sigmoid, tanh, leaky_relu, elu, gelu, softplus, step, ramp, gaussian };

// "relu", "sigmoid", ... An unknown name throws std::invalid_argument and lists the valid ones.
Activation parse_activation(const char* op, const std::string& name);

// y[i] = activation(y[i]) for n dense elements.
template <class T>
void apply_activation(T* y, int64_t n, Activation activation);

}  // namespace sixloop
