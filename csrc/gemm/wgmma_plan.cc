#include "gemm/wgmma_plan.h"

#include <algorithm>

namespace sixloop {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr int64_t kStep = 64;  // of k, between two barriers

struct Candidate {
  WgmmaTile tile;
  int64_t bm, bn;
  int64_t blocks;  // that a processor holds
  // Shares of the tensor cores' peak that a processor full of these tiles may reach: guesses from what other kernels
  // with such tiles were seen to reach, to be replaced by measurements.
  double efficiency;
};
constexpr Candidate kCandidates[] = {{WgmmaTile::m128n256, 128, 256, 1, 0.80},
                                     {WgmmaTile::m128n128, 128, 128, 1, 0.70},
                                     {WgmmaTile::m128n64, 128, 64, 2, 0.50},
                                     {WgmmaTile::m64n64, 64, 64, 3, 0.35}};
// Prologue and epilogue of a block, in steps of k.
constexpr double kOverheadSteps = 6;

}  // namespace

WgmmaPlan plan_wgmma(int64_t m, int64_t n, int64_t k, int64_t batches, bool may_split, const WgmmaLimits& limits) {
  const int64_t most_parts =
      may_split
          ? std::max<int64_t>(1, std::min({k / limits.least_part_k, limits.most_parts, limits.workspace / (m * n)}))
          : 1;
  WgmmaPlan best{WgmmaTile::m128n256, 1, k};
  double least = -1;
  for (const Candidate& c : kCandidates) {
    const int64_t tiles = ceil_div(m, c.bm) * ceil_div(n, c.bn) * batches;
    const int64_t full = limits.processors * c.blocks;
    const int64_t wanted = std::clamp<int64_t>(full / tiles, 1, most_parts);
    const int64_t part_k = wanted == 1 ? k : ceil_div(ceil_div(k, wanted), kStep) * kStep;
    const int64_t parts = ceil_div(k, part_k);
    const int64_t blocks = tiles * parts;
    // A processor that holds fewer blocks than it could is faster for each of them.
    const int64_t waves = ceil_div(blocks, full);
    const int64_t together = std::min(c.blocks, ceil_div(blocks, limits.processors));
    const double steps = static_cast<double>(ceil_div(part_k, kStep)) + kOverheadSteps;
    const double work = static_cast<double>(waves * together * c.bm * c.bn) * steps / c.efficiency;
    if (least >= 0 && work >= least) continue;
    least = work;
    best = {c.tile, parts, part_k};
  }
  return best;
}

bool plan_wgmma_tf32(int64_t m, int64_t n, int64_t k, int64_t batches, bool left_across, bool may_split,
                     const Tf32Limits& limits) {
  if (may_split ? m < limits.least : left_across) return false;
  return batches * k * n <= limits.workspace;
}

}  // namespace sixloop
