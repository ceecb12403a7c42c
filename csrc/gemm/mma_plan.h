// How a product is cut for the tensor cores: by shape alone.
#pragma once

#include <cstdint>

namespace sixloop {

// The tile of C that a block computes.
enum class MmaTile { m128n128, m128n64, m64n64 };

struct MmaPlan {
  MmaTile tile;
  // The steps of k are cut into `parts` ranges of `part_k`, the last of which may be shorter. Their sums are added in
  // order.
  int64_t parts;
  int64_t part_k;
};

struct MmaLimits {
  int64_t enough_blocks;  // that keep a GPU busy: a smaller tile, or more parts, where there are fewer
  int64_t full_blocks;    // that run at the same time; more parts than that would wait
  int64_t least_part_k;   // a shorter part costs more than it gains
  int64_t most_parts;
  int64_t workspace;  // elements of all parts
};
// For an H200's 132 processors, which hold two blocks of the largest tile each.
constexpr MmaLimits kMmaLimits{96, 264, 256, 256, int64_t{16} << 20};

// m, n > 0. `step`: the kernel's steps of k at a time. `only_smallest`: operands that no 16 bytes may be copied of
// have kernels of the smallest tile alone.
MmaPlan plan_mma(int64_t m, int64_t n, int64_t k, int64_t batches, int64_t step, bool only_smallest, bool may_split,
                 const MmaLimits& limits = kMmaLimits);

}  // namespace sixloop
