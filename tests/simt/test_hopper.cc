// The twins of Hopper's instructions in cuda/ptx.h against plain definitions, and the faults that they must find.
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/tensor.h"
#include "check.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"
#include "device_array.h"
#include "tensor_maps.h"

namespace sixloop {
namespace {

namespace ptx = cuda::ptx;

// A multiple of 1024 bytes within shared memory, as kernels find it.
char* aligned_shared() {
  char* const shared = cuda::shared_memory<char>();
  return shared + (0u - ptx::shared_address(shared)) % 1024;
}
constexpr size_t kSlack = 1024;

// --- Tiles.

enum class Plant {
  nothing,
  no_init,
  no_init_fence,
  wrong_bytes,
  no_wait,
  misaligned,
  outside,
  // of wgmma
  no_fence,
  read_early,
  change_early,
  no_proxy_fence,
  one_warp_less,
  half_warp,
};

template <int kRank>
struct Corner {
  int at[kRank];
};

// y = a box of `elements`, in the order of shared memory.
template <int kRank>
__global__ void load_tile(const __grid_constant__ CUtensorMap map, Corner<kRank> corner, uint16_t* y, int elements,
                          Plant plant) {
  char* const shared = aligned_shared();
  auto* const barrier = reinterpret_cast<uint64_t*>(shared);
  auto* const tile = reinterpret_cast<uint16_t*>(shared + 1024);
  if (threadIdx.x == 0 && plant != Plant::no_init) {
    ptx::mbarrier_init(barrier, 1);
    if (plant != Plant::no_init_fence) ptx::mbarrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::mbarrier_arrive_expect_tx(barrier,
                                   static_cast<uint32_t>(elements) * 2 + (plant == Plant::wrong_bytes ? 2 : 0));
    const int shift = plant == Plant::misaligned ? 256 : plant == Plant::outside ? 64 * 1024 : 0;
    ptx::tma_load<kRank>(tile + shift, &map, barrier, corner.at);
  }
  if (plant != Plant::no_wait) ptx::mbarrier_wait(barrier, 0);
  for (int i = static_cast<int>(threadIdx.x); i < elements; i += static_cast<int>(blockDim.x)) y[i] = tile[i];
}

template <int kRank>
std::vector<uint16_t> tile(const CUtensorMap& map, const Corner<kRank>& corner, int elements,
                           Plant plant = Plant::nothing) {
  const Array<uint16_t> y(std::vector<uint16_t>(static_cast<size_t>(elements)));
  SIXLOOP_LAUNCH((load_tile<kRank>), 1, 64, kSlack + 1024 + static_cast<size_t>(elements) * 2, cuda::current_stream(),
                 map, corner, y.data(), elements, plant);
  return y.host();
}

struct Pixel {
  int at[4];  // c, w, h, n
  int right, down;
};

// y = what an im2col map's load brings, in the order of shared memory.
__global__ void load_im2col(const __grid_constant__ CUtensorMap map, Pixel pixel, uint16_t* y, int elements,
                            Plant plant) {
  char* const shared = aligned_shared();
  auto* const barrier = reinterpret_cast<uint64_t*>(shared);
  auto* const tile = reinterpret_cast<uint16_t*>(shared + 1024);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(barrier, 1);
    ptx::mbarrier_init_fence();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::mbarrier_arrive_expect_tx(barrier,
                                   static_cast<uint32_t>(elements) * 2 - (plant == Plant::wrong_bytes ? 128 : 0));
    ptx::tma_load_im2col(tile + (plant == Plant::misaligned ? 64 : 0), &map, barrier, pixel.at, pixel.right,
                         pixel.down);
  }
  if (plant != Plant::no_wait) ptx::mbarrier_wait(barrier, 0);
  for (int i = static_cast<int>(threadIdx.x); i < elements; i += static_cast<int>(blockDim.x)) y[i] = tile[i];
}

std::vector<uint16_t> pixels(const CUtensorMap& map, const Pixel& pixel, int elements, Plant plant = Plant::nothing) {
  const Array<uint16_t> y(std::vector<uint16_t>(static_cast<size_t>(elements)));
  SIXLOOP_LAUNCH(load_im2col, 1, 64, kSlack + 2048 + static_cast<size_t>(elements) * 2, cuda::current_stream(), map,
                 pixel, y.data(), elements, plant);
  return y.host();
}

// Where element x of line r of a tile with lines of 128 bytes is.
size_t swizzled(size_t r, size_t x) { return r * 64 + ((x / 8) ^ (r % 8)) * 8 + x % 8; }

// --- wgmma.

// c [64, N] = a b over `steps` steps of 64, from tiles that the kernel makes itself by the definition: a is [64, K] or
// [K, 64], b is [N, K] or [K, N], by whether they lie across k.
template <int N, bool kAcrossA, bool kAcrossB>
__global__ void multiply(const uint16_t* a, const uint16_t* b, float* c, int steps, Plant plant) {
  char* const shared = aligned_shared();
  auto* const left = reinterpret_cast<uint16_t*>(shared);
  auto* const right = reinterpret_cast<uint16_t*>(shared + 8192);
  const int thread = static_cast<int>(threadIdx.x), k_end = steps * 64;
  // Line r and element x of a tile of 64 elements to a line.
  const auto put = [](uint16_t* tile, int r, int x, uint16_t value) {
    tile[r * 64 + ((x / 8) ^ (r % 8)) * 8 + x % 8] = value;
  };
  float d[N / 2];
  for (float& v : d) v = 1;
  for (int step = 0; step < steps; ++step) {
    __syncthreads();
    for (int i = thread; i < 64 * 64; i += 128) {
      const int r = i / 64, x = i % 64;
      put(left, r, x, kAcrossA ? a[(step * 64 + r) * 64 + x] : a[r * k_end + step * 64 + x]);
    }
    for (int i = thread; i < N * 64; i += 128) {
      const int r = i / 64, x = i % 64;  // of a tile of 64 columns, or of all columns
      if (kAcrossB) {
        put(right + r / 64 * 4096, r % 64, x, b[(step * 64 + r % 64) * N + r / 64 * 64 + x]);
      } else {
        put(right, r, x, b[r * k_end + step * 64 + x]);
      }
    }
    ptx::fence_proxy_async();
    __syncthreads();
    if (plant == Plant::one_warp_less && thread >= 96) continue;
    if (plant != Plant::no_fence) ptx::wgmma_fence();
    for (int k = 0; k < 4; ++k) {
      const uint64_t da = ptx::wgmma_operand(left + (kAcrossA ? k * 1024 : k * 16), 1024, 8192);
      const uint64_t db = ptx::wgmma_operand(right + (kAcrossB ? k * 1024 : k * 16), 1024, 8192);
      ptx::wgmma_bf16<N, kAcrossA, kAcrossB>(d, da, db, step + k > 0);
    }
    ptx::wgmma_commit();
    if (plant == Plant::change_early && thread == 0) left[0] = 0x4000;
    if (plant == Plant::read_early) {
      for (int i = 0; i < N / 2; ++i) c[i] = d[i];
    }
    if (plant == Plant::half_warp && thread % 32 >= 16) return;
    ptx::wgmma_wait<0>();
    ptx::wgmma_hold(d);
    if (plant == Plant::read_early) return;
  }
  const int warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
  for (int i = 0; i < N / 2; ++i) c[(warp * 16 + g + i / 2 % 2 * 8) * N + i / 4 * 8 + 2 * t + i % 2] = d[i];
}

template <int N, bool kAcrossA, bool kAcrossB>
std::vector<float> product(const std::vector<float>& a, const std::vector<float>& b, int steps,
                           Plant plant = Plant::nothing) {
  const Array<uint16_t> left(bf16(a)), right(bf16(b));
  const Array<float> c(std::vector<float>(64 * N, 0.f));
  SIXLOOP_LAUNCH((multiply<N, kAcrossA, kAcrossB>), 1, 128, kSlack + 8192 + N * 128, cuda::current_stream(),
                 left.data(), right.data(), c.data(), steps, plant);
  return c.host();
}

template <int N, bool kAcrossA, bool kAcrossB>
void check_product() {
  constexpr size_t kSteps = 2, K = 64 * kSteps;
  const std::vector<float> a = integers(64 * K, 1), b = integers(N * K, 2);
  const std::vector<float> got = product<N, kAcrossA, kAcrossB>(a, b, kSteps);
  size_t wrong = 0;
  for (size_t i = 0; i < 64; ++i) {
    for (size_t j = 0; j < N; ++j) {
      double sum = 0;
      for (size_t k = 0; k < K; ++k) {
        sum += static_cast<double>(kAcrossA ? a[k * 64 + i] : a[i * K + k]) *
               static_cast<double>(kAcrossB ? b[k * N + j] : b[j * K + k]);
      }
      wrong += static_cast<double>(got[i * N + j]) != sum;
    }
  }
  CHECK_EQ(wrong, 0u);
}

// c [64, N] = a [64, 32] b [N, 32]^T in TF32, a from registers.
template <int N>
__global__ void multiply_tf32(const float* a, const float* b, float* c, Plant plant) {
  auto* const right = reinterpret_cast<float*>(aligned_shared());
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
  for (int i = thread; i < N * 32; i += 128) {
    const int r = i / 32, x = i % 32;
    right[r * 32 + ((x / 4) ^ (r % 8)) * 4 + x % 4] = b[i];
  }
  ptx::fence_proxy_async();
  __syncthreads();
  float d[N / 2];
  uint32_t left[4][4];
  for (int k = 0; k < 4; ++k) {
    for (int i = 0; i < 4; ++i) {
      left[k][i] = std::bit_cast<uint32_t>(a[(warp * 16 + g + i % 2 * 8) * 32 + k * 8 + t + i / 2 * 4]);
    }
  }
  ptx::wgmma_fence();
  for (int k = 0; k < 4; ++k) ptx::wgmma_tf32<N>(d, left[k], ptx::wgmma_operand(right + k * 8, 1024, 0), k > 0);
  ptx::wgmma_commit();
  if (plant == Plant::change_early) left[1][2] = 0x3F800000u;
  ptx::wgmma_wait<0>();
  ptx::wgmma_hold(d);
  for (int i = 0; i < N / 2; ++i) c[(warp * 16 + g + i / 2 % 2 * 8) * N + i / 4 * 8 + 2 * t + i % 2] = d[i];
}

template <int N>
int64_t wrong_in_tf32(Plant plant = Plant::nothing) {
  std::vector<float> x = integers(64 * 32, 3), y = integers(N * 32, 4);
  const std::vector<float> exact_x = x, exact_y = y;
  // The 13 lowest bits are not looked at.
  for (std::vector<float>* const values : {&x, &y}) {
    for (float& v : *values) v = v == 0 ? v : std::bit_cast<float>(std::bit_cast<uint32_t>(v) | 0x1fffu);
  }
  const Array<float> a(x), b(y), c(std::vector<float>(64 * N, 0.f));
  SIXLOOP_LAUNCH((multiply_tf32<N>), 1, 128, kSlack + N * 128, cuda::current_stream(), a.data(), b.data(), c.data(),
                 plant);
  const std::vector<float> got = c.host();
  int64_t wrong = 0;
  for (size_t i = 0; i < 64 * N; ++i) {
    double sum = 0;
    for (size_t k = 0; k < 32; ++k) {
      sum += static_cast<double>(exact_x[i / N * 32 + k]) * static_cast<double>(exact_y[i % N * 32 + k]);
    }
    wrong += static_cast<double>(got[i]) != sum;
  }
  return wrong;
}

// The sum over 64 columns of a row of ones that cp.async has brought.
__global__ void multiply_what_was_copied(const uint16_t* ones, float* c, Plant plant) {
  auto* const shared = reinterpret_cast<uint16_t*>(aligned_shared());
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < 512; i += 128) ptx::cp_async<16>(shared + i * 8, ones + i * 8, true);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  if (plant != Plant::no_proxy_fence || thread != 77) ptx::fence_proxy_async();
  __syncthreads();
  float d[32];
  ptx::wgmma_fence();
  for (int k = 0; k < 4; ++k) {
    const uint64_t operand = ptx::wgmma_operand(shared + k * 16, 1024, 0);
    ptx::wgmma_bf16<64, false, false>(d, operand, operand, k > 0);
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  c[thread] = d[5];
}

// --- A ring between a producer warp and a warpgroup.

enum class RingPlant { nothing, no_empty_wait, wrong_parity, early_release };

constexpr int kSlots = 2;

// y[i] = the product of tile i with itself, transposed: tiles of 64 x 64.
__global__ void __launch_bounds__(160)
    ring(const __grid_constant__ CUtensorMap map, float* y, int tiles, RingPlant plant) {
  char* const shared = aligned_shared();
  auto* const full = reinterpret_cast<uint64_t*>(shared + kSlots * 8192);
  uint64_t* const empty = full + kSlots;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread == 0) {
    for (int s = 0; s < kSlots; ++s) {
      ptx::mbarrier_init(full + s, 1);
      ptx::mbarrier_init(empty + s, 4);
    }
    ptx::mbarrier_init_fence();
  }
  __syncthreads();
  if (thread >= 128) {
    if (thread != 128) return;
    for (int i = 0; i < tiles; ++i) {
      const int slot = i % kSlots;
      const uint32_t parity = static_cast<uint32_t>(i / kSlots) & 1;
      if (plant != RingPlant::no_empty_wait) ptx::mbarrier_wait(empty + slot, parity ^ 1);
      ptx::mbarrier_arrive_expect_tx(full + slot, 8192);
      ptx::tma_load<2>(shared + slot * 8192, &map, full + slot, {0, i * 64});
    }
  } else {
    const int warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
    for (int i = 0; i < tiles; ++i) {
      const int slot = i % kSlots;
      const uint32_t parity = static_cast<uint32_t>(i / kSlots) & 1;
      ptx::mbarrier_wait(full + slot, parity ^ (plant == RingPlant::wrong_parity ? 1 : 0));
      float d[32];
      ptx::wgmma_fence();
      for (int k = 0; k < 4; ++k) {
        const uint64_t operand = ptx::wgmma_operand(shared + slot * 8192 + k * 32, 1024, 0);
        ptx::wgmma_bf16<64, false, false>(d, operand, operand, k > 0);
      }
      ptx::wgmma_commit();
      if (plant == RingPlant::early_release && thread % 32 == 0) ptx::mbarrier_arrive(empty + slot);
      if (plant == RingPlant::early_release) __syncwarp();
      ptx::wgmma_wait<0>();
      if (plant != RingPlant::early_release && thread % 32 == 0) ptx::mbarrier_arrive(empty + slot);
      for (int j = 0; j < 32; ++j) {
        y[i * 4096 + (warp * 16 + g + j / 2 % 2 * 8) * 64 + j / 4 * 8 + 2 * t + j % 2] = d[j];
      }
    }
  }
}

