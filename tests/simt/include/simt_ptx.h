// The twins of the instructions of csrc/cuda/ptx.h, which says what they do. They are modelled so that what is wrong
// shows, not as one GPU happens to behave:
//
// An asynchronous copy makes its target NaN when it is issued, and lands (and reads its source) when its thread waits
// for it: whoever reads too early, or still reads what is overwritten, gets NaN. Misaligned addresses, and those beyond
// the block's shared memory, are errors; so are copies that nobody has waited for.
//
// A tile of tma_load lands when nobody can go on before a thread that waits for its barrier does; wgmma reads its
// operands, registers too, and writes its accumulators, which are NaN until then, when its warp waits for it, and the
// warps of a warpgroup are not kept together. What cp_async has written is not for wgmma before the thread's
// fence_proxy_async; ordinary stores are not followed.
//
// Sums of products are exact before they are cut off to float32, as tensor cores are known to do.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

namespace simt {

void copy_later(void* shared, const void* global, size_t bytes, bool present, const Location& where);
void wait_for_copies(size_t pending, const Location& where);

void load_box(void* shared, const CUtensorMap* map, uint64_t* barrier, const int* at, int rank, const Location& where);
void load_im2col(void* shared, const CUtensorMap* map, uint64_t* barrier, const int (&at)[4], int right, int down,
                 const Location& where);
// `a_registers`: those of tf32, null where a is in shared memory.
void multiply_later(float* d, int n, uint64_t a, const uint32_t* a_registers, uint64_t b, bool accumulate,
                    bool across_a, bool across_b, const Location& where);
void wait_for_products(size_t pending, const Location& where);

namespace ptx {

uint32_t shared_address(const void* p);

template <int kBytes>
void cp_async(void* shared, const void* global, bool present, const Location& where = Location::current()) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  copy_later(shared, global, kBytes, present, where);
}
void cp_async_commit();
template <int kPending>
void cp_async_wait(const Location& where = Location::current()) {
  wait_for_copies(kPending, where);
}

void ldmatrix_x4(uint32_t (&r)[4], const void* row, const Location& where = Location::current());
void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row, const Location& where = Location::current());
void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
              const Location& where = Location::current());
void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
              const Location& where = Location::current());
uint32_t to_tf32(float x);

void mbarrier_init(uint64_t* barrier, uint32_t count, const Location& where = Location::current());
void mbarrier_init_fence();
void mbarrier_arrive(uint64_t* barrier, const Location& where = Location::current());
void mbarrier_arrive_expect_tx(uint64_t* barrier, uint32_t bytes, const Location& where = Location::current());
void mbarrier_wait(uint64_t* barrier, uint32_t parity, const Location& where = Location::current());
void fence_proxy_async();

template <int kRank>
void tma_load(void* shared, const CUtensorMap* map, uint64_t* barrier, const int (&at)[kRank],
              const Location& where = Location::current()) {
  static_assert(kRank >= 2 && kRank <= 5);
  load_box(shared, map, barrier, at, kRank, where);
}
inline void tma_load_im2col(void* shared, const CUtensorMap* map, uint64_t* barrier, const int (&at)[4], int right,
                            int down, const Location& where = Location::current()) {
  load_im2col(shared, map, barrier, at, right, down, where);
}
inline void tma_prefetch(const CUtensorMap*) {}

uint64_t wgmma_operand(const void* shared, uint32_t next_lines, uint32_t next_tile);
void wgmma_fence();
void wgmma_commit();
template <int kPending>
void wgmma_wait(const Location& where = Location::current()) {
  wait_for_products(kPending, where);
}
template <int kCount>
void wgmma_hold(float (&)[kCount]) {}
template <int kCount>
void wgmma_hold(uint32_t (&)[kCount]) {}
template <int N, bool kAcrossA, bool kAcrossB>
void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate,
                const Location& where = Location::current()) {
  static_assert(N == 64 || N == 128 || N == 256);
  multiply_later(d, N, a, nullptr, b, accumulate, kAcrossA, kAcrossB, where);
}
template <int N>
void wgmma_tf32(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate,
                const Location& where = Location::current()) {
  static_assert(N == 64 || N == 128 || N == 256);
  multiply_later(d, N, 0, a, b, accumulate, false, false, where);
}
template <int kCount>
void decrease_registers() {}
template <int kCount>
void increase_registers() {}

}  // namespace ptx
}  // namespace simt
