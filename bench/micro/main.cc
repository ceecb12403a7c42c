// Micro-benchmarks of the kernels, with Google Benchmark.
//
//     bench_kernels [--threads=N] [--shapes=DIR] [--benchmark_filter=REGEX] [its other options: --help]
#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>

#include "base/arch.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "micro.h"

namespace {

// Takes --name=value off the arguments. Empty where it is not among them.
std::string take_option(std::string_view name, int& argc, char** argv) {
  std::string value;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with(name)) {
      value = argument.substr(name.size());
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string threads = take_option("--threads=", argc, argv);
    std::string shapes = take_option("--shapes=", argc, argv);
    if (shapes.empty()) shapes = SIXLOOP_BENCH_SHAPES;
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    if (threads.find_first_not_of("0123456789") != std::string::npos) {
      sixloop::value_error("--threads must be a number; got ", threads);
    }
    if (!threads.empty()) sixloop::set_num_threads(std::stoll(threads));
    benchmark::AddCustomContext("isa", name_of(best_isa(sixloop::current_arch())));
    benchmark::AddCustomContext("threads", std::to_string(sixloop::num_threads()));
    sixloop::micro::add_tiles();
    sixloop::micro::add_layers(shapes);
    sixloop::micro::add_memory_bound();
    benchmark::RunSpecifiedBenchmarks();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_kernels: %s\n", error.what());
    return 1;
  }
}
