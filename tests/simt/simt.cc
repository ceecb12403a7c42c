// The emulator behind tests/simt/include/cuda_runtime.h.
//
// A block's threads are fibers that run until they wait for each other or return; in which order is drawn from a
// generator with seed SIXLOOP_SIMT_SEED (default 1; 0 is ascending order), so that a missing barrier gives a wrong
// result sooner or later. Shared memory of a block is an allocation of exactly the launch's size, filled with NaN.
//
// "Device" memory is a mapping of its own that has no access rights except while a kernel or copy runs: a host that
// follows a device pointer crashes. Its allocations are filled with NaN and lie between zones that AddressSanitizer
// knows as poisoned.
//
// Work is queued and runs when somebody waits for it: a host that forgets to wait reads what was there before. All
// streams share one queue, in the order of the calls, which is one of the orders that CUDA permits.
#include "simt.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace {

using simt::Collective;
using simt::Location;

void poison([[maybe_unused]] const void* p, [[maybe_unused]] size_t bytes) {
#if defined(SIMT_ASAN)
  __asan_poison_memory_region(p, bytes);
#endif
}
void unpoison([[maybe_unused]] const void* p, [[maybe_unused]] size_t bytes) {
#if defined(SIMT_ASAN)
  __asan_unpoison_memory_region(p, bytes);
#endif
}

size_t environment_number(const char* name, size_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != 0 ? std::strtoull(text, nullptr, 10) : otherwise;
}

using simt::place;

// --- Fibers.

#if defined(__x86_64__)
// Saves the registers that a call keeps, and the control words of both floating-point units, on the stack.
extern "C" void simt_switch(void** from, void* to);
asm(R"(
.text
.p2align 4
.globl simt_switch
.hidden simt_switch
.type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  subq $8, %rsp
  stmxcsr (%rsp)
  fnstcw 4(%rsp)
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  ldmxcsr (%rsp)
  fldcw 4(%rsp)
  addq $8, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, .-simt_switch
)");
#endif

// Debug builds with sanitizers take many times the stack of a GPU's thread.
constexpr size_t kStackBytes = 128 * 1024;
constexpr size_t kPage = 4096;
constexpr int kMaxThreads = 1024;
constexpr int kWarp = 32;

struct Fiber {
  char* stack = nullptr;
  void* fake_stack = nullptr;
#if defined(__x86_64__)
  void* sp = nullptr;
#else
  ucontext_t context;
#endif
  uint3 index{};
  bool done = false;
  Collective waits = Collective::none;
  unsigned mask = 0;
  Location where;
  // Of the warp's operation that it waits for, and of the condition.
  void (*run)(void* const*) = nullptr;
  bool (*condition)(const void*) = nullptr;
  const char* what = nullptr;
  alignas(16) unsigned char brought[16];
  alignas(16) unsigned char received[16];
};

struct Block {
  std::vector<Fiber> fibers;
  Fiber* running = nullptr;
  const std::function<void()>* body = nullptr;
  std::string failure;
  void* shared = nullptr;
  size_t shared_bytes = 0;
#if defined(__x86_64__)
  void* scheduler_sp = nullptr;
#else
  ucontext_t scheduler;
#endif
  void* scheduler_fake_stack = nullptr;
  const void* scheduler_bottom = nullptr;
  size_t scheduler_size = 0;
};

Block block;

