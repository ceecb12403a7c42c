// A lock for a few instructions that no thread sleeps on: tasks that allocate at the same time would else pay for
// system calls, some 20 microseconds each.
#pragma once

#include <sched.h>

#include <atomic>

namespace sixloop {

// Tells the processor that this thread is waiting.
inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class SpinLock {
 public:
  void lock() {
    for (int spins = 0; taken_.exchange(true, std::memory_order_acquire); ++spins) {
      // Its holder may share this core: after a short spin give the core away.
      if (spins < 200) {
        pause_cpu();
      } else {
        sched_yield();
      }
    }
  }
  void unlock() { taken_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> taken_{false};
};

}  // namespace sixloop
