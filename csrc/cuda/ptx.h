// Instructions that C++ has no word for: asynchronous copies, tensor cores. This is the only file with PTX. Under the
// emulator the same names are the twins of tests/simt/include/simt_ptx.h, which also find faults that a GPU hides.
#pragma once

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

#endif

}  // namespace sixloop::cuda::ptx
