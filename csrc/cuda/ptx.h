// Instructions that C++ has no word for: asynchronous copies, tensor cores. This is the only file with PTX. Under the
// emulator the same names are the twins of tests/simt/include/simt_ptx.h, which also find faults that a GPU hides.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

#if !defined(__CUDACC__)
#include <simt_ptx.h>
#endif

namespace sixloop::cuda::ptx {

#if !defined(__CUDACC__)
using namespace simt::ptx;
#else

// Where generic pointers point to, in the window of shared memory.
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// --- Compute capability 8.0: copies from global to shared memory that the thread does not wait for.

// Copies kBytes (4, 8 or 16; both addresses are multiples of it), or writes zeros where `present` is false: `global` is
// not read then. Until the wait that covers it, and for other threads the barrier after it, nobody may touch `shared`.
template <int kBytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, bool present) {
  static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16);
  const int bytes = present ? kBytes : 0;
  if constexpr (kBytes == 16) {  // past the first-level cache: a tile is read once by a block
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)),
                 "l"(__cvta_generic_to_global(global)), "n"(kBytes), "r"(bytes)
                 : "memory");
  }
}

// The thread's copies since its last commit become a group, which may be empty.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kPending of the thread's latest groups are under way.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// --- Compute capability 8.0: tensor cores. All 32 lanes of a warp take part. Lane l has g = l / 4 and t = l % 4.

// Four matrices of 8 x 8 elements of 16 bits. Lane l brings the address of row l % 8 of matrix l / 8 (16 bytes, aligned
// to 16) and gets, of each matrix, the elements (g, 2 t) and (g, 2 t + 1).
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same matrices transposed: lane l gets the elements (2 t, g) and (2 t + 1, g).
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// d += a b for a [16, 16], b [16, 8], d [16, 8]. Two bfloat16 to a register, the one with the lower index in the lower
// half:
//   a: (g, 2t..), (g + 8, 2t..), (g, 2t + 8..), (g + 8, 2t + 8..)      as ldmatrix_x4 loads 2 x 2 matrices, row by row
//   b: (2t.., g), (2t + 8.., g)
//   d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)
// Products are exact; how the sum is rounded is the chip's: at best to nearest, at worst each term is cut off at the
// last place of the largest.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b for a [16, 8], b [8, 8], d [16, 8] as above, of float32 whose 13 lowest bits are ignored:
//   a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
//   b: (t, g), (t + 4, g)
__device__ __forceinline__ void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The nearest number of 10 explicit bits of mantissa, ties away from zero.
__device__ __forceinline__ uint32_t to_tf32(float x) {
  uint32_t r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}

// --- Compute capability 9.0 (sm_90a): barriers in shared memory, copies of tiles, tensor cores of a warpgroup.

// A barrier in shared memory, 8 bytes. A phase of it ends when `count` threads have arrived and as many bytes have come
// as were expected; its phases have parities 0, 1, 0, ... One thread initialises it, calls the fence, and a block
// barrier follows.
__device__ __forceinline__ void mbarrier_init(uint64_t* barrier, uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}
__device__ __forceinline__ void mbarrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive_expect_tx(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}

// Waits until a phase of this parity has ended: at once for parity 1 of a new barrier.
__device__ __forceinline__ void mbarrier_wait(uint64_t* barrier, uint32_t parity) {
  const uint32_t address = shared_address(barrier);
  for (uint32_t tries = 0;; ++tries) {
    uint32_t done;
    asm volatile(
        "{\n"
        ".reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n"
        "}"
        : "=r"(done)
        : "r"(address), "r"(parity)
        : "memory");
    if (done != 0) return;
#if !defined(NDEBUG)
    if (tries == 1u << 22) __trap();  // a kernel that hangs would take the GPU with it
#endif
  }
}

