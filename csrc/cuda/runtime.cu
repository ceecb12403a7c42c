#include "cuda/runtime.h"

#include <pthread.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <vector>

#include "base/device.h"
#include "cuda/dry_run.h"
#include "cuda/guards.h"
#include "cuda/launch.h"
#include "cuda/recorder.h"

namespace sixloop {
namespace cuda {
namespace {

// Set in a child that was forked after CUDA had been initialised: no call of the runtime works there any more.
std::atomic<bool> forked{false};

std::atomic<int64_t> allocated{0};
std::atomic<int64_t> peak{0};
std::atomic<int64_t> requests{0};
std::atomic<uintptr_t> chosen_stream{0};

thread_local Recorder* recorder = nullptr;
std::atomic<bool> stream_records{false};  // on behalf of the thread whose recorder captures
std::mutex deferred_mutex;

struct Deferred {
  void* p;
  int64_t bytes;
};

struct State {
  std::string why;
  DeviceInfo info{};
  cudaStream_t stream = nullptr;  // the library's own
  cudaMemPool_t pool = nullptr;
  cudaEvent_t event = nullptr;  // orders streams; a wait refers to its latest record
  bool synchronous = false;
};

std::string text_of(cudaError_t error) {
  return std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + ")";
}

State probe() {
  State s;
  const auto failed = [&](cudaError_t error) {
    if (error == cudaSuccess) return false;
    (void)cudaGetLastError();
    s.why = text_of(error);
    return true;
  };
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    (void)cudaGetLastError();
    int driver = 0, runtime = 0;
    (void)cudaDriverGetVersion(&driver);
    (void)cudaRuntimeGetVersion(&runtime);
    if (error == cudaErrorInsufficientDriver && driver == 0) {
      s.why = "no NVIDIA driver is installed: " + text_of(error);
    } else if (error == cudaErrorInsufficientDriver) {
      s.why = "the NVIDIA driver is for CUDA " + std::to_string(driver / 1000) + "." +
              std::to_string(driver % 1000 / 10) + ", this build needs one for CUDA " + std::to_string(runtime / 1000) +
              ": " + text_of(error);
    } else {
      s.why = text_of(error);
    }
    return s;
  }
  if (count == 0) {
    s.why = "the driver shows no device";
    return s;
  }
  cudaDeviceProp prop{};
  if (failed(cudaGetDeviceProperties(&prop, 0))) return s;
  s.info = {prop.name, prop.major, prop.minor, prop.multiProcessorCount, static_cast<int64_t>(prop.totalGlobalMem)};
  if (prop.major < 8) {
    s.why = s.info.name + " has compute capability " + std::to_string(prop.major) + "." + std::to_string(prop.minor) +
            ", 8.0 is the least that this build supports";
    return s;
  }
  if (failed(cudaStreamCreateWithFlags(&s.stream, cudaStreamNonBlocking))) return s;
  if (failed(cudaEventCreateWithFlags(&s.event, cudaEventDisableTiming))) return s;
  if (failed(cudaDeviceGetDefaultMemPool(&s.pool, 0))) return s;
  // By default the pool gives its memory back at every synchronisation.
  uint64_t threshold = UINT64_MAX;
  if (failed(cudaMemPoolSetAttribute(s.pool, cudaMemPoolAttrReleaseThreshold, &threshold))) return s;
  const char* sync = std::getenv("SIXLOOP_CUDA_SYNC");
  s.synchronous = sync != nullptr && std::strcmp(sync, "1") == 0;
  pthread_atfork(nullptr, nullptr, [] { forked = true; });
  return s;
}

State& state() {
  static State s = probe();
  return s;
}

constexpr const char* kForked =
    "CUDA was initialised before this process was forked, and does not work in the child; start processes by "
    "\"spawn\", "
    "or fork before the first use of CUDA";

State& ready() {
  if (forked) throw DeviceError(std::string("[cuda] ") + kForked);
  State& s = state();
  if (!s.why.empty()) throw DeviceError("[cuda] not available: " + s.why);
  return s;
}

cudaStream_t stream_of(const State& s, uintptr_t number) {
  switch (number) {
    case 0:
      return s.stream;
    case 1:
      return cudaStreamLegacy;
    case 2:
      return cudaStreamPerThread;
    default:
      return reinterpret_cast<cudaStream_t>(number);
  }
}

// Neither the library's own nor one of the default streams: it may be gone at any time.
bool is_foreign(uintptr_t number) { return number > 2; }

bool is_gone(cudaStream_t stream) {
  const cudaError_t error = cudaStreamQuery(stream);
  if (error == cudaSuccess || error == cudaErrorNotReady) return false;
  (void)cudaGetLastError();
  return true;
}

// Whose memory is taken; asked for after an error, so that errors of its own are left out.
std::string memory_text() {
  size_t free = 0, total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) (void)cudaGetLastError();
  return "tensors of this process take " + size_text(allocated) + ", " + size_text(static_cast<int64_t>(free)) +
         " of " + size_text(static_cast<int64_t>(total)) + " are free";
}

bool capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream, &status) == cudaSuccess && status != cudaStreamCaptureStatusNone;
}

