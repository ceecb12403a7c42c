// Where memory lies, and what a Tensor needs from a device. csrc/cuda defines the functions: base knows CUDA by these
// declarations alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace sixloop {

enum class Device : uint8_t { cpu, cuda };

constexpr const char* name_of(Device device) { return device == Device::cuda ? "cuda" : "cpu"; }

// "cpu" or "cuda". An unknown name throws std::invalid_argument; "cuda" where there is none, std::runtime_error with
// the reason.
Device parse_device(const char* op, const std::string& name);

// Why there is no GPU; empty where there is one.
std::string why_no_cuda();
// Memory of the GPU, which goes back to the pool with the last owner; contents undefined.
std::shared_ptr<void> allocate_on_cuda(size_t bytes);
// In the order of the library's stream; returns before it is done.
void zero_on_cuda(void* data, size_t bytes);
// Returns when `to` may be read and `from` written again, unless both lie on the GPU: that is done in the stream's
// order.
void copy_bytes(void* to, Device to_device, const void* from, Device from_device, size_t bytes);

}  // namespace sixloop
