// Which windows of convolutions Hopper's copy engine may bring, and which it does: by shape alone.
#pragma once

#include <cstdint>

#include "gemm/wgmma_plan.h"

namespace sixloop {

// One axis of an im2col tensor map: pixel p of the windows begins at lower + p * step, and their tap i lies
// first + i * tap further, which is not negative. From the image's last element to the last pixel's is `upper`.
struct Im2colAxis {
  int64_t lower, upper, step;
  int64_t first, tap;
};

// For windows of `taps` taps over `size` elements, whose pixel p and tap i meet at p * step + base + i * tap; tap may
// be negative. False where a map of two axes cannot say it: its corners have 8 bits with a sign, an instruction's
// displacement 8 bits without, and steps are at most 8.
bool im2col_axis(int64_t size, int64_t pixels, int64_t step, int64_t base, int64_t taps, int64_t tap, Im2colAxis* axis);

// How windows come to shared memory: gathered by all threads of a block, or by the copy engine, 64 channels of a tap at
// a time.
enum class WindowLoads { cp_async, tma };

// What a product with windows adds up: channels under taps in the forward pass and the input gradient, pixels in the
// weight gradient.
enum class Reduction { over_channels, over_pixels };

// `channels`: of a tap, of one group. A guess until it is measured. The engine wins where few of its channels are not
// this tap's (a quarter at most), and where tiles are large; small ones, two or three blocks to a processor, hide their
// addresses behind each other's products. The choice may depend on the tile, which depends on the batch, since both
// have the same bits: in sums over pixels always, in those over channels where these are a multiple of 16.
WindowLoads plan_window_loads(int64_t channels, WgmmaTile tile, Reduction reduction);

// What SIXLOOP_WINDOW_LOADS=tma or cp_async asks for, a switch of tests and measurements, or else the plan.
WindowLoads window_loads(int64_t channels, WgmmaTile tile, Reduction reduction);

}  // namespace sixloop
