// The twins of the instructions in cuda/ptx.h against plain definitions, and the faults that they must find.
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/tensor.h"
#include "check.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "device_array.h"

namespace sixloop {
namespace {

namespace ptx = cuda::ptx;

// --- cp.async.

enum class Plant { nothing, no_wait, wait_too_weak, no_barrier, early_refill, no_commit, misaligned, outside, exits };

// y = x with every third piece missing, by way of shared memory in steps of a block's threads, two of them under way.
// A thread reads what another one has copied.
template <int kBytes>
__global__ void copy_through_shared(const char* x, char* y, int steps, Plant plant) {
  char* const shared = cuda::shared_memory<char>();
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const auto issue = [&](int step) {
    const int piece = step * threads + thread;
    const int shift = plant == Plant::misaligned ? 2 : plant == Plant::outside ? 3 * threads * kBytes : 0;
    ptx::cp_async<kBytes>(shared + (step % 2 * threads + thread) * kBytes + shift, x + piece * kBytes, piece % 3 != 2);
    if (plant != Plant::no_commit) ptx::cp_async_commit();
  };
  issue(0);
  if (plant == Plant::exits) return;
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) {
      issue(step + 1);
      if (plant == Plant::wait_too_weak) {
        ptx::cp_async_wait<2>();
      } else if (plant != Plant::no_wait) {
        ptx::cp_async_wait<1>();
      }
    } else if (plant != Plant::no_wait) {
      ptx::cp_async_wait<0>();
    }
    if (plant != Plant::no_barrier) __syncthreads();
    const int other = (thread + 5) % threads;
    for (int i = 0; i < kBytes; ++i) {
      y[(step * threads + other) * kBytes + i] = shared[(step % 2 * threads + other) * kBytes + i];
    }
    if (plant != Plant::early_refill) __syncthreads();
  }
  ptx::cp_async_wait<0>();
}

template <int kBytes>
int wrong_copies(Plant plant) {
  constexpr int kThreads = 64, kSteps = 5;
  std::vector<char> values(kThreads * kSteps * kBytes);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<char>(i % 113 + 1);
  const Array<char> x(values), y(std::vector<char>(values.size()));
  SIXLOOP_LAUNCH(copy_through_shared<kBytes>, 1, kThreads, 2 * kThreads * kBytes, cuda::current_stream(), x.data(),
                 y.data(), kSteps, plant);
  const std::vector<char> got = y.host();
  int wrong = 0;
  for (size_t i = 0; i < values.size(); ++i) wrong += got[i] != (i / kBytes % 3 == 2 ? 0 : values[i]);
  return wrong;
}

// --- ldmatrix.

__global__ void load_matrices(const uint16_t* x, uint32_t* y, bool transposed, int64_t shift) {
  uint16_t* const shared = cuda::shared_memory<uint16_t>();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < 8; ++i) shared[threadIdx.x * 8 + i] = x[threadIdx.x * 8 + i];
  __syncwarp();
  // Rows in another order than memory's: lane l brings row 31 - l.
  const uint16_t* const row = shared + (static_cast<int>(threadIdx.x) - lane + 31 - lane) * 8 + shift;
  uint32_t r[4];
  if (transposed) {
    ptx::ldmatrix_x4_transposed(r, row);
  } else {
    ptx::ldmatrix_x4(r, row);
  }
  for (int i = 0; i < 4; ++i) y[threadIdx.x * 4 + i] = r[i];
}

std::vector<uint32_t> loaded_matrices(bool transposed, int64_t shift) {
  std::vector<uint16_t> values;
  for (int i = 0; i < 64 * 8; ++i) values.push_back(static_cast<uint16_t>(i));
  const Array<uint16_t> x(values);
  const Array<uint32_t> y(std::vector<uint32_t>(64 * 4));
  SIXLOOP_LAUNCH(load_matrices, 1, 64, 64 * 16, cuda::current_stream(), x.data(), y.data(), transposed, shift);
  return y.host();
}

// --- mma.

// d += a b for row-major a [16, 16] and b [16, 8] in shared memory, by the instructions that kernels use.
__global__ void multiply_bf16(const uint16_t* a, const uint16_t* b, float* d, bool half_a_warp) {
  uint16_t* const shared = cuda::shared_memory<uint16_t>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) shared[i] = a[i];
  for (int i = lane; i < 128; i += 32) shared[256 + i] = b[i];
  __syncwarp();
  uint32_t left[4], right[4];
  ptx::ldmatrix_x4(left, shared + lane % 16 * 16 + lane / 16 * 8);
  // The matrices of b are rows 0 to 7 and 8 to 15; the other two are not used.
  ptx::ldmatrix_x4_transposed(right, shared + 256 + lane % 16 * 8);
  const uint32_t two[2] = {right[0], right[1]};
  const int g = lane / 4, t = lane % 4;
  float sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  if (half_a_warp && lane >= 16) return;
  ptx::mma_bf16(sum, left, two);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

// The same for a [16, 8] and b [8, 8] of float32, whose fragments are read element by element.
__global__ void multiply_tf32(const float* a, const float* b, float* d, bool rounded) {
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const auto bits = [&](float x) { return rounded ? ptx::to_tf32(x) : std::bit_cast<uint32_t>(x); };
  uint32_t left[4], right[2];
  for (int i = 0; i < 4; ++i) left[i] = bits(a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) right[i] = bits(b[(t + i * 4) * 8 + g]);
  float sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  ptx::mma_tf32(sum, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sum[i];
}

double product_at(const std::vector<float>& a, const std::vector<float>& b, size_t k, size_t row, size_t column) {
  double sum = 0;
  for (size_t i = 0; i < k; ++i) sum += static_cast<double>(a[row * k + i]) * static_cast<double>(b[i * 8 + column]);
  return sum;
}

}  // namespace

