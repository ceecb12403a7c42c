// How a product is cut for Hopper's tensor cores: by shape alone.
#pragma once

#include <cstdint>

namespace sixloop {

// The tile of C that a block computes.
enum class WgmmaTile { m128n256, m128n128, m128n64, m64n64 };

struct WgmmaPlan {
  WgmmaTile tile;
  // The steps of k are cut into `parts` ranges of `part_k`, the last of which may be shorter. Their sums are added in
  // order.
  int64_t parts;
  int64_t part_k;
};

struct WgmmaLimits {
  int64_t processors;
  int64_t least_part_k;  // a shorter part costs more than it gains
  int64_t most_parts;
  int64_t workspace;  // elements of all parts
};
// For an H200.
constexpr WgmmaLimits kWgmmaLimits{132, 512, 64, int64_t{16} << 20};

// The tile, and the parts, with the least time for all waves of blocks. m, n, k, batches > 0.
WgmmaPlan plan_wgmma(int64_t m, int64_t n, int64_t k, int64_t batches, bool may_split,
                     const WgmmaLimits& limits = kWgmmaLimits);

// Whether a product of float32 goes through wgmma in tf32, which takes a rounded copy of B: 8 bytes of memory for each
// element, hidden behind as many products as the result has rows. A guess until it is measured. Without may_split the
// answer does not depend on m, which is a batch's: then it is taken to be large, and A across k (left_across), of which
// whole chunks may be copied where m is made of them, stays where every m can go.
struct Tf32Limits {
  int64_t least;      // rows that hide the copy
  int64_t workspace;  // elements of the copies of all batches
};
constexpr Tf32Limits kTf32Limits{512, int64_t{1} << 28};
bool plan_wgmma_tf32(int64_t m, int64_t n, int64_t k, int64_t batches, bool left_across, bool may_split,
                     const Tf32Limits& limits = kTf32Limits);

}  // namespace sixloop