void start_switch([[maybe_unused]] void** save, [[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size) {
#if defined(SIMT_ASAN)
  __sanitizer_start_switch_fiber(save, bottom, size);
#endif
}
void finish_switch([[maybe_unused]] void* saved, [[maybe_unused]] const void** bottom, [[maybe_unused]] size_t* size) {
#if defined(SIMT_ASAN)
  __sanitizer_finish_switch_fiber(saved, bottom, size);
#endif
}

// From the running fiber back to the scheduler; returns when the scheduler resumes it.
void leave(bool for_ever) {
  Fiber& me = *block.running;
  start_switch(for_ever ? nullptr : &me.fake_stack, block.scheduler_bottom, block.scheduler_size);
#if defined(__x86_64__)
  simt_switch(&me.sp, block.scheduler_sp);
#else
  swapcontext(&me.context, &block.scheduler);
#endif
  finish_switch(me.fake_stack, nullptr, nullptr);
}

void fiber_main() {
  finish_switch(nullptr, &block.scheduler_bottom, &block.scheduler_size);
  (*block.body)();
  block.running->done = true;
  leave(true);
}

void prepare(Fiber& fiber) {
  fiber.done = false;
  fiber.waits = Collective::none;
  fiber.fake_stack = nullptr;
#if defined(__x86_64__)
  // As simt_switch leaves a stack: control words, six registers, the address to go to, and one for alignment.
  auto** top = reinterpret_cast<void**>(fiber.stack + kStackBytes) - 1;
  *top = nullptr;
  *--top = reinterpret_cast<void*>(&fiber_main);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  --top;
  unsigned control[2] = {0x1f80u, 0x037fu};
  std::memcpy(top, control, sizeof control);
  fiber.sp = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack = {fiber.stack, 0, kStackBytes};
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, fiber_main, 0);
#endif
}

void resume(Fiber& fiber) {
  block.running = &fiber;
  threadIdx = fiber.index;
  start_switch(&block.scheduler_fake_stack, fiber.stack, kStackBytes);
#if defined(__x86_64__)
  simt_switch(&block.scheduler_sp, fiber.sp);
#else
  swapcontext(&block.scheduler, &fiber.context);
#endif
  finish_switch(block.scheduler_fake_stack, nullptr, nullptr);
}

void wait(Collective kind, unsigned mask, const Location& where) {
  if (block.running == nullptr) simt::broken("a barrier or shuffle outside of a kernel at " + place(where));
  block.running->waits = kind;
  block.running->mask = mask;
  block.running->where = where;
  leave(false);
}

bool same_place(const Fiber& a, const Fiber& b) {
  return a.waits == b.waits && a.mask == b.mask && a.where.line() == b.where.line() &&
         (a.where.file_name() == b.where.file_name() || std::strcmp(a.where.file_name(), b.where.file_name()) == 0);
}

std::string thread_name(const Fiber& fiber) {
  return "thread (" + std::to_string(fiber.index.x) + ", " + std::to_string(fiber.index.y) + ", " +
         std::to_string(fiber.index.z) + ")";
}

std::string states() {
  constexpr const char* kNames[] = {"runs",   "__syncthreads",        "__syncwarp", "a shuffle",
                                    "a vote", "a warp's instruction", "",           "a warp's instruction"};
  std::map<std::string, int> count;
  for (const Fiber& fiber : block.fibers) {
    const char* what = fiber.waits == Collective::condition ? fiber.what : kNames[static_cast<int>(fiber.waits)];
    ++count[fiber.done ? "have returned" : std::string("wait for ") + what + " at " + place(fiber.where)];
  }
  std::string text;
  for (const auto& [what, n] : count) text += (text.empty() ? "" : ", ") + std::to_string(n) + " " + what;
  return text;
}

uint64_t next_random(uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;  // splitmix64
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

template <class T>
void shuffle_order(std::vector<T>& order, uint64_t& state) {
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next_random(state) % i]);
}

// The warp's threads that must come together with this one have come.
bool complete(int thread) {
  const Fiber& fiber = block.fibers[static_cast<size_t>(thread)];
  const int lane = thread % kWarp, first = thread - lane, threads = static_cast<int>(block.fibers.size());
  if ((fiber.mask >> lane & 1u) == 0) return false;
  for (int other = 0; other < kWarp; ++other) {
    if ((fiber.mask >> other & 1u) == 0) continue;
    if (first + other >= threads) return false;
    const Fiber& partner = block.fibers[static_cast<size_t>(first + other)];
    if (partner.done || !same_place(fiber, partner)) return false;
  }
  return true;
}

void release_warp(int thread) {
  const Fiber& fiber = block.fibers[static_cast<size_t>(thread)];
  const int first = thread - thread % kWarp;
  const unsigned mask = fiber.mask;
  if (fiber.waits == Collective::operation || fiber.waits == Collective::late_operation) {
    void* brought[kWarp];
    for (int lane = 0; lane < kWarp; ++lane) {
      std::memcpy(&brought[lane], block.fibers[static_cast<size_t>(first + lane)].brought, sizeof(void*));
    }
    fiber.run(brought);
  }
  for (int lane = 0; lane < kWarp; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    Fiber& other = block.fibers[static_cast<size_t>(first + lane)];
    std::memcpy(other.received, other.brought, sizeof other.received);
    other.waits = Collective::none;
  }
}

