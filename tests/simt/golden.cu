// What each instruction of cuda/ptx.h does, as lines of words: compiled by nvcc it tells what a GPU does, compiled
// against the emulator what its twins do.
//
//     golden          writes all vectors, `name word...` in hexadecimal
//     golden FILE     compares with those of a file, exit status 1 where one differs
//
// Inputs are small integers, so that no sum is rounded. What Hopper alone has (SIXLOOP_SM90A) is written on Hopper.
#include <bit>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/ptx.h"
#include "device_array.h"
#include "gemm/wgmma_matrices.h"
#include "tensor_maps.h"

namespace sixloop {
namespace {

namespace ptx = cuda::ptx;
using Words = std::vector<uint32_t>;

constexpr int kLanes = 32;

// Kernels get `in` in shared memory and write words per lane.
template <class Body>
__global__ void run_kernel(const uint32_t* in, int in_words, uint32_t* out, int out_words) {
  uint32_t* const shared = cuda::shared_memory<uint32_t>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < in_words; i += kLanes) shared[i] = in[i];
  __syncthreads();
  Body::run(in, shared, lane, out + lane * out_words);
}

template <class Body>
Words run(const Words& in, int out_words) {
  const auto array = [](int64_t words) { return Tensor::empty({words}, DType::float32, Device::cuda); };
  const Tensor from = array(static_cast<int64_t>(in.size())), to = array(int64_t{kLanes} * out_words);
  copy_bytes(from.raw(), Device::cuda, in.data(), Device::cpu, in.size() * sizeof(uint32_t));
  SIXLOOP_LAUNCH(run_kernel<Body>, 1, kLanes, 2 * in.size() * sizeof(uint32_t), cuda::current_stream(),
                 static_cast<const uint32_t*>(from.raw()), static_cast<int>(in.size()),
                 static_cast<uint32_t*>(to.raw()), out_words);
  Words out(static_cast<size_t>(kLanes * out_words));
  copy_bytes(out.data(), Device::cpu, to.raw(), Device::cuda, out.size() * sizeof(uint32_t));
  return out;
}

// Integers from -15 to 16.
Words floats(size_t count) {
  Words words;
  for (const float x : integers(count, 7)) words.push_back(std::bit_cast<uint32_t>(x));
  return words;
}
// Two bfloat16 in each word.
Words halves(size_t count) {
  const Words wide = floats(2 * count);
  Words words;
  for (size_t i = 0; i < count; ++i) words.push_back(wide[2 * i] >> 16 | (wide[2 * i + 1] & 0xFFFF0000u));
  return words;
}

// Lane l copies piece 31 - l, every third lane nothing; its neighbour reads what came of it.
template <int kBytes>
struct CopyAsync {
  static constexpr int kWords = kBytes / 4;
  static __device__ void run(const uint32_t* in, uint32_t* shared, int lane, uint32_t* out) {
    uint32_t* const to = shared + kLanes * kWords;
    ptx::cp_async<kBytes>(to + lane * kWords, in + (31 - lane) * kWords, lane % 3 != 0);
    ptx::cp_async_commit();
    ptx::cp_async_wait<0>();
    __syncthreads();
    for (int i = 0; i < kWords; ++i) out[i] = to[(lane ^ 1) * kWords + i];
  }
};

// Rows of 16 bytes, one for each lane.
template <bool kTransposed>
struct LoadMatrices {
  static __device__ void run(const uint32_t*, uint32_t* shared, int lane, uint32_t* out) {
    uint32_t r[4];
    if constexpr (kTransposed) {
      ptx::ldmatrix_x4_transposed(r, shared + 4 * lane);
    } else {
      ptx::ldmatrix_x4(r, shared + 4 * lane);
    }
    for (int i = 0; i < 4; ++i) out[i] = r[i];
  }
};

template <bool kTf32>
struct Multiply {
  static __device__ void run(const uint32_t*, uint32_t* shared, int lane, uint32_t* out) {
    const uint32_t* const mine = shared + 6 * lane;
    const uint32_t a[4] = {mine[0], mine[1], mine[2], mine[3]}, b[2] = {mine[4], mine[5]};
    float d[4] = {1.0f, 2.0f, -3.0f, static_cast<float>(lane)};
    if constexpr (kTf32) {
      ptx::mma_tf32(d, a, b);
    } else {
      ptx::mma_bf16(d, a, b);
    }
    for (int i = 0; i < 4; ++i) out[i] = std::bit_cast<uint32_t>(d[i]);
  }
};

struct ToTf32 {
  static __device__ void run(const uint32_t*, uint32_t* shared, int lane, uint32_t* out) {
    out[0] = ptx::to_tf32(std::bit_cast<float>(shared[lane]));
  }
};

// Ties and their neighbours, subnormal numbers, the largest one.
Words roundings() {
  Words words;
  for (uint32_t i = 0; i < kLanes; ++i) words.push_back(0x3F800000u + i * 0x0800u + (i % 4 == 3 ? 1 : 0));
  words[1] = 0x00000800u;
  words[2] = 0x7F7FFFFFu;
  words[3] = 0x80000FFFu;
  return words;
}

// --- Compute capability 9.0: a block of a warpgroup.

constexpr int kGroup = 128;
constexpr size_t kAlignment = 1024;

[[maybe_unused]] __device__ char* aligned_shared() {
  char* const shared = cuda::shared_memory<char>();
  return shared + (0u - ptx::shared_address(shared)) % kAlignment;
}

template <int kRank>
struct Corner {
  int at[kRank];
};
struct Pixel {
  int at[4];  // c, w, h, n
  int right, down;
};

// One thread initialises a barrier and has something brought, whose bytes are those of whole boxes; all wait for it and
// write what there is then.
template <class Load>
__device__ void copy_words(const Load& load, uint32_t* out, int words) {
  char* const shared = aligned_shared();
  auto* const barrier = reinterpret_cast<uint64_t*>(shared);
  auto* const tile = reinterpret_cast<uint32_t*>(shared + kAlignment);
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(barrier, 1);
    ptx::mbarrier_init_fence();
  }
  __syncthreads();
  ptx::mbarrier_wait(barrier, 1);  // at once
  if (threadIdx.x == 0) {
    ptx::mbarrier_arrive_expect_tx(barrier, static_cast<uint32_t>(words) * 4);
    load(tile, barrier);
  }
  ptx::mbarrier_wait(barrier, 0);
  for (int i = static_cast<int>(threadIdx.x); i < words; i += kGroup) out[i] = tile[i];
}