int wrong_in_ring(RingPlant plant) {
  constexpr size_t kTiles = 7;
  const std::vector<float> x = integers(kTiles * 4096, 9);
  const Array<uint16_t> tiles(bf16(x));
  const Array<float> y(std::vector<float>(kTiles * 4096, 0.f));
  const CUtensorMap map = tensor_map<2>(tiles.data(), {64, kTiles * 64}, {64, 64});
  SIXLOOP_LAUNCH(ring, 1, 160, kSlack + kSlots * 8192 + 64, cuda::current_stream(), map, y.data(),
                 static_cast<int>(kTiles), plant);
  const std::vector<float> got = y.host();
  int wrong = 0;
  for (size_t n = 0; n < got.size(); ++n) {
    const float* const a = x.data() + n / 64 * 64;
    const float* const b = x.data() + n / 4096 * 4096 + n % 64 * 64;
    double sum = 0;
    for (int k = 0; k < 64; ++k) sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    wrong += static_cast<double>(got[n]) != sum;
  }
  return wrong;
}

}  // namespace

TEST(tiles_are_swizzled_and_zero_outside) {
  constexpr size_t kRows = 20, kColumns = 72;
  const Array<uint16_t> x(counted(kRows * kColumns));
  const CUtensorMap map = tensor_map<2>(x.data(), {kColumns, kRows}, {64, 16});
  for (const auto& [column, row] : {std::pair{0, 0}, {8, 4}, {16, 10}, {-8, -3}, {72, 0}}) {
    const std::vector<uint16_t> got = tile<2>(map, {{column, row}}, 64 * 16);
    for (int r = 0; r < 16; ++r) {
      for (int c = 0; c < 64; ++c) {
        const int i = row + r, j = column + c;
        const bool inside = i >= 0 && i < static_cast<int>(kRows) && j >= 0 && j < static_cast<int>(kColumns);
        const int want = inside ? i * static_cast<int>(kColumns) + j + 1 : 0;
        CHECK_EQ(static_cast<int>(got[swizzled(static_cast<size_t>(r), static_cast<size_t>(c))]), want);
      }
    }
  }
}