// Ends one of the things that take as long as they like: an operation that may be late, or a condition.
bool release_late(uint64_t seed, uint64_t& random) {
  // One thread for each of them.
  std::vector<int> waiting;
  const auto same_condition = [](const Fiber& x, const Fiber& y) {
    return x.condition == y.condition && std::memcmp(x.brought, y.brought, sizeof x.brought) == 0;
  };
  const int threads = static_cast<int>(block.fibers.size());
  for (int i = 0; i < threads; ++i) {
    const Fiber& fiber = block.fibers[static_cast<size_t>(i)];
    if (fiber.done || fiber.waits != Collective::condition) continue;
    const bool known = std::any_of(waiting.begin(), waiting.end(), [&](int other) {
      return same_condition(fiber, block.fibers[static_cast<size_t>(other)]);
    });
    if (!known) waiting.push_back(i);
  }
  for (int i = 0; i < threads; i += kWarp) {
    const Fiber& fiber = block.fibers[static_cast<size_t>(i)];
    if (!fiber.done && fiber.waits == Collective::late_operation) waiting.push_back(i);
  }
  if (seed != 0) shuffle_order(waiting, random);
  for (const int thread : waiting) {
    Fiber& fiber = block.fibers[static_cast<size_t>(thread)];
    if (fiber.waits == Collective::late_operation) {
      if (!complete(thread)) continue;
      release_warp(thread);
      return true;
    }
    if (!fiber.condition(fiber.brought)) continue;
    for (Fiber& other : block.fibers) {
      if (&other == &fiber || other.done || other.waits != Collective::condition) continue;
      if (same_condition(other, fiber)) other.waits = Collective::none;
    }
    fiber.waits = Collective::none;
    return true;
  }
  return false;
}

// Lets go the threads whose partners have all come. Returns whether there were any.
bool release(uint64_t seed, uint64_t& random) {
  const bool barrier = std::all_of(block.fibers.begin(), block.fibers.end(), [](const Fiber& fiber) {
    return !fiber.done && same_place(fiber, block.fibers[0]);
  });
  if (barrier && block.fibers[0].waits == Collective::block_barrier) {
    for (Fiber& fiber : block.fibers) fiber.waits = Collective::none;
    return true;
  }
  bool any = false;
  for (size_t i = 0; i < block.fibers.size(); ++i) {
    const Fiber& fiber = block.fibers[i];
    if (fiber.done || fiber.waits == Collective::none || fiber.waits == Collective::block_barrier ||
        fiber.waits == Collective::condition || fiber.waits == Collective::late_operation ||
        !complete(static_cast<int>(i))) {
      continue;
    }
    release_warp(static_cast<int>(i));
    any = true;
  }
  return any || release_late(seed, random);
}

void run_block(uint64_t seed, uint64_t& random) {
  std::vector<Fiber*> ready;
  for (;;) {
    ready.clear();
    for (Fiber& fiber : block.fibers) {
      if (!fiber.done && fiber.waits == Collective::none) ready.push_back(&fiber);
    }
    if (ready.empty()) {
      if (std::all_of(block.fibers.begin(), block.fibers.end(), [](const Fiber& fiber) { return fiber.done; })) return;
      bool released;
      try {
        released = release(seed, random);
      } catch (const simt::Fault& fault) {
        block.failure = fault.what;
        return;
      }
      if (!released) {
        block.failure = "divergent barrier or deadlock: " + states();
        return;
      }
      continue;
    }
    if (seed != 0) shuffle_order(ready, random);
    for (Fiber* fiber : ready) {
      resume(*fiber);
      block.running = nullptr;
      if (!block.failure.empty()) return;
    }
  }
}

char* stacks() {
  static char* const memory = [] {
    void* p = mmap(nullptr, kMaxThreads * (kStackBytes + kPage), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) simt::broken("no memory for stacks");
    for (int i = 0; i < kMaxThreads; ++i) {
      mprotect(static_cast<char*>(p) + static_cast<size_t>(i) * (kStackBytes + kPage), kPage, PROT_NONE);
    }
    return static_cast<char*>(p);
  }();
  return memory;
}