// What this thread has written to shared memory, cp_async included, becomes visible to wgmma and tma_load: before the
// barrier after which they are issued.
__device__ __forceinline__ void fence_proxy_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// A box of a tensor, whose first element has these coordinates (fastest first; they may be outside, where the tensor is
// zero), comes to `shared`, aligned to 1024 bytes, and its bytes to the barrier.
template <int kRank>
__device__ __forceinline__ void tma_load(void* shared, const CUtensorMap* map, uint64_t* barrier,
                                         const int (&at)[kRank]) {
  static_assert(kRank >= 2 && kRank <= 5);
  const uint32_t to = shared_address(shared), arrives = shared_address(barrier);
  if constexpr (kRank == 2) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
            to),
        "l"(map), "r"(arrives), "r"(at[0]), "r"(at[1])
        : "memory");
  } else if constexpr (kRank == 3) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
        "[%2];" ::"r"(to),
        "l"(map), "r"(arrives), "r"(at[0]), "r"(at[1]), "r"(at[2])
        : "memory");
  } else if constexpr (kRank == 4) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
        "[%2];" ::"r"(to),
        "l"(map), "r"(arrives), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
        : "memory");
  } else {
    asm volatile(
        "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
        "[%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(to),
        "l"(map), "r"(arrives), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4])
        : "memory");
  }
}
// The pixels that a tap of a convolution's filter meets, of images [n, h, w, c] whose map is an im2col one: from the
// pixel at = {c, w, h, n} on as many as the map says, in its steps along rows, row by row and image by image within its
// box, each of them `right` and `down` (below 256) further when it is read. What is outside of an image is zero.
__device__ __forceinline__ void tma_load_im2col(void* shared, const CUtensorMap* map, uint64_t* barrier,
                                                const int (&at)[4], int right, int down) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]),
      "h"(static_cast<uint16_t>(right)), "h"(static_cast<uint16_t>(down))
      : "memory");
}
__device__ __forceinline__ void tma_prefetch(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// Where wgmma finds an operand in shared memory: tiles with 128-byte swizzle, as tma_load writes them, in which piece c
// (16 bytes) of line r (128 bytes) lies at piece c ^ r % 8. Lines are rows or columns of C for an operand whose
// neighbours in memory are neighbours along k, and then `next_lines` is from 8 of them to the next 8 (1024 bytes where
// they follow each other) and `next_tile` is not used; a start 32 bytes further is the next step of k. Otherwise lines
// are steps of k with 64 elements each, `next_lines` from 8 steps to the next 8, and `next_tile` from 64 rows or
// columns to the next 64. Tiles are aligned to 1024 bytes.
__device__ __forceinline__ uint64_t wgmma_operand(const void* shared, uint32_t next_lines, uint32_t next_tile) {
  return uint64_t{1} << 62 | static_cast<uint64_t>(next_lines >> 4) << 32 |
         static_cast<uint64_t>(next_tile >> 4) << 16 | (shared_address(shared) & 0x3ffff) >> 4;
}

// Before the first wgmma, and before any that follows a wait: registers of accumulators are as they should be.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most kPending groups are under way. Until then nobody may read accumulators or change operands.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
// Keeps the compiler from moving a use of the accumulators over the wait before it.
template <int kCount>
__device__ __forceinline__ void wgmma_hold(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// Keeps what wgmma reads in registers until here: after the wait.
template <int kCount>
__device__ __forceinline__ void wgmma_hold(uint32_t (&a)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(a[i])::"memory");
}

#define SIXLOOP_TEN(t) \
  "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, %" #t "7, %" #t "8, %" #t "9"
#define SIXLOOP_32_NAMES SIXLOOP_TEN() ", " SIXLOOP_TEN(1) ", " SIXLOOP_TEN(2) ", %30, %31"
#define SIXLOOP_64_NAMES                                                                            \
  SIXLOOP_TEN()                                                                                     \
  ", " SIXLOOP_TEN(1) ", " SIXLOOP_TEN(2) ", " SIXLOOP_TEN(3) ", " SIXLOOP_TEN(4) ", " SIXLOOP_TEN( \
      5) ", %60, %61, %62, %63"
#define SIXLOOP_128_NAMES \
  SIXLOOP_TEN() ", " SIXLOOP_TEN(1) ", " SIXLOOP_TEN(2) ", " SIXLOOP_TEN(3) ", " SIXLOOP_TEN(4) ", " SIXLOOP_TEN(5) \
      ", " SIXLOOP_TEN(6) ", " SIXLOOP_TEN(7) ", " SIXLOOP_TEN(8) ", " SIXLOOP_TEN(9) ", " SIXLOOP_TEN(10) ", " \
      SIXLOOP_TEN(11) ", %120, %121, %122, %123, %124, %125, %126, %127"
#define SIXLOOP_8_FLOATS(i)                                                                             \
  "+f"(d[i]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3]), "+f"(d[(i) + 4]), "+f"(d[(i) + 5]), \
      "+f"(d[(i) + 6]), "+f"(d[(i) + 7])