TEST(tiles_of_more_dimensions) {
  // [N, H, W, C] with C fastest: a window of 2 x 3 pixels of 16 channels, half of it left of the image.
  const Array<uint16_t> x(counted(2 * 4 * 5 * 24));
  const CUtensorMap map = tensor_map<4>(x.data(), {24, 5, 4, 2}, {16, 3, 2, 1}, false);
  const std::vector<uint16_t> got = tile<4>(map, {{8, -1, 1, 1}}, 16 * 3 * 2);
  for (int h = 0; h < 2; ++h) {
    for (int w = 0; w < 3; ++w) {
      for (int c = 0; c < 16; ++c) {
        const int want = w == 0 ? 0 : ((4 + 1 + h) * 5 + w - 1) * 24 + 8 + c + 1;
        CHECK_EQ(static_cast<int>(got[static_cast<size_t>((h * 3 + w) * 16 + c)]), want);
      }
    }
  }
  const CUtensorMap five = tensor_map<5>(x.data(), {8, 3, 5, 4, 2}, {8, 1, 1, 2, 2}, false);
  const std::vector<uint16_t> corner = tile<5>(five, {{0, 2, 3, 3, 0}}, 8 * 2 * 2);
  CHECK_EQ(static_cast<int>(corner[0]), (3 * 5 + 3) * 24 + 16 + 1);
  CHECK_EQ(static_cast<int>(corner[8]), 0);  // below the first image
  CHECK_EQ(static_cast<int>(corner[16]), (4 * 5 + 3 * 5 + 3) * 24 + 16 + 1);
  const CUtensorMap three = tensor_map<3>(x.data(), {24, 20, 2}, {24, 1, 1}, false);
  CHECK_EQ(static_cast<int>(tile<3>(three, {{0, 19, 1}}, 24)[3]), 39 * 24 + 3 + 1);
}

