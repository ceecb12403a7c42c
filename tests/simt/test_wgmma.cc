// Products by wgmma in every tile and layout against float64. Which tile a shape takes is tests/cpp/test_wgmma_plan.cc.
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "check.h"
#include "device_array.h"
#include "gemm/tma_product.h"
#include "gemm/wgmma_matrices.h"

namespace sixloop {
namespace {

using cuda::MmaOperand;

// Of bfloat16, which tf32 has exactly, too, in [-1, 1].
std::vector<float> numbers(int64_t n, unsigned seed) {
  std::vector<float> values;
  uint32_t state = seed;
  for (int64_t i = 0; i < n; ++i) {
    state = state * 1664525u + 1013904223u;
    values.push_back(static_cast<float>(BFloat16(static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1)));
  }
  return values;
}

struct Sizes {
  int64_t m, n, k, batches;
};

// op(a) is [m, k], turned where its neighbours in memory are neighbours along k.
struct Problem {
  Sizes s;
  bool turned_a, turned_b;
  std::vector<float> a, b, bias;
  Array<uint16_t> left, right;
  Array<float> wide_left, wide_right, added;

  Problem(const Sizes& sizes, bool turned_left, bool turned_right)
      : s(sizes),
        turned_a(turned_left),
        turned_b(turned_right),
        a(numbers(s.batches * s.m * s.k, 1)),
        b(numbers(s.batches * s.n * s.k, 2)),
        bias(numbers(s.batches * s.n, 3)),
        left(bf16(a)),
        right(bf16(b)),
        wide_left(a),
        wide_right(b),
        added(bias) {}

  MmaOperand<BFloat16> operand(const Array<uint16_t>& data, bool turned, int64_t x) const {
    return cuda::mma_operand(reinterpret_cast<const BFloat16*>(data.data()), turned, turned ? s.k : x, x, s.k, x * s.k);
  }

  template <class Shape>
  std::vector<float> run(bool relu) const {
    const Array<float> c(std::vector<float>(static_cast<size_t>(s.batches * s.m * s.n), NAN));
    const cuda::MmaResult to{{c.data(), false},     s.n, s.m * s.n, s.batches * s.m * s.n,
                             {added.data(), false}, s.n, relu};
    cuda::ProductSizes g{s.m, s.n, s.k, s.batches};
    const auto sink = cuda::mma_sink(to, cuda::DenseRows{s.n});
    if constexpr (std::is_same_v<typename Shape::T, float>) {
      const Tensor a_rows = cuda::tf32_rows(wide(wide_left, turned_a, s.m), s.k, s.batches);
      const Tensor b_rows = cuda::tf32_rows(wide(wide_right, turned_b, s.n), s.k, s.batches);
      cuda::launch_wgmma_matrices<Shape>(g, cuda::tf32_operand(a_rows), cuda::tf32_operand(b_rows), sink);
      return c.host();
    } else {
      const MmaOperand<BFloat16> a_operand = operand(left, turned_a, s.m), b_operand = operand(right, turned_b, s.n);
      if constexpr (requires { Shape::kConsumers; }) {
        CHECK(cuda::launch_tma_matrices<Shape>(g, a_operand, b_operand, sink));
      } else {
        cuda::launch_wgmma_matrices<Shape>(g, a_operand, b_operand, sink);
      }
      return c.host();
    }
  }
  MmaOperand<float> wide(const Array<float>& data, bool turned, int64_t x) const {
    return cuda::mma_operand(const_cast<const float*>(data.data()), turned, turned ? s.k : x, x, s.k, x * s.k);
  }

