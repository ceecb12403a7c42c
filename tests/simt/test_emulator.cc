// The emulator finds planted faults: a kernel test that passes under it means something.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <vector>

#include "base/tensor.h"
#include "check.h"
#include "cuda/launch.h"

namespace sixloop {
namespace {

// Two barriers with one number of threads are told apart by their lines.
__global__ void reverse_in_blocks(const float* x, float* y, int n, bool barrier) {
  float* shared = cuda::shared_memory<float>();
  const int i = static_cast<int>(threadIdx.x);
  const int base = static_cast<int>(blockIdx.x) * n;
  shared[i] = x[base + i];
  if (barrier) __syncthreads();
  y[base + i] = shared[n - 1 - i];
}

__global__ void write_at(float* y, int64_t i) { y[i] = 1; }

__global__ void divergent() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void returns_before_barrier() {
  if (threadIdx.x == 3) return;
  __syncthreads();
}

__global__ void shuffle_with_exited(float* y) {
  if (threadIdx.x == 7) return;
  float v = 1;
  for (int i = 0; i < 2; ++i) v += __shfl_xor_sync(0xffffffffu, v, 1);
  y[threadIdx.x] = v;
}

__global__ void warp_sums(const float* x, float* y) {
  float v = x[threadIdx.x];
  for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
  y[threadIdx.x] = v;
  const unsigned low = __ballot_sync(0xffffffffu, threadIdx.x % 32 < 5);
  y[blockDim.x + threadIdx.x] = static_cast<float>(low) + __shfl_sync(0xffffffffu, x[threadIdx.x], 3, 8) +
                                100 * __shfl_down_sync(0xffffffffu, x[threadIdx.x], 1u) +
                                10000 * __shfl_up_sync(0xffffffffu, x[threadIdx.x], 2u);
}

Tensor on_gpu(const std::vector<float>& values) {
  Tensor t = Tensor::empty({static_cast<int64_t>(values.size())}, DType::float32, Device::cuda);
  copy_bytes(t.raw(), Device::cuda, values.data(), Device::cpu, values.size() * sizeof(float));
  return t;
}

std::vector<float> on_host(const Tensor& t) {
  std::vector<float> values(static_cast<size_t>(t.size()));
  copy_bytes(values.data(), Device::cpu, t.raw(), Device::cuda, values.size() * sizeof(float));
  return values;
}

float element(const Tensor& t, size_t i) { return on_host(t)[i]; }

std::vector<float> counted(int n) {
  std::vector<float> values;
  for (int i = 0; i < n; ++i) values.push_back(static_cast<float>(i));
  return values;
}

std::vector<float> reversed(int n, int blocks, bool barrier, size_t shared_bytes) {
  const Tensor x = on_gpu(counted(n * blocks));
  const Tensor y = Tensor::empty({n * blocks}, DType::float32, Device::cuda);
  SIXLOOP_LAUNCH(reverse_in_blocks, blocks, n, shared_bytes, cuda::current_stream(), x.data<float>(), y.data<float>(),
                 n, barrier);
  return on_host(y);
}

// Whether a child process that runs f ends by a signal or with an error, as sanitizers end it.
bool dies(const std::function<void()>& f) {
  const pid_t child = fork();
  if (child == 0) {
    (void)!freopen("/dev/null", "w", stderr);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

}  // namespace

// First, while CUDA is not initialised: these children may use it.
TEST(sanitizers_see_kernels) {
#if defined(__SANITIZE_ADDRESS__)
  const auto write = [](int64_t i) {
    const Tensor y = Tensor::empty({5}, DType::float32, Device::cuda);
    SIXLOOP_LAUNCH(write_at, 1, 1, 0, cuda::current_stream(), y.data<float>(), i);
    cuda::synchronize();
  };
  CHECK(!dies([&] { write(4); }));
  CHECK(dies([&] { write(5); }));
  CHECK(dies([&] { write(-1); }));
  CHECK(!dies([] { reversed(64, 2, true, 64 * sizeof(float)); }));
  CHECK(dies([] { reversed(64, 2, true, 64 * sizeof(float) - 4); }));
  // Freed memory, too.
  CHECK(dies([] {
    float* p = Tensor::empty({5}, DType::float32, Device::cuda).data<float>();
    SIXLOOP_LAUNCH(write_at, 1, 1, 0, cuda::current_stream(), p, 0);
    cuda::synchronize();
  }));
#else
  check::skip("built without AddressSanitizer");
#endif
}

// With SIXLOOP_CUDA_SYNC=1 an error comes from the launch that made it.
TEST(launches_are_waited_for_where_asked) {
  const auto launch_fails = [](const char* value) {
    setenv("SIXLOOP_CUDA_SYNC", value, 1);
    try {
      SIXLOOP_LAUNCH(divergent, 1, 32, 0, cuda::current_stream());
    } catch (const std::logic_error&) {
      return true;
    }
    return false;
  };
  CHECK(!dies([&] { _exit(launch_fails("1") ? 0 : 1); }));
  CHECK(!dies([&] { _exit(launch_fails("0") ? 1 : 0); }));
}

TEST(host_cannot_follow_device_pointers) {
  CHECK(dies([] { *Tensor::empty({5}, DType::float32, Device::cuda).data<volatile float>() = 1; }));
}

TEST(barriers) {
  const std::vector<float> right = reversed(64, 3, true, 64 * sizeof(float));
  for (int b = 0; b < 3; ++b) {
    for (int i = 0; i < 64; ++i) {
      CHECK_EQ(right[static_cast<size_t>(64 * b + i)], static_cast<float>(64 * b + 63 - i));
    }
  }
  // Without one, threads that come early read what shared memory began with: NaN.
  int wrong = 0;
  for (const float v : reversed(64, 3, false, 64 * sizeof(float))) wrong += std::isnan(v);
  CHECK(wrong > 0);
}

TEST(divergence) {
  const auto run = [](auto kernel) {
    SIXLOOP_LAUNCH(kernel, 1, 32, 0, cuda::current_stream());
    cuda::synchronize();
  };
  CHECK_THROWS(std::logic_error, "divergent barrier or deadlock: 16 wait for __syncthreads at", run(divergent));
  CHECK_THROWS(std::logic_error, "1 have returned, 31 wait for __syncthreads at", run(returns_before_barrier));
}

TEST(shuffles) {
  const Tensor x = on_gpu(counted(64));
  const Tensor y = Tensor::empty({128}, DType::float32, Device::cuda);
  SIXLOOP_LAUNCH(warp_sums, 1, 64, 0, cuda::current_stream(), x.data<float>(), y.data<float>());
  const std::vector<float> got = on_host(y);
  for (int i = 0; i < 64; ++i) {
    CHECK_EQ(got[static_cast<size_t>(i)], i < 32 ? 496.f : 1520.f);
    const int down = i % 32 == 31 ? i : i + 1, up = i % 32 < 2 ? i : i - 2;
    CHECK_EQ(got[static_cast<size_t>(64 + i)], static_cast<float>(31 + (i / 8 * 8 + 3) + 100 * down + 10000 * up));
  }
  CHECK_THROWS(std::logic_error, "names lane 7, which has returned", [&] {
    SIXLOOP_LAUNCH(shuffle_with_exited, 1, 32, 0, cuda::current_stream(), y.data<float>());
    cuda::synchronize();
  }());
}

TEST(launches_are_checked) {
  const auto launch = [](dim3 grid, dim3 threads, size_t shared_bytes) {
    const Tensor y = Tensor::empty({5}, DType::float32, Device::cuda);
    SIXLOOP_LAUNCH(write_at, grid, threads, shared_bytes, cuda::current_stream(), y.data<float>(), 0);
  };
  CHECK_THROWS(cuda::DeviceError, "[cuda] write_at: invalid configuration argument", launch(1, 1025, 0));
  CHECK_THROWS(cuda::DeviceError, "cudaErrorInvalidConfiguration", launch(dim3(1, 65536), 1, 0));
  CHECK_THROWS(cuda::DeviceError, "cudaErrorInvalidConfiguration", launch(0, 1, 0));
  CHECK_THROWS(cuda::DeviceError, "cudaFuncSetAttribute", launch(1, 1, 228 * 1024));
  launch(1, 1, 100 * 1024);  // more than 48 KiB is asked for by the launch itself
  cuda::synchronize();
}

TEST(host_errors) {
  const Tensor t = on_gpu(counted(8));
  std::vector<float> host(16);
  CHECK_THROWS(std::logic_error, "leaves its allocation of 32",
               copy_bytes(host.data(), Device::cpu, t.raw(), Device::cuda, 36));
  copy_bytes(host.data(), Device::cuda, t.raw(), Device::cuda, 32);  // is only found out when it runs
  CHECK_THROWS(std::logic_error, "kind does not fit", (cuda::synchronize(), 0));
}

// A host that does not wait reads what was there before.
TEST(work_is_not_done_before_someone_waits) {
  const Tensor t = on_gpu(counted(8));
  std::vector<float> host(8, -1);
  SIXLOOP_CUDA(cudaMemcpyAsync(host.data(), t.raw(), 32, cudaMemcpyDeviceToHost, cuda::current_stream()));
  CHECK_EQ(host[3], -1.f);
  cuda::synchronize();
  CHECK_EQ(host[3], 3.f);
}

TEST(memory_begins_as_nan_and_ends) {
  for (const float v : on_host(Tensor::empty({9}, DType::float32, Device::cuda))) CHECK(std::isnan(v));
  const int64_t before = cuda::memory_stats().allocated;
  {
    const Tensor t = Tensor::zeros({1000}, DType::float64, Device::cuda);
    CHECK_EQ(cuda::memory_stats().allocated, before + 8000);
  }
  CHECK_EQ(cuda::memory_stats().allocated, before);
  CHECK_THROWS(cuda::OutOfMemory, "[cuda] out of memory: 8.00 GiB asked for",
               Tensor::empty({int64_t{1} << 31}, DType::float32, Device::cuda));
  CHECK_EQ(element(on_gpu(counted(3)), 2), 2.f);  // goes on
  CHECK_THROWS(cuda::OutOfMemory,
               "[cuda] out of memory in a call at csrc/x.cu:7: tensors of this process take 0.00 MiB, 256",
               cuda::throw_cuda_error(cudaErrorMemoryAllocation, "a call", "/tree/csrc/x.cu", 7));
}

TEST(graphs_replay) {
  const Tensor x = on_gpu(counted(32));
  const Tensor y = Tensor::zeros({32}, DType::float32, Device::cuda);
  const cudaStream_t stream = cuda::current_stream();
  SIXLOOP_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  SIXLOOP_LAUNCH(reverse_in_blocks, 1, 32, 32 * sizeof(float), stream, x.data<float>(), y.data<float>(), 32, true);
  CHECK_EQ(static_cast<int>(cudaStreamSynchronize(stream)), static_cast<int>(cudaErrorStreamCaptureUnsupported));
  (void)cudaGetLastError();
  cudaGraph_t graph = nullptr;
  SIXLOOP_CUDA(cudaStreamEndCapture(stream, &graph));
  CHECK_EQ(element(y, 0), 0.f);  // recorded, not run
  cudaGraphExec_t exec = nullptr;
  SIXLOOP_CUDA(cudaGraphInstantiate(&exec, graph, 0));
  SIXLOOP_CUDA(cudaGraphLaunch(exec, stream));
  CHECK_EQ(element(y, 0), 31.f);
  const std::vector<float> ones(32, 1);
  copy_bytes(x.raw(), Device::cuda, ones.data(), Device::cpu, 128);
  SIXLOOP_CUDA(cudaGraphLaunch(exec, stream));
  CHECK_EQ(element(y, 0), 1.f);
  SIXLOOP_CUDA(cudaGraphExecDestroy(exec));
  SIXLOOP_CUDA(cudaGraphDestroy(graph));
}

TEST(streams_of_others) {
  cudaStream_t theirs = nullptr;
  SIXLOOP_CUDA(cudaStreamCreateWithFlags(&theirs, cudaStreamNonBlocking));
  cuda::set_stream(reinterpret_cast<uintptr_t>(theirs));
  CHECK(cuda::current_stream() == theirs);
  const Tensor t = on_gpu(counted(4));
  cuda::set_stream(0);
  SIXLOOP_CUDA(cudaStreamDestroy(theirs));
  CHECK_THROWS(cuda::DeviceError, "is not a stream of this process",
               cuda::set_stream(reinterpret_cast<uintptr_t>(theirs)));
  CHECK_EQ(element(t, 3), 3.f);
}

TEST(a_stream_that_dies_while_it_is_chosen) {
  cudaStream_t theirs = nullptr;
  SIXLOOP_CUDA(cudaStreamCreateWithFlags(&theirs, cudaStreamNonBlocking));
  Tensor t = on_gpu(counted(4));
  cuda::set_stream(reinterpret_cast<uintptr_t>(theirs));
  SIXLOOP_CUDA(cudaStreamDestroy(theirs));
  CHECK_THROWS(cuda::DeviceError, "invalid resource handle", Tensor::empty({4}, DType::float32, Device::cuda));
  CHECK_THROWS(cuda::DeviceError, "chose may be gone: choose another one, or None", on_host(t));
  CHECK_THROWS(cuda::DeviceError, "chose may be gone", (cuda::synchronize(), 0));
  const int64_t before = cuda::memory_stats().allocated;
  {
    const Tensor freed = std::move(t);
  }
  CHECK_EQ(cuda::memory_stats().allocated, before - 16);
  cuda::set_stream(0);
  CHECK_EQ(element(on_gpu(counted(4)), 3), 3.f);
}

// Last: it initialises CUDA here and asks a child.
TEST(forked_children_get_an_error) {
  CHECK(cuda::available());
  CHECK(!dies([] {
    if (cuda::available() || cuda::why().find("forked") == std::string::npos) _exit(1);
    try {
      Tensor::empty({4}, DType::float32, Device::cuda);
    } catch (const cuda::DeviceError&) {
      _exit(0);
    }
    _exit(1);
  }));
}

}  // namespace sixloop
