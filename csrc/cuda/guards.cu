#include "cuda/guards.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <vector>

#include "cuda/launch.h"

namespace sixloop::cuda {
namespace {

constexpr size_t kBytes = 4096;
// NaN in every type of floating-point number: what is read beyond an array is found in results.
constexpr int kPattern = 0xFF;

std::atomic<bool> enabled{false}, used{false};

struct Guarded {
  std::mutex mutex;
  std::map<char*, size_t> arrays;  // their bytes
  std::string found;
};
Guarded& guarded() {
  static auto* const all = new Guarded;  // tensors may outlive static objects
  return *all;
}

// Adds what is wrong with an array's bands, and makes them right.
cudaError_t look(Guarded& all, char* array, size_t bytes) {
  char* const bands[] = {array - kBytes, array + bytes};
  const cudaStream_t stream = current_stream();
  for (int side = 0; side < 2; ++side) {
    std::vector<unsigned char> seen(kBytes);
    cudaError_t error = cudaMemcpyAsync(seen.data(), bands[side], kBytes, cudaMemcpyDeviceToHost, stream);
    if (error == cudaSuccess) error = cudaStreamSynchronize(stream);
    if (error != cudaSuccess) return error;
    const auto is_wrong = [](unsigned char byte) { return byte != kPattern; };
    const auto count = std::count_if(seen.begin(), seen.end(), is_wrong);
    if (count == 0) continue;
    const auto near = side == 0 ? std::find_if(seen.rbegin(), seen.rend(), is_wrong) - seen.rbegin() + 1
                                : std::find_if(seen.begin(), seen.end(), is_wrong) - seen.begin();
    all.found += "; " + std::to_string(count) + " bytes " + (side == 0 ? "before" : "behind") + " an array of " +
                 std::to_string(bytes) + " bytes, the nearest " + std::to_string(near) +
                 (side == 0 ? " before its first" : " after its end");
    error = cudaMemsetAsync(bands[side], kPattern, kBytes, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

void set_guards(bool on) {
  require();
  enabled = on;
}

void check_guards() {
  require();
  Guarded& all = guarded();
  const std::lock_guard lock(all.mutex);
  for (const auto& [array, bytes] : all.arrays) SIXLOOP_CUDA(look(all, array, bytes));
  if (all.found.empty()) return;
  const std::string found = all.found.substr(2);
  all.found.clear();
  throw DeviceError("[cuda.check_guards] a kernel wrote beyond an array: " + found);
}

size_t guard_bytes() { return enabled ? kBytes : 0; }

void* begin_guarding(void* block, size_t bytes, void* stream) {
  if (cudaMemsetAsync(block, kPattern, bytes + 2 * kBytes, static_cast<cudaStream_t>(stream)) != cudaSuccess) {
    return nullptr;
  }
  char* const array = static_cast<char*>(block) + kBytes;
  Guarded& all = guarded();
  const std::lock_guard lock(all.mutex);
  all.arrays[array] = bytes;
  used = true;
  return array;
}

void* end_guarding(void* array) noexcept {
  if (!used) return array;
  Guarded& all = guarded();
  const std::lock_guard lock(all.mutex);
  const auto at = all.arrays.find(static_cast<char*>(array));
  if (at == all.arrays.end()) return array;
  try {
    if (look(all, at->first, at->second) != cudaSuccess) (void)cudaGetLastError();
  } catch (const std::exception&) {  // no stream to ask on: the arrays still there are looked at later
  }
  all.arrays.erase(at);
  return static_cast<char*>(array) - kBytes;
}

}  // namespace sixloop::cuda