std::vector<Deferred>& deferred() {
  static auto* const list = new std::vector<Deferred>;  // tensors may outlive static objects
  return *list;
}

void deallocate(void* p, int64_t bytes) noexcept {
  if (stream_records && !forked) {
    const std::lock_guard lock(deferred_mutex);
    deferred().push_back({p, bytes});
    return;
  }
  allocated -= bytes;
  if (forked) return;
  p = end_guarding(p);
  // Freed in the order of the stream that used it. A stream of somebody else may be gone: then with a synchronisation.
  if (cudaFreeAsync(p, stream_of(state(), chosen_stream)) != cudaSuccess) {
    (void)cudaGetLastError();
    if (cudaFree(p) != cudaSuccess) (void)cudaGetLastError();
  }
}

}  // namespace

bool available() { return why().empty(); }
std::string why() { return forked ? kForked : state().why; }
void require() { ready(); }
DeviceInfo device_info() { return ready().info; }

Capability capability() {
  if (const DryRun* const run = DryRun::current(); run != nullptr) return run->capability();
  int major = 0, minor = 0;
  SIXLOOP_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
  SIXLOOP_CUDA(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, 0));
  return {major, minor};
}

void* stream_handle() {
  if (DryRun::current() != nullptr) return nullptr;
  const State& s = ready();
  if (stream_records && (recorder == nullptr || !recorder->captures())) {
    throw DeviceError("[cuda] another thread records a training step and must be alone on the GPU meanwhile");
  }
  return stream_of(s, chosen_stream);
}

void set_recorder(Recorder* next) {
  recorder = next;
  stream_records = next != nullptr && next->captures();
}

void free_deferred() noexcept {
  std::vector<Deferred> list;
  {
    const std::lock_guard lock(deferred_mutex);
    list.swap(deferred());
  }
  for (const Deferred& block : list) deallocate(block.p, block.bytes);
}
uintptr_t stream_number() {
  const State& s = ready();
  const uintptr_t number = chosen_stream;
  return number != 0 ? number : reinterpret_cast<uintptr_t>(s.stream);
}

void make_stream_wait(uintptr_t other) {
  const State& s = ready();
  const cudaStream_t mine = stream_of(s, chosen_stream);
  const cudaStream_t theirs = stream_of(s, other);
  if (mine == theirs || capturing(mine)) return;
  SIXLOOP_CUDA(cudaEventRecord(s.event, mine));
  SIXLOOP_CUDA(cudaStreamWaitEvent(theirs, s.event, 0));
}

void take_back_from_stream(int64_t other) noexcept {
  if (forked || !state().why.empty()) return;
  const State& s = state();
  const cudaStream_t mine = stream_of(s, chosen_stream);
  if (capturing(mine)) return;
  cudaError_t error;
  if (other == 1 || other == 2) {
    const cudaStream_t theirs = stream_of(s, static_cast<uintptr_t>(other));
    error = cudaEventRecord(s.event, theirs);
    if (error == cudaSuccess) error = cudaStreamWaitEvent(mine, s.event, 0);
  } else {
    // Another stream may be gone by now, and its handle must not be used.
    error = cudaDeviceSynchronize();
  }
  if (error != cudaSuccess) (void)cudaGetLastError();
}

void set_stream(uintptr_t handle) {
  const State& s = ready();
  if (is_gone(stream_of(s, handle))) {
    throw DeviceError("[cuda.set_stream] " + std::to_string(handle) + " is not a stream of this process");
  }
  if (is_foreign(chosen_stream) && !stream_records && is_gone(stream_of(s, chosen_stream))) {
    SIXLOOP_CUDA(cudaDeviceSynchronize());  // after what the stream was asked for that is gone now
  } else {
    make_stream_wait(handle);
  }
  chosen_stream = handle;
}

void synchronize() {
  const State& s = ready();
  SIXLOOP_CUDA(cudaStreamSynchronize(stream_of(s, chosen_stream)));
}

MemoryStats memory_stats() {
  const State& s = ready();
  uint64_t reserved = 0;
  SIXLOOP_CUDA(cudaMemPoolGetAttribute(s.pool, cudaMemPoolAttrReservedMemCurrent, &reserved));
  size_t free = 0, total = 0;
  SIXLOOP_CUDA(cudaMemGetInfo(&free, &total));
  return {allocated,
          peak,
          static_cast<int64_t>(reserved),
          requests,
          static_cast<int64_t>(free),
          static_cast<int64_t>(total)};
}

void reset_peak_memory() { peak = allocated.load(); }

void empty_cache() {
  synchronize();
  SIXLOOP_CUDA(cudaMemPoolTrimTo(state().pool, 0));
}

