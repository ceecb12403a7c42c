#include "base/thread_pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "base/allocator.h"
#include "check.h"

namespace sixloop {
namespace {

class Threads {
 public:
  explicit Threads(int64_t threads) : before_(num_threads()) { set_num_threads(threads); }
  ~Threads() { set_num_threads(before_); }

 private:
  int before_;
};

// True where tasks 0 ... tasks - 1 ran once each.
bool runs_each_task_once(int64_t tasks) {
  std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
  parallel_for(tasks, [&](int64_t task) { runs[static_cast<size_t>(task)].fetch_add(1); });
  for (const auto& count : runs) {
    if (count.load() != 1) return false;
  }
  return true;
}

TEST(every_task_runs_once) {
  for (int64_t threads : {1, 2, 3, 7}) {
    const Threads scope(threads);
    for (int64_t tasks : {0, 1, 2, 3, 16, 1000}) CHECK(runs_each_task_once(tasks));
  }
}

TEST(ranges_cover_and_do_not_depend_on_threads) {
  for (int64_t count : {0, 1, 63, 64, 65, 1000, 100003}) {
    for (int64_t grain : {1, 64, 5000}) {
      std::vector<std::pair<int64_t, int64_t>> one_thread;
      for (int64_t threads : {1, 3}) {
        const Threads scope(threads);
        std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
        std::vector<std::atomic<int64_t>> ends(static_cast<size_t>(count));
        parallel_ranges(count, grain, [&](int64_t begin, int64_t end) {
          CHECK(begin < end);
          ends[static_cast<size_t>(begin)].store(end);
          for (int64_t i = begin; i < end; ++i) runs[static_cast<size_t>(i)].fetch_add(1);
        });
        std::vector<std::pair<int64_t, int64_t>> ranges;
        for (int64_t i = 0; i < count; ++i) {
          CHECK_EQ(runs[static_cast<size_t>(i)].load(), 1);
          if (ends[static_cast<size_t>(i)].load() > 0) ranges.emplace_back(i, ends[static_cast<size_t>(i)].load());
        }
        if (threads == 1) {
          one_thread = ranges;
        } else {
          CHECK(ranges == one_thread);
        }
      }
    }
  }
}

TEST(an_exception_reaches_the_caller_and_the_pool_lives_on) {
  for (int64_t threads : {1, 2, 5}) {
    const Threads scope(threads);
    for (int64_t bad : {0, 7, 99}) {
      const auto thrower = [bad](int64_t task) {
        if (task == bad) throw std::runtime_error("task failed");
      };
      CHECK_THROWS(std::runtime_error, "task failed", parallel_for(100, thrower));
      const auto all_throw = [](int64_t) { throw std::runtime_error("all fail"); };
      CHECK_THROWS(std::runtime_error, "all fail", parallel_for(100, all_throw));
    }
    CHECK(runs_each_task_once(100));
  }
}

TEST(calls_may_nest) {
  const Threads scope(3);
  std::atomic<int> count{0};
  parallel_for(
      10, [&](int64_t) { parallel_for(10, [&](int64_t) { parallel_for(3, [&](int64_t) { count.fetch_add(1); }); }); });
  CHECK_EQ(count.load(), 300);
  const auto inner_throws = [](int64_t) { parallel_for(4, [](int64_t) { throw std::runtime_error("from inside"); }); };
  CHECK_THROWS(std::runtime_error, "from inside", parallel_for(10, inner_throws));
}

TEST(many_threads_may_call) {
  const Threads scope(3);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 5; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 200; ++round) {
        parallel_for(17, [&](int64_t task) { sum.fetch_add(task); });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(sum.load(), 5 * 200 * (16 * 17 / 2));
}

TEST(the_number_of_threads_may_change_at_any_time) {
  const Threads scope(2);
  std::atomic<bool> done{false};
  std::thread changer([&] {
    for (int64_t i = 0; !done.load(); ++i) {
      set_num_threads(1 + i % 6);
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < 300; ++round) CHECK(runs_each_task_once(20));
  done.store(true);
  changer.join();
}

TEST(bounds_of_set_num_threads) {
  const Threads scope(2);
  CHECK_THROWS(std::invalid_argument, "got 0", set_num_threads(0));
  CHECK_THROWS(std::invalid_argument, "got -1", set_num_threads(-1));
  CHECK_THROWS(std::invalid_argument, "from 1 to 1024; got 1025", set_num_threads(1025));
  CHECK_EQ(num_threads(), 2);
}

// The exit status of `f` in a forked child, which is ended after 20 seconds; -1 where it did not exit by itself.
template <class F>
int status_in_child(F f) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(f() ? 0 : 1);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// tests/cpp/CMakeLists.txt sets the variable. An assertion of qemu-user 7.2 itself fails where a forked child starts a
// thread.
bool children_cannot_have_threads() {
  if (std::getenv("SIXLOOP_EMULATED") == nullptr) return false;
  check::skip("an emulator's forked child cannot start threads");
  return true;
}

TEST(a_forked_child_has_a_pool_of_its_own) {
  if (children_cannot_have_threads()) return;
  const Threads scope(3);
  CHECK(runs_each_task_once(100));
  const auto child = [] { return runs_each_task_once(100) && Buffer<float>(1000).get() != nullptr; };
  CHECK_EQ(status_in_child(child), 0);
  CHECK(runs_each_task_once(100));
  const auto grandchild = [child] { return runs_each_task_once(10) && status_in_child(child) == 0; };
  CHECK_EQ(status_in_child(grandchild), 0);
}

TEST(a_child_forked_while_threads_work_can_work) {
  if (children_cannot_have_threads()) return;
  const Threads scope(3);
  std::atomic<bool> done{false};
  std::thread worker([&] {
    while (!done.load()) {
      parallel_for(50, [](int64_t task) { Buffer<float> scratch(task + 1); });
    }
  });
  for (int i = 0; i < 10; ++i) {
    CHECK_EQ(status_in_child([] { return runs_each_task_once(50) && Buffer<float>(1000).get() != nullptr; }), 0);
  }
  done.store(true);
  worker.join();
}

}  // namespace
}  // namespace sixloop
