// What cuda/graph.cu needs of the runtime's allocations.
#pragma once

#include <cstddef>
#include <memory>

namespace sixloop::cuda {

// Who serves this thread's allocations while a step is traced or captured (cuda/graph.h).
class Recorder {
 public:
  virtual ~Recorder() = default;
  virtual std::shared_ptr<void> allocate(size_t bytes) = 0;
  // Whether the stream records: nothing may be freed, and no other thread use it.
  virtual bool captures() const = 0;
};
// Null: nobody, as ever.
void set_recorder(Recorder* recorder);
std::shared_ptr<void> allocate_plainly(size_t bytes);
// Frees what was to be freed while a stream recorded.
void free_deferred() noexcept;

}  // namespace sixloop::cuda
