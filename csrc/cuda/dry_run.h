// What an op would do on a GPU, which need not be there. In a dry run the op's code on the host runs as ever, but its
// launches are noted instead of made, and its memory is counted instead of allocated: what is told is what decides.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "cuda/notes.h"

namespace sixloop::cuda {

// Compute capability.
struct Capability {
  int64_t major, minor;
};
// Of the dry run that is going on, else of the GPU.
Capability capability();

// Launches that are alike.
struct LaunchNote {
  std::string kernel;
  std::optional<TileNote> tile;  // of a product
  int64_t blocks, threads, shared_bytes;
  int64_t count;
};

const char* name_of(Cores cores);

// The whole of an op.
struct Plan {
  std::string algorithm;
  std::string reason;
  std::string method;
  std::vector<LaunchNote> launches;  // in the order of the first one of each
  int64_t scratch;                   // bytes, at most, besides the result
};

// Lasts for this thread until its end; there is one at a time.
class DryRun {
 public:
  // Without a capability: of the GPU that is here, else 9.0. Throws DeviceError in a build without CUDA.
  DryRun(const char* op, std::optional<Capability> capability);
  ~DryRun();
  DryRun(const DryRun&) = delete;
  DryRun& operator=(const DryRun&) = delete;

  // An argument of the op. Its memory has an address, which nothing may be read from.
  static Tensor array(const Shape& shape, DType dtype);
  // What the op did that returned this tensor. Algorithm and reason are those of tensor cores where there is none.
  Plan plan(const Tensor& result, const char* algorithm, std::string reason = "");

  // That of this thread, or null.
  static DryRun* current();
  Capability capability() const { return capability_; }
  std::shared_ptr<void> allocate(size_t bytes);
  void note_tile(const TileNote& tile) { tile_ = tile; }
  void note_reason(const std::string& reason);
  void note_launch(const char* kernel, int64_t blocks, int64_t threads, size_t shared_bytes);

 private:
  struct Memory;

  Capability capability_;
  std::shared_ptr<Memory> memory_;
  std::optional<TileNote> tile_;  // of the next launch
  std::vector<std::string> reasons_;
  std::vector<LaunchNote> launches_;
};

}  // namespace sixloop::cuda