TEST(wrong_tiles_are_errors) {
  const Array<uint16_t> x(counted(64 * 16));
  const CUtensorMap map = tensor_map<2>(x.data(), {64, 16}, {64, 16});
  const auto run = [&](Plant plant) { return tile<2>(map, {{0, 0}}, 1024, plant); };
  CHECK_THROWS(std::logic_error, "nobody has initialised", run(Plant::no_init));
  CHECK_THROWS(std::logic_error, "without mbarrier_init_fence", run(Plant::no_init_fence));
  CHECK_THROWS(std::logic_error, "wait for an mbarrier, never satisfied", run(Plant::wrong_bytes));
  CHECK_THROWS(std::logic_error, "nobody has waited for a tile", run(Plant::no_wait));
  CHECK_THROWS(std::logic_error, "is not aligned to 1024", run(Plant::misaligned));
  CHECK_THROWS(std::logic_error, "leaves shared memory", run(Plant::outside));
  CHECK_THROWS(std::invalid_argument, "no such tensor map", tensor_map<2>(x.data(), {60, 16}, {64, 16}));
  CHECK_THROWS(std::invalid_argument, "no such tensor map", tensor_map<2>(x.data() + 1, {64, 16}, {64, 16}));
  CHECK_THROWS(std::invalid_argument, "no such tensor map", tensor_map<2>(x.data(), {64, 16}, {128, 8}));
  CHECK_THROWS(std::logic_error, "no tensor map of this rank", tile<3>(map, {{0, 0, 0}}, 1024));
}

