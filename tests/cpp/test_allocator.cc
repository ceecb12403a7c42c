#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#include "base/allocator.h"
#include "check.h"

namespace sixloop {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

bool aligned(const void* p, size_t alignment) { return reinterpret_cast<uintptr_t>(p) % alignment == 0; }

// Bytes that a request takes.
int64_t taken(size_t bytes) {
  const int64_t before = memory_stats().allocated;
  void* block = allocate(bytes);
  const int64_t result = memory_stats().allocated - before;
  deallocate(block, bytes);
  return result;
}

TEST(a_quarter_at_most_is_unused) {
  for (size_t bytes = 1; bytes < size_t{1} << 20; bytes = bytes * 9 / 8 + 1) {
    const int64_t used = taken(bytes);
    CHECK(used >= static_cast<int64_t>(bytes));
    CHECK(used % 64 == 0);
    if (bytes > 256) CHECK(static_cast<double>(used) <= 1.25 * static_cast<double>(bytes));
  }
  empty_cache();
}

TEST(large_blocks_are_whole_huge_pages) {
  CHECK_EQ(taken(kHugePage), static_cast<int64_t>(kHugePage));
  CHECK_EQ(taken(kHugePage + 1), static_cast<int64_t>(2 * kHugePage));
  CHECK_EQ(taken(5 * kHugePage) % static_cast<int64_t>(kHugePage), 0);
  empty_cache();
}

TEST(blocks_are_aligned) {
  for (size_t bytes :
       {size_t{0}, size_t{1}, size_t{63}, size_t{65}, size_t{4097}, kHugePage - 1, kHugePage, 3 * kHugePage}) {
    void* block = allocate(bytes);
    CHECK(block != nullptr);
    CHECK(aligned(block, bytes >= kHugePage ? kHugePage : 64));
    std::memset(block, 1, bytes);
    deallocate(block, bytes);
  }
  empty_cache();
}

TEST(a_block_comes_back_within_its_class) {
  void* first = allocate(1000);
  deallocate(first, 1000);
  const int64_t before = memory_stats().system_requests;
  void* second = allocate(990);
  CHECK(second == first);
  CHECK_EQ(memory_stats().system_requests, before);
  deallocate(second, 990);
  empty_cache();
}

TEST(stats_add_up) {
  empty_cache();
  reset_peak_memory();
  const MemoryStats before = memory_stats();
  CHECK_EQ(before.cached, 0);
  void* a = allocate(4096);
  void* b = allocate(8192);
  CHECK_EQ(memory_stats().allocated, before.allocated + 4096 + 8192);
  deallocate(a, 4096);
  const MemoryStats after = memory_stats();
  CHECK_EQ(after.allocated, before.allocated + 8192);
  CHECK_EQ(after.cached, 4096);
  CHECK_EQ(after.peak, before.allocated + 4096 + 8192);
  CHECK_EQ(after.requests, before.requests + 2);
  CHECK_EQ(after.system_requests, before.system_requests + 2);
  deallocate(b, 8192);
  empty_cache();
  CHECK_EQ(memory_stats().cached, 0);
  CHECK_EQ(memory_stats().allocated, before.allocated);
}

TEST(the_cache_is_bounded) {
  const int64_t limit = memory_stats().cache_limit;
  CHECK(limit > 0);
  set_cache_limit(10000);
  std::vector<void*> blocks;
  for (int i = 0; i < 10; ++i) blocks.push_back(allocate(4096));
  for (void* block : blocks) deallocate(block, 4096);
  CHECK_EQ(memory_stats().cached, 2 * 4096);
  set_cache_limit(0);
  CHECK_EQ(memory_stats().cached, 0);
  set_cache_limit(limit);
}

TEST(impossible_requests_are_out_of_memory) {
  CHECK_THROWS(std::bad_alloc, "", allocate(std::numeric_limits<size_t>::max()));
  CHECK_THROWS(std::bad_alloc, "", allocate(size_t{1} << 60));
  CHECK_THROWS(std::bad_alloc, "", allocate(size_t{1} << 50));
  CHECK_THROWS(std::bad_alloc, "", Buffer<double>(int64_t{1} << 61));
  CHECK_THROWS(std::bad_alloc, "", Buffer<double>(-1));
  const Buffer<float> usable(10);
  CHECK(usable.get() != nullptr);
}

TEST(no_block_is_not_given_back) { deallocate(nullptr, 100); }

TEST(threads_never_share_a_block) {
  const int64_t before = memory_stats().allocated;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int round = 0; round < 500; ++round) {
        const size_t bytes = static_cast<size_t>(64 + (round % 7) * 300);
        auto* block = static_cast<unsigned char*>(allocate(bytes));
        std::memset(block, t, bytes);
        std::this_thread::yield();
        bool own = true;
        for (size_t i = 0; i < bytes; ++i) own = own && block[i] == t;
        CHECK(own);
        deallocate(block, bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(memory_stats().allocated, before);
  empty_cache();
}

}  // namespace
}  // namespace sixloop
