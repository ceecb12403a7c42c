// The GPU as the rest of the library sees it: whether there is one, its stream, its memory. No header of the toolkit is
// needed here. Without CUDA in the build (csrc/cuda/absent.cc) there is never a GPU.
//
// Nothing is initialised before the first question. There is one device, the first that CUDA_VISIBLE_DEVICES leaves.
#pragma once

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>

namespace sixloop::cuda {

// Python's RuntimeError.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Python's MemoryError, with sizes.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string what) : what_(std::move(what)) {}
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::string what_;
};

bool available();
// Why it is not available; empty where it is.
std::string why();
// Throws DeviceError with why().
void require();

struct DeviceInfo {
  std::string name;
  int major;  // compute capability
  int minor;
  int processors;
  int64_t memory;  // bytes
};
DeviceInfo device_info();

// The stream of all kernels and copies: the library's own, which does not wait for the legacy default stream, or the
// one that set_stream() chose. A cudaStream_t.
void* stream_handle();
// A cudaStream_t of somebody else as a number, 1 and 2 standing for the default streams; 0 is the library's own. What
// was asked for before is done before what comes.
void set_stream(uintptr_t handle);
uintptr_t stream_number();
// The other stream goes on when what the library's has been given is done.
void make_stream_wait(uintptr_t other);
// Memory that the other stream used (-1: one that nobody named) is about to be freed in the order of the library's.
void take_back_from_stream(int64_t other) noexcept;
// Waits for the library's stream.
void synchronize();

struct MemoryStats {
  int64_t allocated;  // bytes of tensors
  int64_t peak;       // largest value of `allocated` since reset_peak_memory()
  int64_t reserved;   // bytes that the pool holds, in use or not
  int64_t requests;   // allocations
  int64_t free;       // bytes of the device that nobody holds
  int64_t total;
};
MemoryStats memory_stats();
void reset_peak_memory();
// Gives what the pool holds without use back to the driver.
void empty_cache();

}  // namespace sixloop::cuda
