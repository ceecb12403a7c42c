// What the micro-benchmarks share: operands, verification, and a rate beside what the machine allows.
#pragma once

#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/tensor.h"

namespace sixloop::micro {

// One benchmark with its operands, verified.
struct Work {
  std::function<void()> run;
  double amount;      // floating-point operations or bytes of a run
  double limit;       // of them a second, measured in this process
  const char* rate;   // "GFLOP/s" or "GB/s"
  const char* share;  // of the limit
};

// `limit`: the peak of the fused multiply-adds on the threads that run.
Work compute_bound(std::function<void()> run, double operations, double limit);
// The limit is the bandwidth of a copy of as many bytes.
Work memory_bound(std::function<void()> run, int64_t bytes);

// Registers a benchmark. `prepare` is called when it is about to run, and throws where a result is wrong. Only the
// operands of the last benchmark that ran are kept.
void add(const std::string& name, std::function<Work()> prepare);

// Numbers in [-1, 1), the same in every run; another stream for each seed.
Tensor values(const Shape& shape, DType dtype, uint64_t seed);

// measure_fma_peak() of float32, measured at the first call.
double fma_peak();

// Throws unless some elements of `got`, the first and the last one among them, are `expected` of their index within
// 1e-4 of the largest element.
void check_samples(const std::string& name, const Tensor& got, const std::function<double(int64_t)>& expected);
// Throws unless the arrays are the same, bit for bit.
void check_same(const std::string& name, const std::vector<Tensor>& got, const std::vector<Tensor>& expected);

// "8x56x56x64"
std::string joined(std::initializer_list<int64_t> sizes);

void add_tiles();
// Convolutions and matrix products of the lists in a directory.
void add_layers(const std::string& directory);
void add_memory_bound();

}  // namespace sixloop::micro
