// What each instruction of cuda/ptx.h does, as lines of words: compiled by nvcc it tells what a GPU does, compiled
// against the emulator what its twins do.
//
//     golden          writes all vectors, `name word...` in hexadecimal
//     golden FILE     compares with those of a file, exit status 1 where one differs
//
// Inputs are small integers, so that no sum is rounded.
#include <bit>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "cuda/launch.h"
#include "cuda/ptx.h"

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

// Integers from -15 to 16 in the bits of `as`.
template <class As>
Words integers(size_t count, const As& as) {
  Words words;
  uint32_t state = 7;
  for (size_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    words.push_back(as(static_cast<float>(static_cast<int>(state >> 16 & 31u) - 15)));
  }
  return words;
}
Words floats(size_t count) {
  return integers(count, [](float x) { return std::bit_cast<uint32_t>(x); });
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

std::vector<std::pair<std::string, Words>> vectors() {
  return {
      {"cp_async_4", run<CopyAsync<4>>(floats(kLanes), 1)},
      {"cp_async_8", run<CopyAsync<8>>(floats(2 * kLanes), 2)},
      {"cp_async_16", run<CopyAsync<16>>(floats(4 * kLanes), 4)},
      {"ldmatrix_x4", run<LoadMatrices<false>>(halves(4 * kLanes), 4)},
      {"ldmatrix_x4_transposed", run<LoadMatrices<true>>(halves(4 * kLanes), 4)},
      {"mma_bf16", run<Multiply<false>>(halves(6 * kLanes), 4)},
      {"mma_tf32", run<Multiply<true>>(floats(6 * kLanes), 4)},
      {"to_tf32", run<ToTf32>(roundings(), 1)},
  };
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
