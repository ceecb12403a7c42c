// What code that launches kernels tells a dry run (cuda/dry_run.h). Without one these functions do nothing.
#pragma once

#include <cstdint>

namespace sixloop::cuda {

// What multiplies in a kernel, and how its operands come to shared memory.
enum class Cores { simt, mma, wgmma, wgmma_tma };

// A product: the tile of the result that a block computes, with `k` steps between two barriers, and the parts of the
// sum, each with blocks of its own.
struct TileNote {
  Cores cores;
  const char* type;  // "bf16"
  int64_t m, n, k, parts;
  bool operator==(const TileNote&) const = default;
};

// Of this thread.
bool is_dry_run();
// Of the next launch.
void note_tile(const TileNote& tile);
// The rule that chose among kernels.
void note_reason(const char* reason);

}  // namespace sixloop::cuda