TEST(im2col_brings_the_pixels_under_a_tap) {
  // Convolutions of images of 24 channels, whose boxes of 64 leave them: element (c, w, h, n) is its number and one.
  struct Axis {
    int size, taps, step, dilation, before, after;
    int pixels() const { return (size + before + after - dilation * (taps - 1) - 1) / step + 1; }
    // As the manual says: of the box in which windows begin.
    int upper() const { return after - dilation * (taps - 1); }
  };
  constexpr int kChannels = 24, kImages = 3;
  struct Case {
    Axis w, h;
  };
  const Case cases[] = {
      {{7, 1, 1, 1, 0, 0}, {5, 1, 1, 1, 0, 0}},  // the images themselves
      {{7, 3, 1, 1, 1, 1}, {5, 2, 1, 1, 0, 1}},  // padding
      {{8, 3, 2, 1, 1, 0}, {9, 2, 3, 1, 1, 2}},  // steps, of which the last may leave something
      {{9, 2, 1, 3, 2, 1}, {8, 3, 1, 2, 0, 3}},  // dilation
      {{11, 2, 2, 3, 4, 0}, {6, 3, 1, 2, 0, 5}},
  };
  for (const Case& c : cases) {
    const Array<uint16_t> x(counted(static_cast<size_t>(kImages * c.h.size * c.w.size * kChannels)));
    const auto sizes = [&] {
      const auto size = [](int value) { return static_cast<uint64_t>(value); };
      return std::vector<uint64_t>{kChannels, size(c.w.size), size(c.h.size), kImages};
    }();
    const CUtensorMap map = im2col_map(x.data(), {sizes,
                                                  {-c.w.before, -c.h.before},
                                                  {c.w.upper(), c.h.upper()},
                                                  {static_cast<uint32_t>(c.w.step), static_cast<uint32_t>(c.h.step)},
                                                  64,
                                                  16});
    const int row = c.w.pixels(), image = row * c.h.pixels();
    for (const int first : {0, 5, image - 3, image, kImages * image - 4}) {  // the last leave the images
      for (int tap = 0; tap < c.w.taps * c.h.taps; ++tap) {
        for (const int channel : {0, 8}) {
          const int right = tap % c.w.taps * c.w.dilation, down = tap / c.w.taps * c.h.dilation;
          const Pixel begin{{channel, first % row * c.w.step - c.w.before, first % image / row * c.h.step - c.h.before,
                             first / image},
                            right,
                            down};
          const std::vector<uint16_t> got = pixels(map, begin, 16 * 64);
          int wrong = 0;
          for (int p = 0; p < 16; ++p) {
            const int number = first + p, n = number / image;
            const int w = number % row * c.w.step - c.w.before + right;
            const int h = number % image / row * c.h.step - c.h.before + down;
            for (int i = 0; i < 64; ++i) {
              const bool inside =
                  n < kImages && w >= 0 && w < c.w.size && h >= 0 && h < c.h.size && channel + i < kChannels;
              const int want = inside ? ((n * c.h.size + h) * c.w.size + w) * kChannels + channel + i + 1 : 0;
              wrong += got[swizzled(static_cast<size_t>(p), static_cast<size_t>(i))] != want;
            }
          }
          CHECK_EQ(wrong, 0);
        }
      }
    }
  }
}

