#include "check.h"

#include <atomic>
#include <cstdio>
#include <vector>

namespace sixloop::check {
namespace {

struct Test {
  const char* name;
  void (*run)();
};

std::vector<Test>& tests() {
  static std::vector<Test> list;
  return list;
}

// Threads of a test may fail too.
std::atomic<int> failures{0};
std::atomic<int> skips{0};

}  // namespace

bool add_test(const char* name, void (*run)()) {
  tests().push_back({name, run});
  return true;
}

void fail(const char* file, int line, const std::string& what) {
  constexpr int kShown = 20;
  if (failures.fetch_add(1) < kShown) std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

int failure_count() { return failures.load(); }

void skip(const std::string& why) {
  skips.fetch_add(1);
  std::printf("  skipped: %s\n", why.c_str());
}

}  // namespace sixloop::check

// Without arguments all tests, else those whose names are given.
int main(int argc, char** argv) {
  using namespace sixloop::check;
  int passed = 0;
  int failed = 0;
  for (const Test& test : tests()) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; ++i) wanted = wanted || std::strcmp(argv[i], test.name) == 0;
    if (!wanted) continue;
    // Before the test, so that a crash has a name.
    std::printf("%s\n", test.name);
    std::fflush(stdout);
    const int before = failures.load();
    try {
      test.run();
    } catch (const std::exception& error) {
      fail(test.name, 0, std::string("unexpected ") + typeid(error).name() + ": " + error.what());
    }
    (failures.load() == before ? passed : failed) += 1;
  }
  if (passed + failed == 0) {
    std::fprintf(stderr, "no test of that name\n");
    return 1;
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skips.load());
  return failed == 0 ? 0 : 1;
}
