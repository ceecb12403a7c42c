// One pool of threads for the whole process.
//
// Work is a number of tasks that any thread may take in any order: each thread begins with a share of its own and
// goes on with what others have left, so a thread that the host slows down takes fewer of them. A result never
// depends on which thread ran a task: tasks are cut by shape, not by the number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace sixloop {

using TaskFunction = void (*)(void* context, int64_t task);

// Runs function(context, task) for every task in [0, tasks) and returns when all are done. The calling
// thread takes part. A call from inside a task, or while another thread's call is under way, runs its
// tasks on the calling thread. The first exception of a task is rethrown here.
void run_tasks(int64_t tasks, TaskFunction function, void* context);

template <class F>
void parallel_for(int64_t tasks, F&& f) {
  using Function = std::remove_reference_t<F>;
  run_tasks(
      tasks, [](void* context, int64_t task) { (*static_cast<Function*>(context))(task); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

// Cuts [0, count) into ranges of at least `grain` elements and calls f(begin, end) for each. The cut
// depends on count and grain alone. For work whose result is the same however it is cut.
template <class F>
void parallel_ranges(int64_t count, int64_t grain, F&& f) {
  constexpr int64_t kMaxTasks = 64;
  int64_t tasks = (count + grain - 1) / grain;
  if (tasks > kMaxTasks) tasks = kMaxTasks;
  if (tasks <= 1) {
    if (count > 0) f(int64_t{0}, count);
    return;
  }
  // Multiples of 64 elements keep every range but the last on whole cache lines.
  const int64_t step = ((count + tasks - 1) / tasks + 63) / 64 * 64;
  parallel_for((count + step - 1) / step, [&](int64_t task) {
    const int64_t begin = task * step;
    f(begin, begin + step < count ? begin + step : count);
  });
}

// Threads that may work at the job whose task this is, 1 outside of tasks.
int threads_of_this_job();

// Threads that a call may use: SIXLOOP_NUM_THREADS, else the CPUs that affinity and cgroup quota allow.
int num_threads();
// Throws std::invalid_argument unless 1 <= threads <= 1024.
void set_num_threads(int64_t threads);

// What those of `tasks` tasks that may be at work at once take, each so many bytes.
inline int64_t task_bytes(int64_t tasks, int64_t bytes) { return std::min<int64_t>(num_threads(), tasks) * bytes; }

}  // namespace sixloop
