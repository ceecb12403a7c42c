// Between the emulator's scheduler (simt.cc) and the instructions of ptx.h (ptx.cc).
#pragma once

#include <cuda_runtime.h>

namespace simt {

std::string place(const Location& where);

// The running thread's place in its block, and the lane that it is.
size_t thread_index();
// The shared memory of the running block.
char* shared_begin();
size_t shared_size();

std::string& failure();
[[noreturn]] void abandon();
// Ends the kernel with an error, from a thread. Of the message nothing may stay on the thread's stack: it is left for
// ever.
template <class Message>
[[noreturn]] void fail(const Message& message) {
  failure() = message();
  abandon();
}

// What is thrown by operations that the scheduler runs.
struct Fault {
  std::string what;
};

// Waits until all 32 lanes of the warp are at this line; then run() is called once, with what each of them brought, and
// they go on. `late`: as late as may be, when no thread can go on otherwise.
void warp_operation(void (*run)(void* const* lanes), void* brought, bool late, const Location& where);

// Waits until condition(argument) holds, for an argument of at most 16 bytes; it is asked when no thread can go on.
// `name` is what the error says if it never holds.
void wait_until(bool (*condition)(const void*), const void* argument, size_t bytes, const char* name,
                const Location& where);

// The scheduler tells when a block begins; at its end it wants to know what is wrong with it (or nothing).
void begin_block(size_t threads);
std::string end_block();

}  // namespace simt
