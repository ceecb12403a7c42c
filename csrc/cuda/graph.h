// A step of work that is recorded once and run again by one launch: a CUDA graph with memory of its own.
//
// trace_begin ... trace_end: the step runs as ever, and who allocates how much for how long is noted. From that follows
// one block of memory with a place for each allocation. capture_begin ... capture_end: the same step, of which the
// stream records the launches and runs none; the allocations are given their places. A step that allocates otherwise
// than the traced one, waits for the GPU or copies from the host's pageable memory raises DeviceError, and abandon()
// leaves everything as it was. What the step keeps (the gradients of a model) stays at its place, and each launch()
// writes there again.
//
// Other threads must leave the GPU alone meanwhile: an op of theirs raises DeviceError.
#pragma once

#include <cstdint>
#include <memory>

namespace sixloop::cuda {

class Graph {
 public:
  Graph();
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void trace_begin();
  void trace_end();
  void capture_begin();
  void capture_end();
  // Ends what was begun, if anything.
  void abandon() noexcept;
  // Runs the captured step in the order of the library's stream.
  void launch();

  bool is_captured() const;
  int64_t bytes() const;  // of the memory of its own

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sixloop::cuda
