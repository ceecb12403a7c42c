// The twins of the instructions of csrc/cuda/ptx.h, which says what they do. They are modelled so that what is wrong
// shows, not as one GPU happens to behave:
//
// An asynchronous copy makes its target NaN when it is issued, and lands (and reads its source) when its thread waits
// for it: whoever reads too early, or still reads what is overwritten, gets NaN. Misaligned addresses, and those beyond
// the block's shared memory, are errors; so are copies that nobody has waited for.
//
// Sums of products are exact before they are cut off to float32, as tensor cores are known to do.
#pragma once

#include <cuda_runtime.h>

namespace simt {

void copy_later(void* shared, const void* global, size_t bytes, bool present, const Location& where);
void wait_for_copies(size_t pending, const Location& where);

namespace ptx {

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

}  // namespace ptx
}  // namespace simt
