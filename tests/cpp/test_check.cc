// The tests' own tools must notice what a broken kernel does.
#include <sys/wait.h>
#include <unistd.h>

#include "guarded.h"

namespace sixloop::check {
namespace {

// True where `f` ends the process that runs it.
template <class F>
bool is_fatal(F f) {
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);  // a sanitizer's report of what is wanted here
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(leaving_a_buffer_is_fatal) {
  for (int64_t n : {0, 1, 5, 1024, 5000}) {
    Guarded<float> buffer(n);
    volatile float* data = buffer.get();
    CHECK(!is_fatal([&] {
      for (int64_t i = 0; i < n; ++i) data[i] = data[i] + 1;
    }));
    CHECK(is_fatal([&] { data[n] = 1; }));
    CHECK(is_fatal([&] { (void)data[n]; }));
  }
}

TEST(writing_in_front_of_a_buffer_fails) {
  const auto writes_in_front = [] {
    {
      Guarded<float> buffer(10);
      volatile float* data = buffer.get();
      data[-1] = 1;
    }
    if (failure_count() > 0) _exit(1);
  };
  CHECK(is_fatal(writes_in_front));
}

TEST(equality_is_of_bits) {
  CHECK(same_bits(1.0f, 1.0f));
  CHECK(same_bits(0.0 / 0.0, -(0.0 / 0.0)));
  CHECK(!same_bits(0.0f, -0.0f));
  CHECK(!same_bits(1.0f, 1.0f + 0x1p-23f));
  CHECK(!same_bits(1.0f, 0.0f / 0.0f));
}

}  // namespace
}  // namespace sixloop::check
