#include <algorithm>
#include <random>

#include "check.h"
#include "cuda/arena_plan.h"

namespace sixloop::cuda {
namespace {

bool meet(const Span& a, const Span& b) { return a.begin < b.end && b.begin < a.end; }
bool overlap(const Span& a, const Span& b) { return a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes; }

// Of each time: no plan has fewer bytes.
int64_t most_alive(const std::vector<Span>& spans) {
  int64_t most = 0;
  for (const Span& at : spans) {
    int64_t sum = 0;
    for (const Span& s : spans) sum += s.begin <= at.begin && at.begin < s.end ? s.bytes : 0;
    most = std::max(most, sum);
  }
  return most;
}

// Whether nothing lies where something else lives at the same time.
bool is_sound(const std::vector<Span>& spans) {
  for (const Span& a : spans) {
    for (const Span& b : spans) {
      if (a.offset < 0 || (&a != &b && meet(a, b) && overlap(a, b))) return false;
    }
  }
  return true;
}

// Returns the bytes of the plan, which is sound.
int64_t check_plan(std::vector<Span> spans) {
  const int64_t bytes = place(spans);
  CHECK(is_sound(spans));
  int64_t end = 0;
  for (const Span& s : spans) end = std::max(end, s.offset + s.bytes);
  CHECK_EQ(bytes, end);
  CHECK(bytes >= most_alive(spans));
  return bytes;
}

}  // namespace

TEST(wrong_plans_are_seen) {
  CHECK(!is_sound({{512, 0, 3, 0}, {512, 2, 4, 0}}));
  CHECK(!is_sound({{1024, 0, kForEver, 0}, {512, 5, 6, 512}}));
  CHECK(!is_sound({{512, 0, 1, -512}}));
  CHECK(is_sound({{512, 0, 3, 0}, {512, 3, 4, 0}, {512, 2, 4, 512}}));
}

TEST(a_step_without_arrays_needs_no_memory) { CHECK_EQ(check_plan({}), 0); }

TEST(arrays_that_live_together_lie_side_by_side) {
  CHECK_EQ(check_plan({{512, 0, 3}, {1024, 1, 4}, {512, 2, 5}}), 2048);
  CHECK_EQ(check_plan({{512, 0}, {1024, 1}}), 1536);  // never freed
}

TEST(arrays_of_different_times_share_a_place) {
  CHECK_EQ(check_plan({{1024, 0, 1}, {1024, 2, 3}, {512, 4, 5}}), 1024);
  // What ends where the next one begins is gone by then.
  CHECK_EQ(check_plan({{1024, 0, 2}, {1024, 2, 4}}), 1024);
  // Two small ones in the place of a large one, beside one that stays.
  CHECK_EQ(check_plan({{512, 0}, {2048, 1, 2}, {1024, 3, 6}, {1024, 4, 5}}), 2560);
}

TEST(a_gap_is_used_that_is_free_throughout) {
  // The last one fits below the second only where the first is gone.
  CHECK_EQ(check_plan({{1024, 0, 2}, {2048, 1, 9}, {1024, 3, 8}}), 3072);
  CHECK_EQ(check_plan({{1024, 0, 4}, {2048, 1, 9}, {1024, 3, 8}}), 4096);
}

TEST(random_steps_are_sound) {
  std::mt19937_64 random(7);
  const auto below = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  for (int round = 0; round < 200; ++round) {
    std::vector<Span> spans;
    int64_t clock = 0, all = 0;
    for (int64_t i = below(40); i >= 0; --i) {
      clock += 1 + below(3);
      spans.push_back({512 * (1 + below(16)), clock, below(5) == 0 ? kForEver : clock + 1 + below(20)});
      all += spans.back().bytes;
    }
    CHECK(check_plan(spans) <= all);
  }
}

}  // namespace sixloop::cuda