#define SIXLOOP_32_FLOATS(i) \
  SIXLOOP_8_FLOATS(i), SIXLOOP_8_FLOATS((i) + 8), SIXLOOP_8_FLOATS((i) + 16), SIXLOOP_8_FLOATS((i) + 24)
#define SIXLOOP_WGMMA(instruction, names, a, b, p, end)                                                        \
  "{\n.reg .pred p;\nsetp.ne.b32 p, %" #p ", 0;\nwgmma.mma_async.sync.aligned." instruction " {" names "}, " a \
  ", %" #b ", p, 1, 1" end ";\n}"

// d [64, N] = a [64, 16] b [16, N] (+ d) of a warpgroup: four warps whose first has a number divisible by 4. Warp w of
// them has rows 16 w to 16 w + 15; of columns 8 j to 8 j + 7 a lane has the four elements of mma_bf16's d, at d[4 j].
// kAcross: the operand's neighbours in memory are neighbours across k.
template <int N, bool kAcrossA, bool kAcrossB>
__device__ __forceinline__ void wgmma_bf16(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate) {
  static_assert(N == 64 || N == 128 || N == 256);
  if constexpr (N == 64) {
    asm volatile(SIXLOOP_WGMMA("m64n64k16.f32.bf16.bf16", SIXLOOP_32_NAMES, "%32", 33, 34, ", %35, %36")
                 : SIXLOOP_32_FLOATS(0)
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(kAcrossA), "n"(kAcrossB));
  } else if constexpr (N == 128) {
    asm volatile(SIXLOOP_WGMMA("m64n128k16.f32.bf16.bf16", SIXLOOP_64_NAMES, "%64", 65, 66, ", %67, %68")
                 : SIXLOOP_32_FLOATS(0), SIXLOOP_32_FLOATS(32)
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(kAcrossA), "n"(kAcrossB));
  } else {
    asm volatile(SIXLOOP_WGMMA("m64n256k16.f32.bf16.bf16", SIXLOOP_128_NAMES, "%128", 129, 130, ", %131, %132")
                 : SIXLOOP_32_FLOATS(0), SIXLOOP_32_FLOATS(32), SIXLOOP_32_FLOATS(64), SIXLOOP_32_FLOATS(96)
                 : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)), "n"(kAcrossA), "n"(kAcrossB));
  }
}

// The same for 8 steps of k of float32, of which the 13 lowest bits are ignored, with a in registers: a warp has its 16
// rows as mma_tf32 has them. They stay as they are until the wait. b's neighbours in memory are neighbours along k.
template <int N>
__device__ __forceinline__ void wgmma_tf32(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  static_assert(N == 64 || N == 128 || N == 256);
  if constexpr (N == 64) {
    asm volatile(SIXLOOP_WGMMA("m64n64k8.f32.tf32.tf32", SIXLOOP_32_NAMES, "{%32, %33, %34, %35}", 36, 37, "")
                 : SIXLOOP_32_FLOATS(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
  } else if constexpr (N == 128) {
    asm volatile(SIXLOOP_WGMMA("m64n128k8.f32.tf32.tf32", SIXLOOP_64_NAMES, "{%64, %65, %66, %67}", 68, 69, "")
                 : SIXLOOP_32_FLOATS(0), SIXLOOP_32_FLOATS(32)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
  } else {
    asm volatile(SIXLOOP_WGMMA("m64n256k8.f32.tf32.tf32", SIXLOOP_128_NAMES, "{%128, %129, %130, %131}", 132, 133, "")
                 : SIXLOOP_32_FLOATS(0), SIXLOOP_32_FLOATS(32), SIXLOOP_32_FLOATS(64), SIXLOOP_32_FLOATS(96)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(static_cast<int>(accumulate)));
  }
}

#undef SIXLOOP_WGMMA
#undef SIXLOOP_32_FLOATS
#undef SIXLOOP_8_FLOATS
#undef SIXLOOP_128_NAMES
#undef SIXLOOP_64_NAMES
#undef SIXLOOP_32_NAMES
#undef SIXLOOP_TEN

// A warpgroup gives back registers, or takes some: kCount for each thread from now on.
template <int kCount>
__device__ __forceinline__ void decrease_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void increase_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

#endif

}  // namespace sixloop::cuda::ptx
