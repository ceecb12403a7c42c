#include "random/random.h"

#include <algorithm>
#include <vector>

#include "base/philox.h"
#include "base/simd/u64_scalar.h"
#include "guarded.h"
#include "rows.h"

namespace sixloop {
namespace {

using check::check_same_bits;
using check::for_each_row;
using check::for_each_row_of;
using check::Guarded;
using check::values;

// Round the words, blocks and numbers that kernels make at a time.
constexpr int64_t kCounts[] = {0, 1, 2, 3, 5, 63, 64, 65, 127, 128, 200};
constexpr PhiloxKey kKey{0x0123456789abcdef, 3, 7};
constexpr uint64_t kFirst = 64 * 1000003;

void check_block(const PhiloxKey& key, uint64_t block, const std::vector<uint32_t>& expected) {
  uint32_t words[4];
  philox_blocks<scalar::U64>(key, block, words);
  CHECK(std::equal(expected.begin(), expected.end(), words));
}

// The known answers that the authors of Philox publish with Random123.
TEST(philox_gives_the_known_answers) {
  check_block({0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  check_block({~uint64_t{0}, ~0u, ~0u}, ~uint64_t{0}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  check_block({0x299f31d0a4093822, 0x13198a2e, 0x03707344}, 0x85a308d3243f6a88,
              {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// Compares every row with the scalar one, and its numbers with those that two shorter calls make.
template <class Kind, class T, class Call>
void check_stream_of(const Call& call) {
  for_each_row_of<Kind, T>([&](const Kernel& row, T) {
    const auto kernel = function_of<Kind, T>(row);
    const auto scalar = select<Kind, T>(arch_of(Isa::scalar));
    for (int64_t n : kCounts) {
      Guarded<T> y(n), expected(n);
      call(scalar, kFirst, n, expected.get());
      call(kernel, kFirst, n, y.get());
      check_same_bits(row.name, y.get(), expected.get(), n);
      const int64_t head = std::min<int64_t>(n, 64);
      Guarded<T> first(head), rest(n - head);
      call(kernel, kFirst, head, first.get());
      call(kernel, kFirst + 64, n - head, rest.get());
      check_same_bits(row.name, first.get(), expected.get(), head);
      check_same_bits(row.name, rest.get(), expected.get() + head, n - head);
    }
  });
}

template <class Kind, class Call>
void check_stream(const Call& call) {
  check_stream_of<Kind, float>(call);
  check_stream_of<Kind, double>(call);
}

TEST(random_bits) {
  check_stream_of<RandomBits, int64_t>(
      [](auto kernel, uint64_t first, int64_t n, auto* y) { kernel(kKey, first, n, y); });
}

TEST(random_uniform) {
  check_stream<RandomUniform>([](auto kernel, uint64_t first, int64_t n, auto* y) {
    kernel(kKey, first, n, -1.0, 4.0, 3, y);
    for (int64_t i = 0; i < n; ++i) CHECK(y[i] >= -1 && y[i] <= 3);
  });
}

TEST(random_normal) {
  check_stream<RandomNormal>(
      [](auto kernel, uint64_t first, int64_t n, auto* y) { kernel(kKey, first, n, 0.5, 2.0, y); });
}

TEST(dropout) {
  for_each_row<Dropout>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Dropout, T>(row);
    const auto scalar = select<Dropout, T>(arch_of(Isa::scalar));
    for (int64_t n : kCounts) {
      for (uint32_t threshold : {0u, 1u << 30, ~0u}) {
        Guarded<T> x(values<T>(n, 1)), y(n), expected(n);
        scalar(kKey, kFirst, n, x.get(), threshold, static_cast<T>(1.25), expected.get());
        kernel(kKey, kFirst, n, x.get(), threshold, static_cast<T>(1.25), y.get());
        check_same_bits(row.name, y.get(), expected.get(), n);
        kernel(kKey, kFirst, n, x.get(), threshold, static_cast<T>(1.25), x.get());
        check_same_bits(row.name, x.get(), expected.get(), n);
      }
    }
  });
}

}  // namespace
}  // namespace sixloop
