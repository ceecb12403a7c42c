#include "micro.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "elementwise/movement.h"
#include "gemm/microkernel.h"

namespace sixloop::micro {
namespace {

struct Prepared {
  std::string name;
  Work work;
};

void measure(benchmark::State& state, const Work& work) {
  // The library's own rates count the calling thread's processor time, or put a suffix on every name.
  const auto begin = std::chrono::steady_clock::now();
  for (auto _ : state) work.run();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  const double rate = work.amount * static_cast<double>(state.iterations()) / seconds.count();
  state.counters[work.rate] = rate / 1e9;
  state.counters[work.share] = 100 * rate / work.limit;
}

}  // namespace

Work compute_bound(std::function<void()> run, double operations, double limit) {
  return {std::move(run), operations, limit, "GFLOP/s", "%peak"};
}

Work memory_bound(std::function<void()> run, int64_t bytes) {
  return {std::move(run), static_cast<double>(bytes), measure_copy_bandwidth(bytes), "GB/s", "%copy"};
}

void add(const std::string& name, std::function<Work()> prepare) {
  // The library calls a benchmark several times to find its number of iterations.
  static std::unique_ptr<Prepared> last;
  benchmark::RegisterBenchmark(name.c_str(), [name, prepare = std::move(prepare)](benchmark::State& state) {
    if (last == nullptr || last->name != name) {
      last.reset();
      last = std::make_unique<Prepared>(Prepared{name, prepare()});
      last->work.run();
    }
    measure(state, last->work);
  })->Unit(benchmark::kMicrosecond);
}

Tensor values(const Shape& shape, DType dtype, uint64_t seed) {
  Tensor result = Tensor::empty(shape, dtype);
  dispatch_floating(dtype, [&](auto t) {
    using T = decltype(t);
    // Knuth's linear congruence: only its upper bits are random.
    uint64_t bits = seed * 0x9E3779B97F4A7C15u + 1;
    T* data = result.data<T>();
    for (int64_t i = 0; i < result.size(); ++i) {
      bits = bits * 6364136223846793005u + 1442695040888963407u;
      data[i] = static_cast<T>(static_cast<int64_t>(bits >> 40) - (int64_t{1} << 23)) / static_cast<T>(1 << 23);
    }
  });
  return result;
}

double fma_peak() {
  static const double peak = measure_fma_peak(DType::float32);
  return peak;
}

void check_samples(const std::string& name, const Tensor& got, const std::function<double(int64_t)>& expected) {
  constexpr int64_t kSamples = 24;
  constexpr double kTolerance = 1e-4;
  dispatch_floating(got.dtype(), [&](auto t) {
    const auto* data = got.data<decltype(t)>();
    double largest = 0;
    for (int64_t i = 0; i < got.size(); ++i) largest = std::max(largest, std::abs(static_cast<double>(data[i])));
    for (int64_t sample = 0; sample < kSamples; ++sample) {
      const int64_t i = sample * (got.size() - 1) / (kSamples - 1);
      const double value = static_cast<double>(data[i]);
      const double wanted = expected(i);
      // Also false for a NaN.
      if (std::abs(value - wanted) <= kTolerance * largest) continue;
      throw std::runtime_error(message(name, " is wrong: element ", i, " is ", value, ", expected ", wanted));
    }
  });
}

void check_same(const std::string& name, const std::vector<Tensor>& got, const std::vector<Tensor>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (got[i].shape() == expected[i].shape() &&
        std::memcmp(got[i].raw(), expected[i].raw(), static_cast<size_t>(expected[i].bytes())) == 0) {
      continue;
    }
    throw std::runtime_error(message(name, " is wrong: result ", i, " differs from the scalar kernels'"));
  }
}

std::string joined(std::initializer_list<int64_t> sizes) {
  std::string text;
  for (int64_t size : sizes) {
    if (!text.empty()) text += 'x';
    text += std::to_string(size);
  }
  return text;
}

}  // namespace sixloop::micro
