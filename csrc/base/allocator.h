// A caching allocator: blocks of 64-byte alignment in a bounded number of size classes, kept after use,
// so that a training step takes no memory from the system after the first one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace sixloop {

struct MemoryStats {
  int64_t allocated;        // bytes in use, rounded up to their size classes
  int64_t peak;             // largest value of `allocated` since reset_peak_memory()
  int64_t cached;           // bytes kept for reuse
  int64_t cache_limit;      // largest value that `cached` may take
  int64_t requests;         // calls of allocate()
  int64_t system_requests;  // blocks that came from the system, for a request or in reserve for a task
};

// At least `bytes` bytes, aligned to 64; blocks of 2 MiB or more lie on huge-page boundaries and are
// advised as huge pages. Contents are undefined. Throws std::bad_alloc.
void* allocate(size_t bytes);
void deallocate(void* block, size_t bytes) noexcept;

// What a request of so many bytes takes.
int64_t allocated_bytes(int64_t bytes);

MemoryStats memory_stats();
void reset_peak_memory();
// Gives every cached block back to the system.
void empty_cache();
void set_cache_limit(int64_t bytes);

// Scratch memory of one scope.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t count) : bytes_(bytes_of(count)), data_(static_cast<T*>(allocate(bytes_))) {}
  ~Buffer() { deallocate(data_, bytes_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* get() { return data_; }
  const T* get() const { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  // A product that would overflow becomes a request that nothing can meet.
  static size_t bytes_of(int64_t count) {
    const size_t n = static_cast<size_t>(count);
    return n <= SIZE_MAX / sizeof(T) ? n * sizeof(T) : SIZE_MAX;
  }

  size_t bytes_;
  T* data_;
};

// What a Buffer of so many elements takes from the allocator; none where there is no element.
template <class T>
int64_t buffer_bytes(int64_t count) {
  constexpr int64_t kMost = int64_t{1} << 56;  // more than there can be, and sums of some do not overflow
  return count > 0 ? allocated_bytes(std::min(count, kMost / static_cast<int64_t>(sizeof(T))) *
                                     static_cast<int64_t>(sizeof(T)))
                   : 0;
}

// A Buffer that lies on the caller's stack where it has at most kInline elements: tasks of a few microseconds should
// not meet in the allocator.
template <class T, int64_t kInline>
class SmallBuffer {
 public:
  explicit SmallBuffer(int64_t count) {
    if (count > kInline) large_.emplace(count);
    data_ = large_ ? large_->get() : small_;
  }
  SmallBuffer(const SmallBuffer&) = delete;
  SmallBuffer& operator=(const SmallBuffer&) = delete;
  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  T small_[kInline];
  std::optional<Buffer<T>> large_;
  T* data_;
};

}  // namespace sixloop
