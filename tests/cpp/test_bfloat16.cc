#include "base/bfloat16.h"

#include <cmath>
#include <limits>

#include "check.h"

namespace sixloop {
namespace {

TEST(every_number_comes_back) {
  for (int i = 0; i < 1 << 16; ++i) {
    const auto number = BFloat16::from_bits(static_cast<uint16_t>(i));
    const float wide = number;
    if (wide != wide) {
      CHECK(static_cast<float>(BFloat16(wide)) != wide);
    } else {
      CHECK_EQ(BFloat16(wide).bits, number.bits);
      CHECK_EQ(BFloat16(static_cast<double>(wide)).bits, number.bits);
    }
  }
}

// Between two neighbours the middle goes to the even one, what is nearer to one goes there: also what no float32 is.
TEST(nearest_ties_to_even) {
  for (int i = 0; i < 0x7f7f; ++i) {
    const auto low = BFloat16::from_bits(static_cast<uint16_t>(i));
    const auto high = BFloat16::from_bits(static_cast<uint16_t>(i + 1));
    const double middle =
        (static_cast<double>(static_cast<float>(low)) + static_cast<double>(static_cast<float>(high))) / 2;
    const auto narrow = static_cast<float>(middle);
    const uint16_t even = i % 2 == 0 ? low.bits : high.bits;
    CHECK_EQ(BFloat16(narrow).bits, even);
    CHECK_EQ(BFloat16(std::nextafter(narrow, 0.0f)).bits, low.bits);
    CHECK_EQ(BFloat16(std::nextafter(narrow, std::numeric_limits<float>::infinity())).bits, high.bits);
    CHECK_EQ(BFloat16(middle).bits, even);
    CHECK_EQ(BFloat16(std::nextafter(middle, 0.0)).bits, low.bits);
    CHECK_EQ(BFloat16(std::nextafter(middle, 1e300)).bits, high.bits);
    CHECK_EQ(BFloat16(-std::nextafter(middle, 1e300)).bits, high.bits | 0x8000);
  }
}

TEST(what_is_too_large) {
  const double limit = 0x1p128 - 0x1p119;
  CHECK_EQ(BFloat16(limit).bits, 0x7f80);
  CHECK_EQ(BFloat16(std::nextafter(limit, 0.0)).bits, 0x7f7f);
  CHECK_EQ(BFloat16(static_cast<float>(limit)).bits, 0x7f80);
  CHECK_EQ(BFloat16(-1e300).bits, 0xff80);
  CHECK_EQ(BFloat16(std::numeric_limits<float>::max()).bits, 0x7f80);
  CHECK_EQ(BFloat16(-std::numeric_limits<float>::infinity()).bits, 0xff80);
  CHECK_EQ(BFloat16(-1e-300).bits, 0x8000);
  CHECK_EQ(BFloat16(std::numeric_limits<double>::quiet_NaN()).bits, 0x7fff);
  CHECK_EQ(BFloat16(-std::numeric_limits<float>::quiet_NaN()).bits, 0x7fff);
}

}  // namespace
}  // namespace sixloop