template <int kRank>
__global__ void tile_kernel(const __grid_constant__ CUtensorMap map, Corner<kRank> corner, uint32_t* out, int words) {
#if defined(SIXLOOP_SM90A)
  copy_words([&](uint32_t* to, uint64_t* barrier) { ptx::tma_load<kRank>(to, &map, barrier, corner.at); }, out, words);
#endif
}

__global__ void im2col_kernel(const __grid_constant__ CUtensorMap map, Pixel pixel, uint32_t* out, int words) {
#if defined(SIXLOOP_SM90A)
  copy_words([&](uint32_t* to,
                 uint64_t* barrier) { ptx::tma_load_im2col(to, &map, barrier, pixel.at, pixel.right, pixel.down); },
             out, words);
#endif
}

// d [64, N] = a b over 64 steps of k of bfloat16 (tf32: 32), where a [64, k] and b [N, k] lie as tma_load writes tiles:
// tiles of `in`, word for word, a's first.
template <int N, bool kTf32, bool kAcrossA, bool kAcrossB>
__global__ void wgmma_kernel(const uint32_t* in, float* out) {
#if defined(SIXLOOP_SM90A)
  constexpr int kTileWords = 2048;  // of 64 rows or columns
  auto* const left = reinterpret_cast<uint32_t*>(aligned_shared());
  uint32_t* const right = left + kTileWords;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, g = thread % 32 / 4, t = thread % 4;
  for (int i = thread; i < kTileWords * (1 + N / 64); i += kGroup) left[i] = in[i];
  ptx::fence_proxy_async();
  __syncthreads();
  float d[N / 2];
  for (float& v : d) v = 1;
  uint32_t registers[4][4];
  for (int k = 0; k < 4; ++k) {
    for (int i = 0; i < 4; ++i) {
      const int row = warp * 16 + g + i % 2 * 8, column = k * 8 + t + i / 2 * 4;
      registers[k][i] = left[row * 32 + ((column / 4) ^ (row % 8)) * 4 + column % 4];
    }
  }
  ptx::wgmma_fence();
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    const uint64_t b = ptx::wgmma_operand(right + k * (kAcrossB ? 512 : 8), 1024, 8192);
    if constexpr (kTf32) {
      ptx::wgmma_tf32<N>(d, registers[k], b, k > 0);
    } else {
      const uint64_t a = ptx::wgmma_operand(left + k * (kAcrossA ? 512 : 8), 1024, 8192);
      ptx::wgmma_bf16<N, kAcrossA, kAcrossB>(d, a, b, k > 0);
    }
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>();
  ptx::wgmma_hold(d);
  for (int k = 0; k < 4; ++k) ptx::wgmma_hold(registers[k]);
  for (int i = 0; i < N / 2; ++i) out[thread * (N / 2) + i] = d[i];
#endif
}

