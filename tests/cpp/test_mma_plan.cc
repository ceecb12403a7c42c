#include "check.h"
#include "gemm/mma_plan.h"

namespace sixloop {
namespace {

constexpr int64_t kStep = 32;

MmaPlan plan(int64_t m, int64_t n, int64_t k, int64_t batches = 1, bool only_smallest = false, bool may_split = true) {
  return plan_mma(m, n, k, batches, kStep, only_smallest, may_split);
}
void check_plan(const MmaPlan& got, MmaTile tile, int64_t parts) {
  CHECK_EQ(static_cast<int>(got.tile), static_cast<int>(tile));
  CHECK_EQ(got.parts, parts);
}

}  // namespace

TEST(large_products_take_the_largest_tile_in_one_part) {
  check_plan(plan(4096, 4096, 4096), MmaTile::m128n128, 1);
  check_plan(plan(1280, 1280, 100000), MmaTile::m128n128, 1);
}

TEST(few_columns_take_a_narrow_tile) {
  check_plan(plan(100000, 64, 576), MmaTile::m128n64, 1);
  check_plan(plan(100000, 10, 576), MmaTile::m64n64, 1);
  check_plan(plan(100000, 65, 576), MmaTile::m128n128, 1);
}

TEST(few_blocks_take_parts_or_a_smaller_tile) {
  check_plan(plan(512, 512, 512), MmaTile::m64n64, 2);  // 64 blocks of 64 x 64
  check_plan(plan(512, 512, 8192), MmaTile::m128n128, 16);
  check_plan(plan(512, 512, 8192, 1, false, false), MmaTile::m64n64, 1);
  check_plan(plan(576, 64, 802816), MmaTile::m128n64, 52);  // 5 blocks: a weight gradient of ResNet-50
  check_plan(plan(32, 32, 255), MmaTile::m64n64, 1);
  check_plan(plan(4096, 4096, 4096, 1, true), MmaTile::m64n64, 1);
}

TEST(parts_cover_all_steps) {
  for (int64_t k : {1, 511, 512, 513, 5000, 100001}) {
    for (int64_t m : {1, 100, 700}) {
      for (int64_t batches : {1, 3}) {
        const MmaPlan got = plan(m, 40, k, batches);
        if (got.parts == 1) {
          CHECK_EQ(got.part_k, k);
          continue;
        }
        CHECK_EQ(got.part_k % kStep, 0);
        CHECK(got.part_k * (got.parts - 1) < k);
        CHECK(got.part_k * got.parts >= k);
      }
    }
  }
  check_plan(plan(64, 64, 0), MmaTile::m64n64, 1);
  check_plan(plan(1, 1, (int64_t{5} << 30) + 1, 1, false, false), MmaTile::m64n64, 6);
}

TEST(the_workspace_is_bounded) {
  for (int64_t m : {64, 1000, 4608}) {
    const MmaPlan got = plan(m, 512, 1000000);
    CHECK(got.parts * m * 512 <= kMmaLimits.workspace);
  }
}

}  // namespace sixloop
