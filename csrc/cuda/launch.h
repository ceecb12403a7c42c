// What every .cu file uses: how a kernel is launched, how it gets its shared memory, how an error of the runtime
// becomes an exception. The same files are compiled by a C++ compiler against the emulator of tests/simt, so a kernel
// is launched only through SIXLOOP_LAUNCH and shared memory is only what shared_memory() gives.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "cuda/notes.h"
#include "cuda/runtime.h"

namespace sixloop::cuda {

// The library's stream, of which every launch and copy of an op is a part.
inline cudaStream_t current_stream() { return static_cast<cudaStream_t>(stream_handle()); }

// "1.50 GiB"
std::string size_text(int64_t bytes);

// Throws DeviceError with the call, its place and CUDA's own words; OutOfMemory with sizes where memory is what lacks.
[[noreturn]] void throw_cuda_error(cudaError_t error, const char* what, const char* file, int line);

#define SIXLOOP_CUDA(call)                                                         \
  do {                                                                             \
    const cudaError_t sixloop_error = (call);                                      \
    if (sixloop_error != cudaSuccess) {                                            \
      ::sixloop::cuda::throw_cuda_error(sixloop_error, #call, __FILE__, __LINE__); \
    }                                                                              \
  } while (false)

// Whether this thread is on a dry run (cuda/dry_run.h), which notes the launch instead.
bool noted(const char* kernel, dim3 grid, dim3 block, size_t shared_bytes);

// After a launch: a wrong configuration; with SIXLOOP_CUDA_SYNC=1 whatever the kernel itself did wrong, too.
void check_launch(const char* kernel, cudaStream_t stream, const char* file, int line);

template <class T>
struct Same {
  using type = T;
};

// Arguments are converted to the kernel's parameters here, at the call, as in any call of a function.
template <class... P>
void launch(const char* name, const char* file, int line, void (*kernel)(P...), dim3 grid, dim3 block,
            size_t shared_bytes, cudaStream_t stream, typename Same<P>::type... args) {
  if (noted(name, grid, block, shared_bytes)) return;
  // More than this must be asked for once for each kernel.
  constexpr size_t kPlainSharedBytes = 48 * 1024;
  if (shared_bytes > kPlainSharedBytes) {
    SIXLOOP_CUDA(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  }
#if defined(__CUDACC__)
  kernel<<<grid, block, shared_bytes, stream>>>(args...);
#else
  simt::launch(name, reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, stream,
               [kernel, args...] { kernel(args...); });
#endif
  check_launch(name, stream, file, line);
}

// SIXLOOP_LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...). A kernel whose name has a comma stands in
// parentheses.
#define SIXLOOP_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                    \
  ::sixloop::cuda::launch(#kernel, __FILE__, __LINE__, kernel, grid, block, shared_bytes, \
                          stream __VA_OPT__(, ) __VA_ARGS__)

// The block's dynamic shared memory, aligned to 128 bytes.
template <class T>
__device__ __forceinline__ T* shared_memory() {
#if defined(__CUDACC__)
  extern __shared__ __align__(128) unsigned char sixloop_shared[];
  return reinterpret_cast<T*>(sixloop_shared);
#else
  return static_cast<T*>(simt::shared_memory());
#endif
}

}  // namespace sixloop::cuda