constexpr size_t kTileBytes = 8192;

template <int N, bool kTf32, bool kAcrossA, bool kAcrossB>
Words wgmma() {
  constexpr size_t kWords = kTileBytes / 4 * (1 + N / 64);
  const Array<uint32_t> in(kTf32 ? floats(kWords) : halves(kWords));
  const Array<float> out(std::vector<float>(kGroup * N / 2));
  SIXLOOP_LAUNCH((wgmma_kernel<N, kTf32, kAcrossA, kAcrossB>), 1, kGroup, kAlignment + kTileBytes * (1 + N / 64),
                 cuda::current_stream(), in.data(), out.data());
  // A word for each thread: sums of what it has, by weights that differ.
  const std::vector<float> d = out.host();
  Words words(kGroup);
  for (size_t i = 0; i < d.size(); ++i) {
    const auto weight = static_cast<uint32_t>(i % (N / 2)) * 2654435761u + 12345u;
    words[i / (N / 2)] += weight * static_cast<uint32_t>(static_cast<int>(d[i]));
  }
  return words;
}

template <int kRank>
Words tile(const std::vector<uint64_t>& sizes, const std::vector<uint32_t>& box, const Corner<kRank>& corner,
           bool swizzled = true) {
  size_t count = 1, elements = 1;
  for (const uint64_t size : sizes) count *= size;
  for (const uint32_t size : box) elements *= size;
  const Array<uint16_t> x(counted(count));
  const Array<uint32_t> out(Words(elements / 2));
  SIXLOOP_LAUNCH((tile_kernel<kRank>), 1, kGroup, 2 * kAlignment + elements * 2, cuda::current_stream(),
                 tensor_map<kRank>(x.data(), sizes, box, swizzled), corner, out.data(), static_cast<int>(elements / 2));
  return out.host();
}

Words im2col(const Im2col& map, const Pixel& pixel, bool swizzled = true) {
  size_t count = 1;
  for (const uint64_t size : map.sizes) count *= size;
  const Array<uint16_t> x(counted(count));
  const size_t elements = size_t{map.channels} * map.pixels;
  const Array<uint32_t> out(Words(elements / 2));
  SIXLOOP_LAUNCH(im2col_kernel, 1, kGroup, 2 * kAlignment + elements * 2, cuda::current_stream(),
                 im2col_map(x.data(), map, swizzled), pixel, out.data(), static_cast<int>(elements / 2));
  return out.host();
}

using Vectors = std::vector<std::pair<std::string, Words>>;

