// What Hopper's products are cut into: a pure function of the shape.
#include "check.h"
#include "gemm/wgmma_plan.h"

namespace sixloop {
namespace {

constexpr int64_t kMany = int64_t{1} << 40;

WgmmaTile tile(int64_t m, int64_t n, int64_t k) { return plan_wgmma(m, n, k, 1, false).tile; }

}  // namespace

TEST(large_products_take_the_largest_tile) {
  CHECK(tile(8192, 8192, 8192) == WgmmaTile::m128n256);
  CHECK(tile(4096, 4096, 4096) == WgmmaTile::m128n256);
}

TEST(tiles_follow_the_number_of_columns) {
  CHECK(tile(200704, 64, 576) == WgmmaTile::m128n64);
  CHECK(tile(200704, 128, 576) == WgmmaTile::m128n128);
  CHECK(tile(200704, 256, 576) == WgmmaTile::m128n256);
}

TEST(tiles_follow_the_waves) {
  // 32 tiles of 128 x 256 would leave 100 processors without work.
  CHECK(tile(1024, 1024, 1024) != WgmmaTile::m128n256);
  CHECK(tile(512, 512, 512) == WgmmaTile::m64n64);
}

TEST(parts_cover_k_and_keep_their_limits) {
  for (const int64_t m : {1, 64, 200, 576, 4608}) {
    for (const int64_t n : {8, 64, 512}) {
      for (const int64_t k : {1, 64, 777, 12544, 802816}) {
        for (const int64_t batches : {1, 3}) {
          const WgmmaPlan whole = plan_wgmma(m, n, k, batches, false);
          CHECK(whole.parts == 1 && whole.part_k == k);
          const WgmmaPlan plan = plan_wgmma(m, n, k, batches, true);
          CHECK(plan.parts >= 1 && plan.parts <= kWgmmaLimits.most_parts);
          CHECK(plan.parts * plan.part_k >= k && (plan.parts - 1) * plan.part_k < k);
          CHECK(plan.parts == 1 || (plan.part_k % 64 == 0 && plan.part_k >= kWgmmaLimits.least_part_k));
          CHECK(plan.parts == 1 || plan.parts * m * n <= kWgmmaLimits.workspace);
        }
      }
    }
  }
  CHECK(plan_wgmma(576, 64, 802816, 1, true).parts > 8);  // the weight gradient of a layer of 64 channels
  CHECK_EQ(plan_wgmma(kMany, 64, 4096, 1, true).parts, 1);
}

TEST(tf32_goes_through_wgmma_where_copies_are_hidden) {
  const auto wins = [](int64_t m, int64_t n, int64_t k, bool left_across, bool may_split) {
    return plan_wgmma_tf32(m, n, k, 1, left_across, may_split);
  };
  CHECK(wins(512, 8, 64, false, true));
  CHECK(!wins(511, 4096, 4096, false, true));
  // A across k has no copy.
  CHECK(wins(512, 8, 802816, true, true));
  CHECK(!wins(511, 4096, 4096, true, true));
  // Weight gradients of 3x3 filters with 64 and 32 channels.
  CHECK(wins(576, 64, 802816, true, true));
  CHECK(!wins(288, 64, 802816, true, true));
  // A batch's rows, whose number does not matter.
  CHECK(wins(1, 64, 576, false, false));
  CHECK(!wins(4096, 4096, 4096, true, false));
  // Memory.
  CHECK(!wins(512, 512, int64_t{1} << 20, false, true));
}

}  // namespace sixloop