void run_kernel(const char* name, dim3 grid, dim3 threads, size_t shared_bytes, const std::function<void()>& body) {
  static const uint64_t seed = environment_number("SIXLOOP_SIMT_SEED", 1);
  static uint64_t random = seed;
  gridDim = grid;
  blockDim = threads;
  block.body = &body;
  block.fibers.resize(threads.x * threads.y * threads.z);
  for (size_t i = 0; i < block.fibers.size(); ++i) {
    const auto n = static_cast<unsigned>(i);
    block.fibers[i].index = {n % threads.x, n / threads.x % threads.y, n / threads.x / threads.y};
    block.fibers[i].stack = stacks() + i * (kStackBytes + kPage) + kPage;
  }
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  std::vector<uint64_t> order(blocks);
  for (uint64_t i = 0; i < blocks; ++i) order[i] = i;
  if (seed != 0) shuffle_order(order, random);
  for (const uint64_t i : order) {
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / grid.x / grid.y)};
    // Ends where AddressSanitizer's zone begins, and is aligned to no more than what shared_memory() promises.
    constexpr size_t kSharedAlignment = 128;
    void* allocated = nullptr;
    if (posix_memalign(&allocated, 1024, kSharedAlignment + shared_bytes) != 0) simt::broken("no memory for a block");
    poison(allocated, kSharedAlignment);
    void* const shared = static_cast<char*>(allocated) + kSharedAlignment;
    std::memset(shared, 0xff, shared_bytes);
    block.shared = shared;
    block.shared_bytes = shared_bytes;
    for (Fiber& fiber : block.fibers) prepare(fiber);
    block.failure.clear();
    simt::begin_block(block.fibers.size());
    run_block(seed, random);
    if (block.failure.empty()) block.failure = simt::end_block();
    std::free(allocated);
    block.shared = nullptr;
    if (!block.failure.empty()) {
      for (Fiber& fiber : block.fibers) unpoison(fiber.stack, kStackBytes);  // frames that nobody has left
      simt::broken(std::string("kernel ") + name + ", block (" + std::to_string(blockIdx.x) + ", " +
                   std::to_string(blockIdx.y) + ", " + std::to_string(blockIdx.z) + "): " + block.failure);
    }
  }
}

// --- Device memory.

constexpr size_t kAlignment = 256;
constexpr size_t kZone = 256;  // at least, between two allocations

struct Memory {
  char* base = nullptr;
  size_t bytes = 0;
  size_t used = 0;
  std::map<char*, size_t> live;  // where an allocation begins, and its bytes
  int open = 0;

  void prepare() {
    if (base != nullptr) return;
    bytes = environment_number("SIXLOOP_SIMT_MEMORY", size_t{256} << 20) / kPage * kPage;
    void* p = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) simt::broken("no memory for the device");
    base = static_cast<char*>(p);
    poison(base, bytes);
  }

  bool contains(const void* p) const { return p >= base && p < base + bytes && base != nullptr; }

  // Pages that were touched cost time whenever the memory is opened and closed again.
  static void give_back(char* p, size_t n) {
    constexpr size_t kWorthIt = size_t{1} << 20;
    const auto begin = (reinterpret_cast<uintptr_t>(p) + kPage - 1) / kPage * kPage;
    const auto end = (reinterpret_cast<uintptr_t>(p) + n) / kPage * kPage;
    if (n >= kWorthIt) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }

  // First fit.
  char* allocate(size_t n) {
    prepare();
    if (n > bytes) return nullptr;
    char* at = base + kAlignment;
    for (const auto& [begin, size] : live) {
      if (static_cast<size_t>(begin - at) >= n + kZone && begin >= at) break;
      at = begin + (size + kZone + kAlignment - 1) / kAlignment * kAlignment;
    }
    if (at + n + kZone > base + bytes) return nullptr;
    live[at] = n;
    used += n;
    unpoison(at, n);
    return at;
  }

  void free(char* p) {
    const auto found = live.find(p);
    if (found == live.end()) simt::broken("memory is freed that is not allocated");
    poison(p, found->second);
    give_back(p, found->second);
    used -= found->second;
    live.erase(found);
  }

  // The allocation around [p, p + n), or broken().
  void check(const char* what, const void* p, size_t n) const {
    const auto* at = static_cast<const char*>(p);
    auto next = live.upper_bound(const_cast<char*>(at));
    if (n == 0) return;
    if (next == live.begin()) simt::broken(std::string(what) + " is no device memory");
    --next;
    if (at + n > next->first + next->second) {
      simt::broken(std::string(what) + " of " + std::to_string(n) + " bytes leaves its allocation of " +
                   std::to_string(next->second));
    }
  }
};