void add_hopper(Vectors& all) {
  const auto add = [&](const char* name, Words words) { all.emplace_back(name, std::move(words)); };
  add("tma_2d", tile<2>({72, 20}, {64, 8}, {{8, 4}}));
  add("tma_2d_outside", tile<2>({72, 20}, {64, 8}, {{-8, 16}}));
  add("tma_2d_plain", tile<2>({72, 20}, {16, 8}, {{64, -3}}, false));
  add("tma_3d", tile<3>({72, 10, 2}, {64, 4, 2}, {{8, 7, 0}}));
  add("tma_4d", tile<4>({24, 5, 4, 2}, {16, 3, 2, 1}, {{16, -1, 1, 1}}, false));
  add("tma_5d", tile<5>({8, 3, 5, 4, 2}, {8, 1, 1, 2, 2}, {{0, 2, 3, 3, 0}}, false));
  // Images of 5 x 7 pixels, three of them. Boxes begin in the first row, in the middle of the second image, at the end.
  const std::vector<uint64_t> images = {24, 7, 5, 3};
  const Im2col plain{images, {0, 0}, {0, 0}, {1, 1}, 16, 16};
  add("im2col_1x1", im2col(plain, {{0, 5, 4, 0}, 0, 0}, false));
  const Im2col padded{images, {-1, -1}, {-1, 0}, {1, 1}, 64, 16};  // 2 x 3 taps
  add("im2col_corners", im2col(padded, {{0, -1, -1, 0}, 0, 0}));
  add("im2col_tap", im2col(padded, {{8, 3, 2, 1}, 2, 1}));
  add("im2col_end", im2col(padded, {{0, 4, 4, 2}, 1, 1}));
  // Steps that end on the box's last pixel, and some that do not.
  add("im2col_steps", im2col({images, {-1, 0}, {0, -2}, {2, 2}, 64, 16}, {{0, 3, 2, 0}, 1, 1}));
  add("im2col_steps_and_rest", im2col({images, {-2, -1}, {0, 0}, {3, 3}, 64, 16}, {{0, 1, -1, 1}, 1, 2}));
  // 3 x 2 taps, three columns and two rows apart.
  add("im2col_dilation", im2col({images, {-4, -2}, {-3, 0}, {1, 1}, 64, 24}, {{0, -2, 3, 1}, 3, 4}));
  add("im2col_far", im2col({images, {-120, 0}, {-1, 0}, {8, 1}, 64, 16}, {{0, -16, 1, 0}, 120, 0}));
  add("wgmma_bf16_64", wgmma<64, false, false, false>());
  add("wgmma_bf16_64_across_a", wgmma<64, false, true, false>());
  add("wgmma_bf16_64_across_b", wgmma<64, false, false, true>());
  add("wgmma_bf16_128_across_both", wgmma<128, false, true, true>());
  add("wgmma_bf16_256", wgmma<256, false, false, false>());
  add("wgmma_bf16_256_across_b", wgmma<256, false, false, true>());
  add("wgmma_tf32_64", wgmma<64, true, false, false>());
  add("wgmma_tf32_128", wgmma<128, true, false, false>());
  add("wgmma_tf32_256", wgmma<256, true, false, false>());
}

Vectors vectors() {
  Vectors all{
      {"cp_async_4", run<CopyAsync<4>>(floats(kLanes), 1)},
      {"cp_async_8", run<CopyAsync<8>>(floats(2 * kLanes), 2)},
      {"cp_async_16", run<CopyAsync<16>>(floats(4 * kLanes), 4)},
      {"ldmatrix_x4", run<LoadMatrices<false>>(halves(4 * kLanes), 4)},
      {"ldmatrix_x4_transposed", run<LoadMatrices<true>>(halves(4 * kLanes), 4)},
      {"mma_bf16", run<Multiply<false>>(halves(6 * kLanes), 4)},
      {"mma_tf32", run<Multiply<true>>(floats(6 * kLanes), 4)},
      {"to_tf32", run<ToTf32>(roundings(), 1)},
  };
  if (cuda::has_wgmma()) add_hopper(all);
  return all;
}

std::string line_of(const std::string& name, const Words& words) {
  std::ostringstream line;
  line << name << std::hex;
  for (const uint32_t word : words) line << ' ' << word;
  return line.str();
}

int compare(const char* path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  int wrong = lines.empty() ? 1 : 0;
  for (const auto& [name, words] : vectors()) {
    const std::string mine = line_of(name, words);
    for (const std::string& line : lines) {
      if (line.compare(0, name.size() + 1, name + ' ') != 0 || line == mine) continue;
      std::cout << name << " differs\n  there " << line << "\n  here  " << mine << '\n';
      wrong = 1;
    }
  }
  return wrong;
}

}  // namespace
}  // namespace sixloop

int main(int count, char** arguments) {
  if (count > 1) return sixloop::compare(arguments[1]);
  for (const auto& [name, words] : sixloop::vectors()) std::cout << sixloop::line_of(name, words) << '\n';
  return 0;
}