TEST(im2col_without_swizzle) {
  const Array<uint16_t> x(counted(2 * 3 * 4 * 16));
  const CUtensorMap map = im2col_map(x.data(), {{16, 4, 3, 2}, {-1, 0}, {0, 0}, {2, 1}, 16, 8}, false);
  const std::vector<uint16_t> got = pixels(map, {{0, 1, 2, 0}, 1, 0}, 8 * 16);
  // Columns -1, 1, 3 of each row, one to the right of it.
  CHECK_EQ(static_cast<int>(got[3]), (2 * 4 + 2) * 16 + 3 + 1);
  CHECK_EQ(static_cast<int>(got[16]), 0);
  CHECK_EQ(static_cast<int>(got[2 * 16]), (3 * 4 + 0) * 16 + 1);
  CHECK_EQ(static_cast<int>(got[3 * 16]), (3 * 4 + 2) * 16 + 1);
}

TEST(wrong_im2col_is_found) {
  const Array<uint16_t> x(counted(2 * 9 * 8 * 16));
  const Im2col plain{{16, 8, 9, 2}, {-1, -1}, {-1, -1}, {1, 1}, 64, 16};
  const CUtensorMap map = im2col_map(x.data(), plain);
  const auto run = [&](const Pixel& pixel, Plant plant = Plant::nothing) { return pixels(map, pixel, 1024, plant); };
  CHECK_THROWS(std::logic_error, "wait for an mbarrier, never satisfied",
               run({{0, 0, 0, 0}, 0, 0}, Plant::wrong_bytes));
  CHECK_THROWS(std::logic_error, "nobody has waited for a tile", run({{0, 0, 0, 0}, 0, 0}, Plant::no_wait));
  CHECK_THROWS(std::logic_error, "is not aligned to 1024", run({{0, 0, 0, 0}, 0, 0}, Plant::misaligned));
  CHECK_THROWS(std::logic_error, "an offset beyond 8 bits", run({{0, 0, 0, 0}, 0, 256}));
  CHECK_THROWS(std::logic_error, "an offset beyond 8 bits", run({{0, 0, 0, 0}, -1, 0}));
  CHECK_THROWS(std::logic_error, "begins outside its box", run({{0, 7, 0, 0}, 0, 0}));
  CHECK_THROWS(std::logic_error, "begins outside its box", run({{0, 0, -2, 0}, 0, 0}));
  CHECK_THROWS(std::logic_error, "no tensor map of this rank", tile<4>(map, {{0, 0, 0, 0}}, 1024));
  const CUtensorMap tiled = tensor_map<2>(x.data(), {64, 16}, {64, 16});
  CHECK_THROWS(std::logic_error, "no im2col tensor map", pixels(tiled, {{0, 0, 0, 0}, 0, 0}, 1024));
  const auto refused = [&](auto change) {
    Im2col wrong = plain;
    change(wrong);
    CHECK_THROWS(std::invalid_argument, "no such tensor map", im2col_map(x.data(), wrong));
  };
  refused([](Im2col& m) { m.lower[0] = -129; });
  refused([](Im2col& m) { m.upper[1] = 128; });
  refused([](Im2col& m) { m.upper[0] = -9; });  // an empty box
  refused([](Im2col& m) { m.steps[1] = 9; });
  refused([](Im2col& m) { m.channels = 128; });  // 256 bytes
  refused([](Im2col& m) { m.pixels = 1025; });
  refused([](Im2col& m) { m.sizes = {12, 8, 9, 2}; });
  refused([](Im2col& m) { m.sizes = {16, 8, 18}; });
}