Memory memory;

// Device memory may be touched while one of these lives.
struct Access {
  Access() {
    if (memory.base != nullptr && memory.open++ == 0) mprotect(memory.base, memory.bytes, PROT_READ | PROT_WRITE);
  }
  ~Access() {
    if (memory.base != nullptr && --memory.open == 0) mprotect(memory.base, memory.bytes, PROT_NONE);
  }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

// --- Streams, events, graphs.

using Work = std::function<void()>;

std::recursive_mutex mutex;
std::deque<Work> queue;
cudaError_t last_error = cudaSuccess;
std::map<const void*, int> shared_limits;
std::set<cudaStream_t> streams;
std::map<cudaStream_t, std::vector<Work>> captures;

}  // namespace

struct CUstream_st {};
struct CUevent_st {};
struct CUgraph_st {
  std::vector<Work> work;
};
struct CUgraphExec_st {
  std::vector<Work> work;
};

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t set_error(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

bool known(cudaStream_t stream) {
  return stream == nullptr || stream == cudaStreamLegacy || stream == cudaStreamPerThread || streams.count(stream) != 0;
}

void drain() {
  while (!queue.empty()) {
    const Work work = std::move(queue.front());
    queue.pop_front();
    work();
  }
}

cudaError_t enqueue(cudaStream_t stream, Work work) {
  if (!known(stream)) return set_error(cudaErrorInvalidResourceHandle);
  if (const auto capture = captures.find(stream); capture != captures.end()) {
    capture->second.push_back(std::move(work));
  } else {
    queue.push_back(std::move(work));
  }
  return cudaSuccess;
}

// Everything that has been asked for is done. Not allowed while a stream records a graph.
cudaError_t synchronize() {
  if (!captures.empty()) return set_error(cudaErrorStreamCaptureUnsupported);
  drain();
  return cudaSuccess;
}

cudaError_t allocate(void** p, size_t bytes) {
  *p = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (!captures.empty()) return set_error(cudaErrorStreamCaptureUnsupported);
  char* at = memory.allocate(bytes);
  if (at == nullptr) {
    drain();
    at = memory.allocate(bytes);
  }
  if (at == nullptr) return set_error(cudaErrorMemoryAllocation);
  const Access access;
  std::memset(at, 0xff, bytes);
  *p = at;
  return cudaSuccess;
}

void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const bool to_device = memory.contains(to), from_device = memory.contains(from);
  const bool wants_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool wants_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind != cudaMemcpyDefault && bytes > 0 && (to_device != wants_to || from_device != wants_from)) {
    simt::broken("a copy whose kind does not fit its memory");
  }
  if (to_device) memory.check("the target of a copy", to, bytes);
  if (from_device) memory.check("the source of a copy", from, bytes);
  const Access access;
  if (bytes > 0) std::memmove(to, from, bytes);
}

void set_bytes(void* to, int value, size_t bytes) {
  memory.check("the target of a memset", to, bytes);
  const Access access;
  if (bytes > 0) std::memset(to, value, bytes);
}

}  // namespace