std::string size_text(int64_t bytes) {
  char text[64];
  const auto n = static_cast<double>(bytes);
  if (bytes >= int64_t{1} << 30) {
    std::snprintf(text, sizeof text, "%.2f GiB", n / (1 << 30));
  } else {
    std::snprintf(text, sizeof text, "%.2f MiB", n / (1 << 20));
  }
  return text;
}

void throw_cuda_error(cudaError_t error, const char* what, const char* file, int line) {
  (void)cudaGetLastError();  // else the next launch would report it again
  const char* tree = std::strstr(file, "csrc/");
  const std::string place = std::string(" at ") + (tree != nullptr ? tree : file) + ":" + std::to_string(line);
  if (error == cudaErrorMemoryAllocation) {
    throw OutOfMemory(std::string("[cuda] out of memory in ") + what + place + ": " + memory_text());
  }
  std::string hint;
  if (error == cudaErrorInvalidResourceHandle) {
    hint = is_foreign(chosen_stream)
               ? "; the stream that cuda.set_stream() chose may be gone: choose another one, or None"
               : "; the calling thread's current CUDA device may be another one than the first";
  }
  throw DeviceError(std::string("[cuda] ") + what + ": " + text_of(error) + place + hint);
}

bool noted(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes) {
  DryRun* const run = DryRun::current();
  if (run == nullptr) return false;
  const auto count = [](const dim3& d) { return int64_t{d.x} * d.y * d.z; };
  run->note_launch(kernel, count(grid), count(block), shared_bytes);
  return true;
}

void check_launch(const char* kernel, cudaStream_t stream, const char* file, int line) {
  cudaError_t error = cudaGetLastError();
  if (error == cudaSuccess && state().synchronous && !capturing(stream)) error = cudaStreamSynchronize(stream);
  if (error != cudaSuccess) throw_cuda_error(error, kernel, file, line);
}

}  // namespace cuda

std::string why_no_cuda() { return cuda::why(); }

std::shared_ptr<void> allocate_on_cuda(size_t bytes) {
  if (cuda::DryRun* const run = cuda::DryRun::current(); run != nullptr) return run->allocate(bytes);
  if (cuda::recorder != nullptr && bytes > 0) return cuda::recorder->allocate(bytes);
  return cuda::allocate_plainly(bytes);
}

std::shared_ptr<void> cuda::allocate_plainly(size_t bytes) {
  const cuda::State& s = cuda::ready();
  const auto stream = static_cast<cudaStream_t>(cuda::stream_handle());
  void* p = nullptr;
  if (bytes == 0) return nullptr;
  const size_t guards = guard_bytes(), whole = bytes + 2 * guards;
  cudaError_t error = cudaMallocAsync(&p, whole, stream);
  if (error == cudaErrorMemoryAllocation) {
    // What other streams or sizes left in the pool may be enough, once their work is done.
    (void)cudaGetLastError();
    if (cudaStreamSynchronize(stream) == cudaSuccess && cudaMemPoolTrimTo(s.pool, 0) == cudaSuccess) {
      error = cudaMallocAsync(&p, whole, stream);
    }
  }
  if (error == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw cuda::OutOfMemory("[cuda] out of memory: " + cuda::size_text(static_cast<int64_t>(bytes)) + " asked for; " +
                            cuda::memory_text());
  }
  if (error != cudaSuccess) cuda::throw_cuda_error(error, "cudaMallocAsync", __FILE__, __LINE__);
  if (guards > 0) p = begin_guarding(p, bytes, stream);
  if (p == nullptr) throw_cuda_error(cudaGetLastError(), "cudaMemsetAsync", __FILE__, __LINE__);
  const auto size = static_cast<int64_t>(bytes);
  const int64_t now = cuda::allocated += size;
  ++cuda::requests;
  for (int64_t most = cuda::peak; most < now && !cuda::peak.compare_exchange_weak(most, now);) {
  }
  return std::shared_ptr<void>(p, [size](void* block) { cuda::deallocate(block, size); });
}

void zero_on_cuda(void* data, size_t bytes) {
  if (bytes == 0 || cuda::DryRun::current() != nullptr) return;
  SIXLOOP_CUDA(cudaMemsetAsync(data, 0, bytes, cuda::current_stream()));
}

void copy_bytes(void* to, Device to_device, const void* from, Device from_device, size_t bytes) {
  if (bytes == 0) return;
  if (to_device == Device::cpu && from_device == Device::cpu) {
    std::memcpy(to, from, bytes);
    return;
  }
  const cudaMemcpyKind kind = to_device == Device::cpu     ? cudaMemcpyDeviceToHost
                              : from_device == Device::cpu ? cudaMemcpyHostToDevice
                                                           : cudaMemcpyDeviceToDevice;
  const cudaStream_t stream = cuda::current_stream();
  SIXLOOP_CUDA(cudaMemcpyAsync(to, from, bytes, kind, stream));
  if (kind != cudaMemcpyDeviceToDevice) SIXLOOP_CUDA(cudaStreamSynchronize(stream));
}

}  // namespace sixloop
