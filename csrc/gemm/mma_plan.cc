#include "gemm/mma_plan.h"

#include <algorithm>

namespace sixloop {
namespace {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Of a part: they are counted in 32 bits.
constexpr int64_t kMostSteps = int64_t{1} << 30;

struct Candidate {
  MmaTile tile;
  int64_t bm, bn;
};
constexpr Candidate kCandidates[] = {
    {MmaTile::m128n128, 128, 128}, {MmaTile::m128n64, 128, 64}, {MmaTile::m64n64, 64, 64}};

}  // namespace

MmaPlan plan_mma(int64_t m, int64_t n, int64_t k, int64_t batches, int64_t step, bool only_smallest, bool may_split,
                 const MmaLimits& limits) {
  const int64_t size = m * n * batches;
  const int64_t most_parts =
      may_split ? std::max<int64_t>(1, std::min({k / limits.least_part_k, limits.most_parts, limits.workspace / size}))
                : 1;
  for (const Candidate& candidate : kCandidates) {
    const bool last = candidate.tile == MmaTile::m64n64;
    if (only_smallest && !last) continue;
    // A tile of twice the columns would be empty in its second half.
    if (!last && (n <= candidate.bn / 2 || m <= candidate.bm / 2)) continue;
    const int64_t blocks = ceil_div(m, candidate.bm) * ceil_div(n, candidate.bn) * batches;
    if (!last && blocks * most_parts < limits.enough_blocks) continue;
    int64_t parts = 1;
    if (blocks < limits.enough_blocks) parts = std::clamp<int64_t>(limits.full_blocks / blocks, 1, most_parts);
    parts = std::max(parts, ceil_div(k, kMostSteps));
    if (parts <= 1) return {candidate.tile, 1, k};
    const int64_t part_k = ceil_div(ceil_div(k, parts), step) * step;
    return {candidate.tile, ceil_div(k, part_k), part_k};
  }
  return {MmaTile::m64n64, 1, k};
}

}  // namespace sixloop