namespace simt {

void broken(const std::string& what) { throw std::logic_error("[simt] " + what); }

void block_barrier(const Location& where) { wait(Collective::block_barrier, 0, where); }

Lane meet(Collective kind, unsigned mask, const void* value, size_t bytes, const Location& where) {
  if (block.running == nullptr) broken("a shuffle outside of a kernel at " + place(where));
  const auto index = static_cast<int>(block.running - block.fibers.data());
  const int lane = index % kWarp, first = index - lane;
  if ((mask >> lane & 1u) == 0)
    simt::fail([&] { return "the mask at " + place(where) + " does not name the calling lane"; });
  for (int other = 0; other < kWarp; ++other) {
    if ((mask >> other & 1u) == 0) continue;
    const auto i = static_cast<size_t>(first + other);
    if (i >= block.fibers.size() || block.fibers[i].done) {
      simt::fail([&] {
        return "the mask at " + place(where) + " names lane " + std::to_string(other) + ", which has returned";
      });
    }
  }
  if (bytes > 0) std::memcpy(block.running->brought, value, bytes);
  wait(kind, mask, where);
  return {mask, lane};
}

const void* exchanged(const Lane& me, int lane, const Location& where) {
  if (lane < 0 || lane >= kWarp || (me.mask >> lane & 1u) == 0) {
    simt::fail([&] {
      return thread_name(*block.running) + " reads lane " + std::to_string(lane) + " at " + place(where) +
             ", which the mask does not name";
    });
  }
  const auto index = static_cast<size_t>(block.running - block.fibers.data());
  return block.fibers[index - index % kWarp + static_cast<size_t>(lane)].received;
}

void* shared_memory() { return block.shared; }

std::string place(const Location& where) { return std::string(where.file_name()) + ":" + std::to_string(where.line()); }

size_t thread_index() { return static_cast<size_t>(block.running - block.fibers.data()); }
char* shared_begin() { return static_cast<char*>(block.shared); }
size_t shared_size() { return block.shared_bytes; }

std::string& failure() { return block.failure; }
void abandon() {
  for (;;) leave(false);  // the scheduler never comes back
}

void warp_operation(void (*run)(void* const* lanes), void* brought, bool late, const Location& where) {
  if (block.running == nullptr) broken("a warp's instruction outside of a kernel at " + place(where));
  block.running->run = run;
  meet(late ? Collective::late_operation : Collective::operation, 0xffffffffu, &brought, sizeof brought, where);
}

void wait_until(bool (*condition)(const void*), const void* argument, size_t bytes, const char* name,
                const Location& where) {
  block.running->condition = condition;
  block.running->what = name;
  std::memset(block.running->brought, 0, sizeof block.running->brought);
  std::memcpy(block.running->brought, argument, bytes);
  wait(Collective::condition, 0, where);
}

cudaError_t set_attribute(const void* kernel, cudaFuncAttribute, int value) {
  const Lock lock(mutex);
  constexpr int kMostShared = 227 * 1024;  // of compute capability 9.0
  if (value > kMostShared) return set_error(cudaErrorInvalidValue);
  shared_limits[kernel] = value;
  return cudaSuccess;
}

void launch(const char* name, const void* kernel, dim3 grid, dim3 threads, size_t shared_bytes, cudaStream_t stream,
            std::function<void()> body) {
  const Lock lock(mutex);
  const auto limit = shared_limits.find(kernel);
  const size_t most_shared = limit != shared_limits.end() ? static_cast<size_t>(limit->second) : 48 * 1024;
  const uint64_t count = uint64_t{threads.x} * threads.y * threads.z;
  if (count < 1 || count > kMaxThreads || threads.z > 64 || grid.x < 1 || grid.x > 0x7fffffffu || grid.y < 1 ||
      grid.y > 65535 || grid.z < 1 || grid.z > 65535 || shared_bytes > most_shared) {
    set_error(cudaErrorInvalidConfiguration);
    return;
  }
  enqueue(stream, [=, body = std::move(body)] {
    const Access access;
    run_kernel(name, grid, threads, shared_bytes, body);
  });
  constexpr size_t kMostQueued = 256;
  if (queue.size() > kMostQueued) drain();
}

}  // namespace simt

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInsufficientDriver:
      return "cudaErrorInsufficientDriver";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorStreamCaptureUnsupported:
      return "cudaErrorStreamCaptureUnsupported";
    default:
      return "cudaErrorInvalidValue";
  }
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorInsufficientDriver:
      return "CUDA driver version is insufficient for CUDA runtime version";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    default:
      return "invalid argument";
  }
}

