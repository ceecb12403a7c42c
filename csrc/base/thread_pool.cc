#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/spin_lock.h"

namespace sixloop {
namespace {

constexpr int kMaxThreads = 1024;

int cpus_by_affinity() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    const int count = CPU_COUNT(&set);
    if (count > 0) return count;
  }
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count > 0 ? static_cast<int>(count) : 1;
}

// Whole CPUs that the cgroup's quota pays for; 0 where there is no quota.
int cpus_by_quota() {
  long long quota = -1;
  long long period = 0;
  if (FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
    if (std::fscanf(file, "%lld %lld", &quota, &period) != 2) quota = -1;
    std::fclose(file);
  } else {
    if (FILE* v1 = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) {
      if (std::fscanf(v1, "%lld", &quota) != 1) quota = -1;
      std::fclose(v1);
    }
    if (FILE* v1 = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
      if (std::fscanf(v1, "%lld", &period) != 1) period = 0;
      std::fclose(v1);
    }
  }
  if (quota <= 0 || period <= 0) return 0;
  const long long cpus = (quota + period - 1) / period;
  return static_cast<int>(cpus < kMaxThreads ? cpus : kMaxThreads);
}

int default_threads() {
  if (const char* text = std::getenv("SIXLOOP_NUM_THREADS"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end != '\0' || value < 1 || value > kMaxThreads) {
      value_error("SIXLOOP_NUM_THREADS must be a whole number from 1 to ", kMaxThreads, "; got \"", text, "\"");
    }
    return static_cast<int>(value);
  }
  const int affinity = cpus_by_affinity();
  const int quota = cpus_by_quota();
  return quota > 0 && quota < affinity ? quota : affinity;
}

std::atomic<int>& thread_setting() {
  static std::atomic<int> threads{default_threads()};
  return threads;
}

// One call of run_tasks: lives on the caller's stack until every worker has left it.
struct Job {
  static constexpr int kMaxShares = 64;
  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
  };

  TaskFunction function;
  void* context;
  int threads;
  int shares;
  Share share[kMaxShares];
  std::mutex error_mutex;
  std::exception_ptr error;

  Job(TaskFunction f, void* c, int64_t tasks, int count)
      : function(f), context(c), threads(count), shares(count < kMaxShares ? count : kMaxShares) {
    for (int i = 0; i < shares; ++i) {
      share[i].next.store(tasks * i / shares, std::memory_order_relaxed);
      share[i].end = tasks * (i + 1) / shares;
    }
  }

  // First the thread's own share, then what others have left of theirs. A thread that gets the same share in the
  // next op, or the next step, finds its part of the data in its own cache.
  void work(int thread) {
    for (int i = 0; i < shares; ++i) {
      Share& from = share[(thread + i) % shares];
      if (from.next.load(std::memory_order_relaxed) >= from.end) continue;
      for (int64_t task = from.next.fetch_add(1); task < from.end; task = from.next.fetch_add(1)) {
        try {
          function(context, task);
        } catch (...) {
          std::lock_guard<std::mutex> lock(error_mutex);
          if (!error) error = std::current_exception();
          for (int j = 0; j < shares; ++j) share[j].next.store(share[j].end);
        }
      }
    }
  }
};

thread_local bool inside_task = false;
thread_local int job_threads = 1;

class Pool {
 public:
  // False where another call holds the pool: the caller then works alone.
  bool run(Job& job, int threads) {
    std::unique_lock<std::mutex> busy(busy_, std::try_to_lock);
    if (!busy.owns_lock()) return false;
    grow(threads - 1);
    job_.store(&job);
    generation_.fetch_add(1);
    if (sleeping_.load() > 0) {
      // Whoever counts as sleeping either waits already or has yet to look at the generation.
      {
        std::lock_guard<std::mutex> lock(mutex_);
      }
      wake_.notify_all();
    }
    inside_task = true;
    job_threads = job.threads;
    job.work(0);
    job_threads = 1;
    inside_task = false;
    // A worker that comes only now finds no job: nobody waits for it.
    job_.store(nullptr);
    // A worker may share this core: after a short spin give the core away.
    for (int spins = 0; active_.load() > 0; ++spins) {
      if (spins < 1000) {
        pause_cpu();
      } else {
        sched_yield();
      }
    }
    return true;
  }

 private:
  // Where the system grants no more threads, those that are there do the work.
  void grow(int workers) {
    try {
      while (workers_ < workers) {
        const int index = workers_;
        const uint64_t seen = generation_.load();
        std::thread([this, index, seen] { loop(index, seen); }).detach();
        ++workers_;
      }
    } catch (const std::system_error&) {
    }
  }

  void loop(int index, uint64_t seen) {
    inside_task = true;
    for (;;) {
      // About 50 microseconds of spinning bridges the gap between the ops of one training step.
      for (int spins = 0; spins < 2000 && generation_.load(std::memory_order_acquire) == seen; ++spins) {
        pause_cpu();
      }
      if (generation_.load() == seen) {
        std::unique_lock<std::mutex> lock(mutex_);
        sleeping_.fetch_add(1);
        wake_.wait(lock, [&] { return generation_.load() != seen; });
        sleeping_.fetch_sub(1);
      }
      seen = generation_.load();
      // First counted, then looking for the job: whoever has seen no worker counted may end the job.
      active_.fetch_add(1);
      Job* job = job_.load();
      if (job != nullptr && index + 1 < job->threads) {
        job_threads = job->threads;
        job->work(index + 1);
      }
      active_.fetch_sub(1);
    }
  }

  std::mutex busy_;   // held by the caller whose job runs
  std::mutex mutex_;  // of wake_
  std::condition_variable wake_;
  int workers_ = 0;
  // All in one order (sequential consistency): a worker that takes no lock when it wakes costs nobody a system call.
  std::atomic<Job*> job_{nullptr};
  std::atomic<int> active_{0};
  std::atomic<int> sleeping_{0};
  alignas(64) std::atomic<uint64_t> generation_{0};  // on a line of its own: idle workers look at it all the time
};

// Never destroyed: detached workers may outlive static destructors. A forked child has none of its
// parent's threads and begins with a pool of its own.
std::atomic<Pool*> current_pool{nullptr};

Pool& pool() {
  static const bool registered = [] {
    current_pool.store(new Pool);
    pthread_atfork(nullptr, nullptr, [] {
      inside_task = false;
      job_threads = 1;
      current_pool.store(new Pool);
    });
    return true;
  }();
  (void)registered;
  return *current_pool.load(std::memory_order_acquire);
}

// Made when the library is loaded: a child forked while another thread makes it would wait for it for ever.
[[maybe_unused]] const Pool& made_at_load = pool();

}  // namespace

void run_tasks(int64_t tasks, TaskFunction function, void* context) {
  int64_t threads = num_threads();
  if (threads > tasks) threads = tasks;
  if (threads > 1 && !inside_task) {
    Job job(function, context, tasks, static_cast<int>(threads));
    if (pool().run(job, job.threads)) {
      if (job.error) std::rethrow_exception(job.error);
      return;
    }
  }
  for (int64_t task = 0; task < tasks; ++task) function(context, task);
}

int threads_of_this_job() { return job_threads; }

int num_threads() { return thread_setting().load(std::memory_order_relaxed); }

void set_num_threads(int64_t threads) {
  if (threads < 1 || threads > kMaxThreads) {
    value_error("[set_num_threads] threads must be from 1 to ", kMaxThreads, "; got ", threads);
  }
  thread_setting().store(static_cast<int>(threads), std::memory_order_relaxed);
}

}  // namespace sixloop
