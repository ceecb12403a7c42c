// A debugging aid where no sanitizer works: arrays on the GPU begin as NaN and lie between two bands of bytes. A band
// that is not as it was tells of a kernel that wrote beyond an array.
#pragma once

#include <cstddef>

namespace sixloop::cuda {

// For arrays that are allocated from now on.
void set_guards(bool on);
// Throws DeviceError where a band was written to since the last call: one of an array that is still there, or was.
void check_guards();

// For the allocator: bytes of each band, or 0; a multiple of what the pool aligns to.
size_t guard_bytes();
// `block` has the bytes of the array and two bands. Returns where the array begins; null where CUDA failed.
void* begin_guarding(void* block, size_t bytes, void* stream);
// Returns the block that the array lies in, which is about to be freed: itself where there are no bands.
void* end_guarding(void* array) noexcept;

}  // namespace sixloop::cuda
