#include "base/allocator.h"

#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include <pthread.h>
#include <unistd.h>

#include "base/spin_lock.h"
#include "base/thread_pool.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define SIXLOOP_POISON(block, bytes) ASAN_POISON_MEMORY_REGION(block, bytes)
#define SIXLOOP_UNPOISON(block, bytes) ASAN_UNPOISON_MEMORY_REGION(block, bytes)
#else
#define SIXLOOP_POISON(block, bytes) ((void)0)
#define SIXLOOP_UNPOISON(block, bytes) ((void)0)
#endif

namespace sixloop {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
// Larger requests cannot be met and would overflow the rounding below.
constexpr size_t kLargestRequest = size_t{1} << 60;

// Four classes to each power of two: at most 25% of a block is unused.
size_t size_class(size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  size_t power = kAlignment;
  while (power * 2 <= bytes) power *= 2;
  const size_t step = power / 4 < kAlignment ? kAlignment : power / 4;
  const size_t rounded = (bytes + step - 1) / step * step;
  return rounded < kHugePage ? rounded : (rounded + kHugePage - 1) / kHugePage * kHugePage;
}

void* system_allocate(size_t bytes) {
  void* block = nullptr;
  const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  if (posix_memalign(&block, alignment, bytes) != 0) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  if (bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

int64_t default_cache_limit() {
  const int64_t pages = sysconf(_SC_PHYS_PAGES);
  const int64_t page_size = sysconf(_SC_PAGESIZE);
  return pages > 0 && page_size > 0 ? pages * page_size / 4 : int64_t{1} << 30;
}

// Blocks that this thread's tasks hold, by size class.
thread_local std::map<size_t, int64_t> held_by_task;

class Cache {
 public:
  Cache() { stats_.cache_limit = default_cache_limit(); }

  // threads: those at work on the job whose task asks, else 1. How many are in a task at once differs from one step to
  // the next, so the first time that a task holds a number of blocks, as many are made for every thread: later steps
  // find theirs whoever does what.
  void* take(size_t bytes, int64_t threads) {
    int64_t* held = threads > 1 ? &held_by_task[bytes] : nullptr;
    void* block = nullptr;
    int64_t missing = 0;
    {
      std::lock_guard<SpinLock> lock(mutex_);
      std::vector<void*>& blocks = free_[bytes];
      Task* task = held != nullptr ? &tasks_[bytes] : nullptr;
      ++stats_.requests;
      if (!blocks.empty()) {
        block = blocks.back();
        blocks.pop_back();
        stats_.cached -= static_cast<int64_t>(bytes);
        count_allocated(bytes);
        SIXLOOP_UNPOISON(block, bytes);
      }
      if (task != nullptr) {
        ++*held;
        ++task->held;
        missing = threads * *held - task->held - task->coming - static_cast<int64_t>(blocks.size());
        if (stats_.cached + missing * static_cast<int64_t>(bytes) > stats_.cache_limit) missing = 0;
        if (missing > 0) task->coming += missing;
      }
    }
    for (int64_t i = 0; i < missing; ++i) reserve(bytes);
    return block != nullptr ? block : take_from_system(bytes, held);
  }

  void give(void* block, size_t bytes, int64_t threads) noexcept {
    int64_t* held = nullptr;
    if (threads > 1) {
      const auto found = held_by_task.find(bytes);
      if (found != held_by_task.end() && found->second > 0) held = &found->second;
    }
    {
      std::lock_guard<SpinLock> lock(mutex_);
      if (held != nullptr) {
        --*held;
        --tasks_[bytes].held;
      }
      stats_.allocated -= static_cast<int64_t>(bytes);
      if (stats_.cached + static_cast<int64_t>(bytes) <= stats_.cache_limit) {
        try {
          free_[bytes].push_back(block);
          stats_.cached += static_cast<int64_t>(bytes);
          SIXLOOP_POISON(block, bytes);
          return;
        } catch (const std::bad_alloc&) {
          // No room to remember the block: give it back to the system instead.
        }
      }
    }
    std::free(block);
  }

  void release() {
    std::map<size_t, std::vector<void*>> all;
    {
      std::lock_guard<SpinLock> lock(mutex_);
      all.swap(free_);
      stats_.cached = 0;
    }
    for (auto& [bytes, blocks] : all) {
      for (void* block : blocks) {
        SIXLOOP_UNPOISON(block, bytes);
        std::free(block);
      }
    }
  }

  MemoryStats stats() {
    std::lock_guard<SpinLock> lock(mutex_);
    return stats_;
  }

  void reset_peak() {
    std::lock_guard<SpinLock> lock(mutex_);
    stats_.peak = stats_.allocated;
  }

  void set_limit(int64_t bytes) {
    bool over = false;
    {
      std::lock_guard<SpinLock> lock(mutex_);
      stats_.cache_limit = bytes;
      over = stats_.cached > bytes;
    }
    if (over) release();
  }

  SpinLock& mutex() { return mutex_; }

 private:
  struct Task {
    int64_t held = 0;    // by tasks that run
    int64_t coming = 0;  // being made for them
  };

  // held: the count of the task that asks, or null.
  void* take_from_system(size_t bytes, int64_t* held) {
    void* block = nullptr;
    try {
      block = system_allocate(bytes);
    } catch (const std::bad_alloc&) {
      release();  // the cache may hold what is missing
      try {
        block = system_allocate(bytes);
      } catch (const std::bad_alloc&) {
        std::lock_guard<SpinLock> lock(mutex_);
        if (held != nullptr) {
          --*held;
          --tasks_[bytes].held;
        }
        throw;
      }
    }
    std::lock_guard<SpinLock> lock(mutex_);
    ++stats_.system_requests;
    count_allocated(bytes);
    return block;
  }

  // Makes a block that nobody asked for yet; does without where there is no memory.
  void reserve(size_t bytes) noexcept {
    void* block = nullptr;
    try {
      block = system_allocate(bytes);
    } catch (const std::bad_alloc&) {
    }
    {
      std::lock_guard<SpinLock> lock(mutex_);
      --tasks_[bytes].coming;
      if (block == nullptr) return;
      try {
        free_[bytes].push_back(block);
        ++stats_.system_requests;
        stats_.cached += static_cast<int64_t>(bytes);
        SIXLOOP_POISON(block, bytes);
        return;
      } catch (const std::bad_alloc&) {
        // As in give().
      }
    }
    std::free(block);
  }

  void count_allocated(size_t bytes) {
    stats_.allocated += static_cast<int64_t>(bytes);
    if (stats_.allocated > stats_.peak) stats_.peak = stats_.allocated;
  }

  SpinLock mutex_;
  std::map<size_t, std::vector<void*>> free_;
  std::map<size_t, Task> tasks_;
  MemoryStats stats_{};
};

Cache& cache() {
  // Never destroyed: arrays that Python frees at exit still return their blocks. The fork handlers keep
  // a child from inheriting the lock in a locked state.
  static Cache* instance = [] {
    pthread_atfork([] { cache().mutex().lock(); }, [] { cache().mutex().unlock(); }, [] { cache().mutex().unlock(); });
    return new Cache;
  }();
  return *instance;
}

// Made when the library is loaded: a child forked while another thread makes it would wait for it for ever.
[[maybe_unused]] const Cache& made_at_load = cache();

}  // namespace

void* allocate(size_t bytes) {
  if (bytes > kLargestRequest) throw std::bad_alloc();
  return cache().take(size_class(bytes), threads_of_this_job());
}

void deallocate(void* block, size_t bytes) noexcept {
  if (block != nullptr) cache().give(block, size_class(bytes), threads_of_this_job());
}

int64_t allocated_bytes(int64_t bytes) { return static_cast<int64_t>(size_class(static_cast<size_t>(bytes))); }

MemoryStats memory_stats() { return cache().stats(); }
void reset_peak_memory() { cache().reset_peak(); }
void empty_cache() { cache().release(); }
void set_cache_limit(int64_t bytes) { cache().set_limit(bytes); }

}  // namespace sixloop