  // Results further from the exact ones than they may be: sums are cut off after every `steps` steps, once more with
  // the bias.
  int64_t wrong(const std::vector<float>& got, bool relu, int64_t steps = 16) const {
    int64_t count = 0;
    for (int64_t i = 0; i < static_cast<int64_t>(got.size()); ++i) {
      const int64_t batch = i / (s.m * s.n), row = i / s.n % s.m, column = i % s.n;
      double sum = static_cast<double>(bias[static_cast<size_t>(batch * s.n + column)]), all = std::fabs(sum);
      for (int64_t k = 0; k < s.k; ++k) {
        const int64_t at_a = batch * s.m * s.k + (turned_a ? row * s.k + k : k * s.m + row);
        const int64_t at_b = batch * s.n * s.k + (turned_b ? column * s.k + k : k * s.n + column);
        const double term =
            static_cast<double>(a[static_cast<size_t>(at_a)]) * static_cast<double>(b[static_cast<size_t>(at_b)]);
        sum += term;
        all += std::fabs(term);
      }
      if (relu) sum = std::max(sum, 0.0);
      const double bound = all * static_cast<double>(s.k / steps + 3) * std::ldexp(1.0, -23);
      count += !(std::fabs(static_cast<double>(got[static_cast<size_t>(i)]) - sum) <= bound);
    }
    return count;
  }
};

template <class Shape>
void check_shape() {
  constexpr int64_t kSteps = std::is_same_v<typename Shape::T, float> ? 8 : 16;
  // One block that is not full; several, with tails everywhere; batches. Contiguous lines are multiples of 8 elements.
  for (const Sizes& s : {Sizes{40, 24, 16, 1}, Sizes{136, 264, 136, 1}, Sizes{72, 72, 328, 2}}) {
    for (int layout = 0; layout < 4; ++layout) {
      const Problem p(s, (layout & 1) != 0, (layout & 2) != 0);
      const bool relu = layout == 3;
      const std::vector<float> got = p.run<Shape>(relu);
      CHECK_EQ(p.wrong(got, relu, kSteps), 0);
      if (layout == 0) CHECK(p.run<Shape>(relu) == got);
    }
  }
  // Rows and columns of which there are any number, where k is what is contiguous.
  const Problem odd({67, 131, 72, 1}, true, true);
  std::vector<float> got = odd.run<Shape>(false);
  CHECK_EQ(odd.wrong(got, false, kSteps), 0);
  got[77] += 0.01f;  // the comparison sees it
  CHECK_EQ(odd.wrong(got, false, kSteps), 1);
}

}  // namespace

TEST(tma_128x256) { check_shape<cuda::Tma128x256>(); }
TEST(tma_128x128) { check_shape<cuda::Tma128x128>(); }
TEST(wgmma_128x256) { check_shape<cuda::Wgmma128x256<BFloat16>>(); }
TEST(wgmma_128x128) { check_shape<cuda::Wgmma128x128<BFloat16>>(); }
TEST(wgmma_128x64) { check_shape<cuda::Wgmma128x64<BFloat16>>(); }
TEST(wgmma_64x64) { check_shape<cuda::Wgmma64x64<BFloat16>>(); }
TEST(wgmma_128x256_tf32) { check_shape<cuda::Wgmma128x256<float>>(); }
TEST(wgmma_128x128_tf32) { check_shape<cuda::Wgmma128x128<float>>(); }
TEST(wgmma_128x64_tf32) { check_shape<cuda::Wgmma128x64<float>>(); }
TEST(wgmma_64x64_tf32) { check_shape<cuda::Wgmma64x64<float>>(); }

// The copies that tf32 multiplies: rounded, lines of whole chunks, zeros behind the last one.
TEST(tf32_rows_are_rounded) {
  constexpr int64_t kBatches = 2, kX = 37, kK = 66, kFilled = 68;
  std::vector<float> values;
  for (int64_t i = 0; i < kBatches * kX * kFilled; ++i) {
    values.push_back(std::bit_cast<float>(0x3F800000u + static_cast<uint32_t>(i) * 0x3777u));
  }
  const Array<float> from(values);
  const auto compare = [&](const Tensor& rows, int64_t k, const auto& at) {
    std::vector<float> got(static_cast<size_t>(rows.size()));
    copy_bytes(got.data(), Device::cpu, rows.raw(), Device::cuda, got.size() * sizeof(float));
    int64_t wrong = 0;
    for (int64_t i = 0; i < rows.size(); ++i) {
      const int64_t batch = i / (kX * kFilled), x = i / kFilled % kX, step = i % kFilled;
      // Ties away from zero.
      const auto bits = step < k ? std::bit_cast<uint32_t>(values[static_cast<size_t>(at(batch, x, step))]) : 0;
      wrong += std::bit_cast<uint32_t>(got[static_cast<size_t>(i)]) != ((bits + 0x1000u) & 0xffffe000u);
    }
    CHECK_EQ(wrong, 0);
  };
  const float* const data = from.data();
  compare(cuda::tf32_rows(cuda::mma_operand(data, false, kX, kX, kK, kX * kK), kK, kBatches), kK,
          [](int64_t batch, int64_t x, int64_t k) { return (batch * kK + k) * kX + x; });
  compare(cuda::tf32_rows(cuda::mma_operand(data, true, kFilled, kX, kFilled, kX * kFilled), kFilled, kBatches),
          kFilled, [](int64_t batch, int64_t x, int64_t k) { return (batch * kX + x) * kFilled + k; });
  // One row of taps in reverse, of which there are 17, below each x; the second batch overlaps the first.
  compare(cuda::tf32_rows(cuda::Tf32Taps{data + 64, 8, -4, kFilled, 100, 17, 4}, kX, kFilled, kBatches), kFilled,
          [](int64_t batch, int64_t x, int64_t k) { return 64 + batch * 100 + x * kFilled - k / 4 * 4 + k % 4; });
}

// Blocks take several tiles each, more than the ring has places for.
TEST(blocks_stay) {
  const Problem p({392, 264, 456, 1}, true, false);
  CHECK_EQ(p.wrong(p.run<cuda::Tma128x128>(false), false), 0);
}

TEST(parts_are_added_in_order) {
  const Problem p({64, 64, 1100 / 8 * 8, 1}, true, false);
  const auto run = [&] {
    const Array<float> c(std::vector<float>(64 * 64, NAN));
    cuda::wgmma_matrices({p.s.m, p.s.n, p.s.k}, p.operand(p.left, true, 64), p.operand(p.right, false, 64),
                         {{c.data(), false}, 64, 0, 64 * 64, {p.added.data(), false}, 0, false}, true);
    return c.host();
  };
  const std::vector<float> got = run();
  CHECK(plan_wgmma(64, 64, p.s.k, 1, true, cuda::kWgmmaLimitsHere).parts > 1);
  CHECK_EQ(p.wrong(got, false), 0);
  CHECK(run() == got);
}

}  // namespace sixloop