TEST(wgmma_is_a_product) {
  check_product<64, false, false>();
  check_product<64, true, false>();
  check_product<64, false, true>();
  check_product<128, true, true>();
  check_product<128, false, false>();
  check_product<256, false, true>();
}

TEST(wgmma_tf32_is_a_product) {
  CHECK_EQ(wrong_in_tf32<64>(), 0);
  CHECK_EQ(wrong_in_tf32<128>(), 0);
  CHECK_EQ(wrong_in_tf32<256>(), 0);
  CHECK(wrong_in_tf32<64>(Plant::change_early) > 0);
}

TEST(wrong_wgmma_is_found) {
  const std::vector<float> a = integers(64 * 64, 1), b = integers(64 * 64, 2);
  const auto run = [&](Plant plant) { return product<64, false, false>(a, b, 1, plant); };
  const std::vector<float> right = run(Plant::nothing);
  CHECK_THROWS(std::logic_error, "wgmma without wgmma_fence", run(Plant::no_fence));
  CHECK_THROWS(std::logic_error, "has not issued the wgmma of its warpgroup", run(Plant::one_warp_less));
  CHECK_THROWS(std::logic_error, "returned", run(Plant::half_warp));
  CHECK(std::isnan(run(Plant::read_early)[0]));
  const std::vector<float> changed = run(Plant::change_early);
  int wrong = 0;
  for (size_t i = 0; i < right.size(); ++i) wrong += changed[i] != right[i];
  CHECK(wrong > 0);
}

TEST(what_was_copied_is_fenced_before_wgmma) {
  const Array<uint16_t> ones(std::vector<uint16_t>(4096, bf16(1.f)));
  const Array<float> c(std::vector<float>(128, 0.f));
  const auto run = [&](Plant plant) {
    SIXLOOP_LAUNCH(multiply_what_was_copied, 1, 128, kSlack + 8192, cuda::current_stream(), ones.data(), c.data(),
                   plant);
    return c.host();
  };
  const float sum = run(Plant::nothing)[100];
  CHECK_EQ(sum, 64.f);
  CHECK_THROWS(std::logic_error, "thread 77 has had no fence_proxy_async", run(Plant::no_proxy_fence));
}

TEST(rings) {
  CHECK_EQ(wrong_in_ring(RingPlant::nothing), 0);
  CHECK(wrong_in_ring(RingPlant::early_release) > 0);
  const auto fails = [](RingPlant plant) {
    try {
      return wrong_in_ring(plant) > 0;
    } catch (const std::logic_error&) {
      return true;
    }
  };
  CHECK(fails(RingPlant::no_empty_wait));
  CHECK(fails(RingPlant::wrong_parity));
}

}  // namespace sixloop