cudaError_t cudaGetLastError() {
  const Lock lock(mutex);
  return std::exchange(last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  const Lock lock(mutex);
  return last_error;
}

namespace {

// SIXLOOP_SIMT_CAPABILITY=80 plays a GPU without Hopper's instructions. Asked each time, so that a test may change it.
size_t capability() { return environment_number("SIXLOOP_SIMT_CAPABILITY", 90); }

}  // namespace

// SIXLOOP_SIMT_NO_DRIVER=1 plays a machine without a driver.
cudaError_t cudaGetDeviceCount(int* count) {
  if (environment_number("SIXLOOP_SIMT_NO_DRIVER", 0) != 0) return cudaErrorInsufficientDriver;
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return set_error(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* prop, int device) {
  if (device != 0) return set_error(cudaErrorInvalidDevice);
  const Lock lock(mutex);
  memory.prepare();
  *prop = {"SIMT emulator", static_cast<int>(capability() / 10), static_cast<int>(capability() % 10), 4, memory.bytes};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return set_error(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = 4;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = static_cast<int>(capability() / 10);
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = static_cast<int>(capability() % 10);
      break;
  }
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock lock(mutex);
  memory.prepare();
  *total = memory.bytes;
  *free = memory.bytes - memory.used;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  const Lock lock(mutex);
  return synchronize();
}

cudaError_t cudaMalloc(void** p, size_t bytes) {
  const Lock lock(mutex);
  return allocate(p, bytes);
}
cudaError_t cudaFree(void* p) {
  const Lock lock(mutex);
  if (const cudaError_t error = synchronize(); error != cudaSuccess) return error;
  if (p != nullptr) memory.free(static_cast<char*>(p));
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t stream) {
  const Lock lock(mutex);
  if (!known(stream)) return set_error(cudaErrorInvalidResourceHandle);
  return allocate(p, bytes);
}
cudaError_t cudaFreeAsync(void* p, cudaStream_t stream) {
  const Lock lock(mutex);
  if (captures.count(stream) != 0) return set_error(cudaErrorStreamCaptureUnsupported);
  return enqueue(stream, [p] { memory.free(static_cast<char*>(p)); });
}
// At once no more than the device has.
cudaError_t cudaMallocHost(void** p, size_t bytes) {
  const Lock lock(mutex);
  memory.prepare();
  *p = bytes <= memory.bytes ? std::malloc(bytes) : nullptr;
  return *p != nullptr ? cudaSuccess : set_error(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  const Lock lock(mutex);
  if (const cudaError_t error = synchronize(); error != cudaSuccess) return error;
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr, void* value) {
  const Lock lock(mutex);
  *static_cast<uint64_t*>(value) = memory.used;
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(mutex);
  return enqueue(stream, [=] { copy(to, from, bytes, kind); });
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const Lock lock(mutex);
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return error != cudaSuccess ? error : synchronize();
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  const Lock lock(mutex);
  return enqueue(stream, [=] { set_bytes(to, value, bytes); });
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(mutex);
  *stream = new CUstream_st;
  streams.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(mutex);
  if (streams.erase(stream) == 0) return set_error(cudaErrorInvalidResourceHandle);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(mutex);
  if (!known(stream)) return set_error(cudaErrorInvalidResourceHandle);
  return synchronize();
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Lock lock(mutex);
  if (!known(stream)) return set_error(cudaErrorInvalidResourceHandle);
  return queue.empty() ? cudaSuccess : cudaErrorNotReady;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t, unsigned) {
  const Lock lock(mutex);
  return known(stream) ? cudaSuccess : set_error(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  const Lock lock(mutex);
  return enqueue(stream, [=] { function(data); });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t stream) {
  const Lock lock(mutex);
  return known(stream) ? cudaSuccess : set_error(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  const Lock lock(mutex);
  return synchronize();
}
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaStreamQuery(nullptr); }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock(mutex);
  if (streams.count(stream) == 0) return set_error(cudaErrorStreamCaptureUnsupported);
  if (!captures.emplace(stream, std::vector<Work>{}).second) return set_error(cudaErrorInvalidValue);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(mutex);
  const auto capture = captures.find(stream);
  if (capture == captures.end()) return set_error(cudaErrorInvalidValue);
  *graph = new CUgraph_st{std::move(capture->second)};
  captures.erase(capture);
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Lock lock(mutex);
  *status = captures.count(stream) != 0 ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Lock lock(mutex);
  for (const Work& work : exec->work) {
    if (const cudaError_t error = enqueue(stream, work); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