TEST(copies_arrive_when_waited_for) {
  CHECK_EQ(wrong_copies<4>(Plant::nothing), 0);
  CHECK_EQ(wrong_copies<8>(Plant::nothing), 0);
  CHECK_EQ(wrong_copies<16>(Plant::nothing), 0);
  for (const Plant plant : {Plant::no_wait, Plant::wait_too_weak, Plant::no_barrier, Plant::early_refill}) {
    CHECK(wrong_copies<16>(plant) > 0);
  }
}

TEST(wrong_copies_are_errors) {
  CHECK_THROWS(std::logic_error, "has not waited for its cp.async", wrong_copies<8>(Plant::no_commit));
  CHECK_THROWS(std::logic_error, "has not waited for its cp.async", wrong_copies<8>(Plant::exits));
  CHECK_THROWS(std::logic_error, "cp.async at byte", wrong_copies<8>(Plant::misaligned));
  CHECK_THROWS(std::logic_error, "leaves shared memory of 1024", wrong_copies<8>(Plant::outside));
}

TEST(matrices_are_loaded) {
  for (const bool transposed : {false, true}) {
    const std::vector<uint32_t> got = loaded_matrices(transposed, 0);
    for (size_t thread = 0; thread < 64; ++thread) {
      const size_t lane = thread % 32, warp = thread - lane;
      for (size_t m = 0; m < 4; ++m) {
        uint32_t want = 0;
        for (size_t half = 0; half < 2; ++half) {
          const size_t line = lane / 4, along = 2 * (lane % 4) + half;
          const size_t row = transposed ? along : line, column = transposed ? line : along;
          const size_t value = (warp + 31 - (8 * m + row)) * 8 + column;
          want |= static_cast<uint32_t>(value) << 16 * half;
        }
        CHECK_EQ(got[thread * 4 + m], want);
      }
    }
  }
  CHECK_THROWS(std::logic_error, "is not aligned to 16", loaded_matrices(false, 4));
  CHECK_THROWS(std::logic_error, "leaves shared memory of 1024", loaded_matrices(true, 8));
}

TEST(mma_bf16_is_a_product) {
  const std::vector<float> a = integers(256, 1), b = integers(128, 2), c = integers(128, 3);
  const Array<uint16_t> left(bf16(a)), right(bf16(b));
  const Array<float> d(c);
  SIXLOOP_LAUNCH(multiply_bf16, 1, 32, 768, cuda::current_stream(), left.data(), right.data(), d.data(), false);
  const std::vector<float> got = d.host();
  for (size_t i = 0; i < 128; ++i) {
    CHECK_EQ(static_cast<double>(got[i]), product_at(a, b, 16, i / 8, i % 8) + static_cast<double>(c[i]));
  }
  CHECK_THROWS(std::logic_error, "returned", [&] {
    SIXLOOP_LAUNCH(multiply_bf16, 1, 32, 768, cuda::current_stream(), left.data(), right.data(), d.data(), true);
    cuda::synchronize();
  }());
}

TEST(mma_tf32_is_a_product_of_rounded_numbers) {
  std::vector<float> a = integers(128, 4), b = integers(64, 5);
  const std::vector<float> c = integers(128, 6);
  const auto product = [&](bool rounded) {
    const Array<float> left(a), right(b), d(c);
    SIXLOOP_LAUNCH(multiply_tf32, 1, 32, 0, cuda::current_stream(), left.data(), right.data(), d.data(), rounded);
    return d.host();
  };
  const std::vector<float> exact = product(true);
  for (size_t i = 0; i < 128; ++i) {
    CHECK_EQ(static_cast<double>(exact[i]), product_at(a, b, 8, i / 8, i % 8) + static_cast<double>(c[i]));
  }
  // 1 + 3/4 of the last place: up with rounding, down without.
  const float last = std::ldexp(1.f, -10);
  a.assign(128, 0.f);
  for (size_t row = 0; row < 16; ++row) a[row * 8] = 1 + 0.75f * last;
  b.assign(64, 1.f);
  const float up = product(true)[0], down = product(false)[0];
  CHECK_EQ(up, 1 + last + c[0]);
  CHECK_EQ(down, 1 + c[0]);
}

TEST(sums_are_cut_off) {
  // 1 + 0.75 * 2^-23: to nearest it would be the next number.
  std::vector<float> a(128, 0.f), b(64, 0.f);
  a[0] = b[0] = 1;
  a[1] = 0.75f;
  b[8] = std::ldexp(1.f, -23);
  const Array<float> left(a), right(b), d(std::vector<float>(128, 0.f));
  SIXLOOP_LAUNCH(multiply_tf32, 1, 32, 0, cuda::current_stream(), left.data(), right.data(), d.data(), false);
  const float sum = d.host()[0];
  CHECK_EQ(sum, 1.f);
}

TEST(tf32_rounds_to_nearest_and_ties_away_from_zero) {
  const float last = std::ldexp(1.f, -10);
  const auto value = [](float x) { return std::bit_cast<float>(ptx::to_tf32(x)); };
  CHECK_EQ(value(1 + 0.49f * last), 1.f);
  CHECK_EQ(value(1 + 0.5f * last), 1 + last);
  CHECK_EQ(value(-1 - 0.5f * last), -1 - last);
  CHECK_EQ(value(1 + 1.5f * last), 1 + 2 * last);
  CHECK(std::isnan(value(NAN)));
  CHECK(std::isinf(value(INFINITY)));
  CHECK(std::isinf(value(3.4028235e38f)));
}

}  // namespace sixloop
