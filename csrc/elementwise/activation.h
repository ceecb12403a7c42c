// The activation functions by name, as ops and fused epilogues take them.
#pragma once

#include <cstdint>
#include <string>

namespace sixloop {

enum class Activation { none, relu, sigmoid, tanh, leaky_relu, elu, gelu, softplus, step, ramp, gaussian };

// "relu", "sigmoid", ... An unknown name throws std::invalid_argument and lists the valid ones.
Activation parse_activation(const char* op, const std::string& name);

const char* name_of(Activation activation);

// The slope of leaky_relu or the scale of elu below zero where nothing else is asked for; 0 for the others.
constexpr double default_alpha(Activation activation) {
  return activation == Activation::leaky_relu ? 0.01 : activation == Activation::elu ? 1.0 : 0.0;
}

// y[i] = activation(y[i]) for n dense elements, on the calling thread.
template <class T>
void apply_activation(T* y, int64_t n, Activation activation);

}  // namespace sixloop
