// Every register-tile kernel alone, its operands in the first- or second-level cache, beside the FMA peak.
//
//     cmake --preset bench && cmake --build --preset bench && ./build/bench/bench/bench_kernels
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "gemm/microkernel.h"

namespace sixloop {
namespace {

constexpr int kRuns = 200;
constexpr int kCallsPerRun = 20;

template <class F>
double best_seconds(F&& call) {
  double best = 1e30;
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kCallsPerRun; ++i) call();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::min(best, seconds.count() / kCallsPerRun);
  }
  return best;
}

// Operations a second of the ISA's fused multiply-adds on one core.
template <class T>
double peak(Isa isa) {
  const auto kernel = select<FmaPeak, T>(arch_of(isa));
  constexpr int64_t kRounds = 10000;
  int64_t operations = 0;
  T sink;
  const double seconds = best_seconds([&] { operations = kernel(kRounds, &sink); });
  return static_cast<double>(operations) / seconds;
}

template <class Kind, class T>
void measure(const Kernel& row, int64_t steps) {
  const int64_t mr = row.facts.mr;
  const int64_t nr = row.facts.nr;
  const std::vector<T> a(static_cast<size_t>(mr * steps), T{1});
  const std::vector<T> b(static_cast<size_t>(steps * nr), T{1});
  std::vector<T> c(static_cast<size_t>(mr * nr));
  std::vector<const T*> rows;
  std::vector<T*> outs;
  for (int64_t i = 0; i < mr; ++i) {
    rows.push_back(a.data() + i * steps);
    outs.push_back(c.data() + i * nr);
  }
  GemmTile<T> tile{};
  tile.taps = 1;
  tile.kc = steps;
  tile.a = rows.data();
  tile.a_panel = a.data();
  tile.b = b.data();
  tile.ldb = nr;
  tile.c = outs.data();
  const auto kernel = function_of<Kind, T>(row);
  kernel(tile);
  for (const T value : c) {
    if (value != static_cast<T>(steps)) throw std::runtime_error(std::string(row.name) + " is wrong");
  }
  const double rate = 2.0 * static_cast<double>(mr * nr * steps) / best_seconds([&] { kernel(tile); });
  std::printf("%-32s K = %4ld  %7.1f GFLOP/s  %5.1f%% of peak\n", row.name, static_cast<long>(steps), rate / 1e9,
              100 * rate / peak<T>(row.isa));
}

template <class Kind>
void measure_all() {
  for (const Kernel& row : Kind::kernels()) {
    if (!detected_arch().has(row.isa)) continue;
    for (int64_t steps : {64, 256, 512}) {
      if (is_row_of<Kind, float>(row)) measure<Kind, float>(row, steps);
      if (is_row_of<Kind, double>(row)) measure<Kind, double>(row, steps);
    }
  }
}

}  // namespace
}  // namespace sixloop

int main() {
  sixloop::measure_all<sixloop::GemmRows>();
  sixloop::measure_all<sixloop::GemmPanel>();
}
