// How windows of convolutions come to Hopper's tensor cores: pure functions of the shape.
#include <cstdlib>
#include <stdexcept>

#include "check.h"
#include "conv2d/tma_plan.h"

namespace sixloop {

TEST(axes_are_those_of_the_convolution) {
  for (const int64_t size : {1, 5, 14, 224}) {
    for (const int64_t taps : {1, 2, 3, 7}) {
      for (const int64_t tap : {1, 2, -1, -3}) {
        for (const int64_t step : {1, 2, 8}) {
          for (const int64_t base : {-3, 0, 2}) {
            for (const int64_t pixels : {1, 2, 9}) {
              Im2colAxis axis;
              const int64_t reach = (pixels - 1) * step;
              if (!im2col_axis(size, pixels, step, base, taps, tap, &axis)) {
                CHECK(size > 100 || reach > 50);  // of what is here only corners are too far away
                continue;
              }
              for (int64_t i = 0; i < taps; ++i) {
                CHECK(axis.first + i * axis.tap >= 0);
                CHECK_EQ(axis.lower + axis.first + i * axis.tap, base + i * tap);
              }
              CHECK_EQ(axis.lower + reach, size - 1 + axis.upper);  // the last pixel
              CHECK_EQ(axis.step, step);
            }
          }
        }
      }
    }
  }
}

TEST(axes_have_the_limits_of_maps) {
  Im2colAxis axis;
  const auto possible = [&](int64_t pixels, int64_t step, int64_t base, int64_t taps, int64_t tap) {
    return im2col_axis(100, pixels, step, base, taps, tap, &axis);
  };
  CHECK(possible(100, 1, -1, 3, 1));
  CHECK(possible(100, 1, -128, 1, 1));
  CHECK(!possible(100, 1, -129, 1, 1));
  CHECK(possible(100, 1, 100, 1, 1));
  CHECK(!possible(100, 1, 128, 1, 1));
  CHECK(!possible(300, 1, 0, 1, 1));  // the far corner
  CHECK(possible(10, 8, 0, 1, 1));
  CHECK(!possible(10, 9, 0, 1, 1));
  CHECK(possible(100, 1, -100, 2, 255));
  CHECK(!possible(100, 1, -100, 2, 256));
  CHECK(possible(100, 1, 127, 2, -255));
}

TEST(the_engine_brings_whole_boxes_to_large_tiles) {
  constexpr auto kTma = WindowLoads::tma, kGathered = WindowLoads::cp_async;
  for (const auto reduction : {Reduction::over_channels, Reduction::over_pixels}) {
    for (const auto tile : {WgmmaTile::m128n256, WgmmaTile::m128n128, WgmmaTile::m128n64}) {
      for (const int64_t channels : {48, 64, 96, 128, 256, 512}) {
        CHECK(plan_window_loads(channels, tile, reduction) == kTma);
      }
      for (const int64_t channels : {8, 16, 24, 40, 72, 80, 136}) {
        CHECK(plan_window_loads(channels, tile, reduction) == kGathered);
      }
      // Sums over channels would have other bits than those of windows that are gathered.
      const bool pixels = reduction == Reduction::over_pixels;
      for (const int64_t channels : {56, 104, 152}) {
        CHECK(plan_window_loads(channels, tile, reduction) == (pixels ? kTma : kGathered));
      }
    }
    CHECK(plan_window_loads(64, WgmmaTile::m64n64, reduction) == kGathered);
  }
}

TEST(loads_may_be_forced) {
  const auto loads = [](int64_t channels, WgmmaTile tile) {
    const WindowLoads of_weights = window_loads(channels, tile, Reduction::over_pixels);
    CHECK(of_weights == window_loads(channels, tile, Reduction::over_channels));
    return of_weights;
  };
  setenv("SIXLOOP_WINDOW_LOADS", "tma", 1);
  CHECK(loads(8, WgmmaTile::m64n64) == WindowLoads::tma);
  setenv("SIXLOOP_WINDOW_LOADS", "cp_async", 1);
  CHECK(loads(64, WgmmaTile::m128n256) == WindowLoads::cp_async);
  setenv("SIXLOOP_WINDOW_LOADS", "by hand", 1);
  CHECK_THROWS(std::invalid_argument, "valid: tma, cp_async", loads(64, WgmmaTile::m128n256));
  unsetenv("SIXLOOP_WINDOW_LOADS");
  CHECK(loads(64, WgmmaTile::m128n256) == WindowLoads::tma);
}

}  // namespace sixloop
