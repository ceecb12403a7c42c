// Every register-tile kernel that this machine can run, alone on one thread, its operands in the first- or second-level
// cache.
#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <type_traits>

#include "base/error.h"
#include "gemm/microkernel.h"
#include "micro.h"

namespace sixloop::micro {
namespace {

constexpr int64_t kSteps[] = {64, 256, 512};

// Operations a second of an ISA's fused multiply-adds on one core, measured at the first call.
template <class T>
double core_peak(Isa isa) {
  static std::map<Isa, double> peaks;
  double& best = peaks[isa];
  if (best > 0) return best;
  constexpr int kRuns = 50;
  constexpr int64_t kRounds = 20000;
  const auto kernel = select<FmaPeak, T>(arch_of(isa));
  T sink;
  for (int run = 0; run < kRuns; ++run) {
    const auto begin = std::chrono::steady_clock::now();
    const auto operations = static_cast<double>(kernel(kRounds, &sink));
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    best = std::max(best, operations / seconds.count());
  }
  return best;
}

// C = A B, dense, and A's transpose.
template <class T>
struct Product {
  Product(int64_t m_, int64_t n_, int64_t steps_) : m(m_), n(n_), steps(steps_) {
    constexpr DType kDType = DTypeOf<T>::value;
    a = values({m, steps}, kDType, 1);
    b = values({steps, n}, kDType, 2);
    a_transposed = Tensor::empty({steps, m}, kDType);
    c = Tensor::empty({m, n}, kDType);
    for (int64_t i = 0; i < m; ++i) {
      a_rows.push_back(a.data<T>() + i * steps);
      a_columns.push_back(a_transposed.data<T>() + i);
      c_rows.push_back(c.data<T>() + i * n);
      for (int64_t k = 0; k < steps; ++k) a_transposed.data<T>()[k * m + i] = a.data<T>()[i * steps + k];
    }
  }

  int64_t m, n, steps;
  Tensor a, a_transposed, b, c;
  std::vector<const T*> a_rows, a_columns;
  std::vector<T*> c_rows;
};

template <class Kind, class T>
std::unique_ptr<Product<T>> product_for(const Kernel& row, int64_t steps) {
  if constexpr (std::is_same_v<Kind, GemmVector>) {
    return std::make_unique<Product<T>>(4, 64, steps);
  } else {
    // A strip gets several tiles, which share what it holds in registers.
    const int64_t tiles = std::is_same_v<Kind, GemmStrip> ? 4 : 1;
    return std::make_unique<Product<T>>(tiles * row.facts.mr, row.facts.nr, steps);
  }
}

template <class Kind, class T>
auto arguments_for(const Product<T>& p) {
  const T* a = p.a.template data<T>();
  const T* b = p.b.template data<T>();
  T* c = p.c.template data<T>();
  if constexpr (std::is_same_v<Kind, GemmStrip>) {
    GemmStripArgs<T> args{};
    args.rows = p.m;
    args.columns = p.n;
    args.taps = 1;
    args.run = p.steps;
    args.a = a;
    args.a_step = p.steps;
    args.b = b;
    args.ldb = p.n;
    args.b_panel = p.n * p.steps;
    args.c = c;
    args.ldc = p.n;
    return args;
  } else if constexpr (std::is_same_v<Kind, GemmColumns>) {
    return GemmColumnsArgs<T>{1, p.steps, p.a_columns.data(), 0, p.m, b, p.n, p.n, Accumulation::none, p.c_rows.data()};
  } else if constexpr (std::is_same_v<Kind, GemmVector>) {
    return GemmVectorArgs<T>{p.m, p.n, p.steps, a, p.steps, b, p.n, c, p.n};
  } else {
    GemmTile<T> tile{};
    tile.taps = 1;
    tile.kc = p.steps;
    tile.a = p.a_rows.data();
    tile.a_panel = p.a_transposed.template data<T>();
    tile.a_step = p.m;
    tile.b = b;
    tile.ldb = p.n;
    tile.c = p.c_rows.data();
    return tile;
  }
}

template <class Kind, class T>
Work prepare(const std::string& name, const Kernel& row, int64_t steps) {
  const std::shared_ptr<Product<T>> product = product_for<Kind, T>(row, steps);
  const auto run = [product, kernel = function_of<Kind, T>(row), args = arguments_for<Kind>(*product)] {
    kernel(args);
  };
  run();
  check_samples(name, product->c, [&](int64_t i) {
    double sum = 0;
    for (int64_t k = 0; k < steps; ++k) {
      sum += static_cast<double>(product->a.template data<T>()[i / product->n * steps + k]) *
             static_cast<double>(product->b.template data<T>()[k * product->n + i % product->n]);
    }
    return sum;
  });
  return compute_bound(run, 2.0 * static_cast<double>(product->m * product->n * steps), core_peak<T>(row.isa));
}

template <class Kind, class T>
void add_rows() {
  for (const Kernel& row : Kind::kernels()) {
    if (!is_row_of<Kind, T>(row) || !detected_arch().has(row.isa)) continue;
    const std::string name = message("tile/", row.name);
    if constexpr (std::is_same_v<Kind, FmaPeak>) {
      add(name, [&row] {
        constexpr int64_t kRounds = 10000;
        const auto run = [kernel = function_of<FmaPeak, T>(row)] {
          T sink;
          return kernel(kRounds, &sink);
        };
        return compute_bound(run, static_cast<double>(run()), core_peak<T>(row.isa));
      });
    } else {
      for (int64_t steps : kSteps) {
        const std::string sized = message(name, "/", steps);
        add(sized, [sized, &row, steps] { return prepare<Kind, T>(sized, row, steps); });
      }
    }
  }
}

template <class... Kinds>
void add_kinds() {
  ((add_rows<Kinds, float>(), add_rows<Kinds, double>()), ...);
}

}  // namespace

void add_tiles() { add_kinds<FmaPeak, GemmRows, GemmPanel, GemmStrip, GemmColumns, GemmVector>(); }

}  // namespace sixloop::micro
