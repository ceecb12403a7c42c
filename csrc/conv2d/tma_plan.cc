#include "conv2d/tma_plan.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/validate.h"

namespace sixloop {

bool im2col_axis(int64_t size, int64_t pixels, int64_t step, int64_t base, int64_t taps, int64_t tap,
                 Im2colAxis* axis) {
  constexpr int64_t kLeastCorner = -128, kMostCorner = 127, kMostDisplacement = 255, kMostStep = 8;
  const int64_t reach = (taps - 1) * tap, least = std::min<int64_t>(reach, 0);
  axis->lower = base + least;
  axis->upper = axis->lower + (pixels - 1) * step - (size - 1);
  axis->step = step;
  axis->first = -least;
  axis->tap = tap;
  const auto is_corner = [](int64_t at) { return at >= kLeastCorner && at <= kMostCorner; };
  return is_corner(axis->lower) && is_corner(axis->upper) && std::abs(reach) <= kMostDisplacement && step >= 1 &&
         step <= kMostStep;
}

WindowLoads plan_window_loads(int64_t channels, WgmmaTile tile, Reduction reduction) {
  constexpr int64_t kBox = 64, kGroup = 16;  // steps of k of an instruction
  const int64_t brought = (channels + kBox - 1) / kBox * kBox;
  const bool same_bits = reduction == Reduction::over_pixels || channels % kGroup == 0;
  const bool wins = same_bits && 4 * channels >= 3 * brought && tile != WgmmaTile::m64n64;
  return wins ? WindowLoads::tma : WindowLoads::cp_async;
}

WindowLoads window_loads(int64_t channels, WgmmaTile tile, Reduction reduction) {
  const char* const forced = std::getenv("SIXLOOP_WINDOW_LOADS");
  if (forced == nullptr || *forced == '\0') return plan_window_loads(channels, tile, reduction);
  const std::string name = forced;
  if (name == "tma") return WindowLoads::tma;
  if (name == "cp_async") return WindowLoads::cp_async;
  value_error("[conv2d] SIXLOOP_WINDOW_LOADS is \"", name, "\"; valid: tma, cp_async");
}

}  // namespace sixloop
