// csrc/cuda/runtime.h and base/device.h in a build without CUDA.
#include "base/device.h"
#include "cuda/dry_run.h"
#include "cuda/graph.h"
#include "cuda/guards.h"
#include "cuda/runtime.h"
#include "cuda/staging.h"

#include <cstring>

namespace sixloop {

std::string why_no_cuda() { return cuda::why(); }
std::shared_ptr<void> allocate_on_cuda(size_t) {
  cuda::require();
  return nullptr;
}
void zero_on_cuda(void*, size_t) { cuda::require(); }
void copy_bytes(void* to, Device, const void* from, Device, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

namespace cuda {

bool available() { return false; }
std::string why() { return "this build has no CUDA: there was no nvcc, or SIXLOOP_CUDA=OFF"; }
void require() { throw DeviceError("[cuda] not available: " + why()); }
DeviceInfo device_info() {
  require();
  return {};
}
Capability capability() {
  require();
  return {};
}
void* stream_handle() { return nullptr; }
void set_stream(uintptr_t) { require(); }
uintptr_t stream_number() {
  require();
  return 0;
}
void make_stream_wait(uintptr_t) { require(); }
void take_back_from_stream(int64_t) noexcept {}
void synchronize() { require(); }
MemoryStats memory_stats() {
  require();
  return {};
}
void reset_peak_memory() { require(); }
void set_guards(bool) { require(); }
void check_guards() { require(); }
void empty_cache() { require(); }

struct Graph::Impl {};
Graph::Graph() { require(); }
Graph::~Graph() = default;
void Graph::trace_begin() {}
void Graph::trace_end() {}
void Graph::capture_begin() {}
void Graph::capture_end() {}
void Graph::abandon() noexcept {}
void Graph::launch() {}
bool Graph::is_captured() const { return false; }
int64_t Graph::bytes() const { return 0; }

struct Staging::Impl {};
Staging::Staging() { require(); }
Staging::~Staging() = default;
std::vector<Tensor> Staging::upload(const std::vector<Tensor>&) { return {}; }

}  // namespace cuda
}  // namespace sixloop
