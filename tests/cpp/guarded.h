// Memory that tells when a kernel leaves it, and values to put there.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "check.h"

namespace sixloop::check {

// n elements that end where a page without access begins: one element too far crashes, read or written.
// In front of them lie canary bytes and another such page. Alignment is the element's, whatever n is.
template <class T>
class Guarded {
 public:
  explicit Guarded(int64_t n) : n_(n) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t bytes = static_cast<size_t>(n) * sizeof(T);
    const size_t inside = (bytes + kCanary + page - 1) / page * page;
    total_ = inside + 2 * page;
    void* map = mmap(nullptr, total_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) throw std::bad_alloc();
    map_ = static_cast<unsigned char*>(map);
    front_ = map_ + page;
    unsigned char* end = front_ + inside;
    data_ = reinterpret_cast<T*>(end - bytes);
    std::memset(front_, kFill, inside);
    mprotect(map_, page, PROT_NONE);
    mprotect(end, page, PROT_NONE);
  }
  explicit Guarded(const std::vector<T>& values) : Guarded(static_cast<int64_t>(values.size())) {
    if (n_ > 0) std::memcpy(data_, values.data(), values.size() * sizeof(T));
  }
  Guarded(Guarded&& other) noexcept
      : n_(other.n_), total_(other.total_), map_(other.map_), front_(other.front_), data_(other.data_) {
    other.map_ = nullptr;
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() {
    if (map_ == nullptr) return;
    for (const unsigned char* p = front_; p < reinterpret_cast<unsigned char*>(data_); ++p) {
      if (*p != kFill) {
        fail(__FILE__, __LINE__, "a kernel wrote in front of its buffer");
        break;
      }
    }
    munmap(map_, total_);
  }

  T* get() { return data_; }
  const T* get() const { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }
  int64_t size() const { return n_; }

 private:
  static constexpr size_t kCanary = 64;
  static constexpr unsigned char kFill = 0xa5;

  int64_t n_;
  size_t total_ = 0;
  unsigned char* map_ = nullptr;
  unsigned char* front_ = nullptr;
  T* data_ = nullptr;
};

// Numbers in [-2, 2) that need all bits of their mantissas; the same on every run and machine.
template <class T>
std::vector<T> values(int64_t n, uint64_t seed) {
  std::vector<T> result(static_cast<size_t>(n));
  uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (T& x : result) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    x = static_cast<T>(static_cast<double>(state >> 11) * 0x1p-51 - 2.0);
  }
  return result;
}

template <class T>
void check_same_bits(const char* what, const T* actual, const T* expected, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    if (same_bits(actual[i], expected[i])) continue;
    fail(what, static_cast<int>(i), "got " + show(actual[i]) + ", expected " + show(expected[i]));
    return;
  }
}

}  // namespace sixloop::check
