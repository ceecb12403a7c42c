// Batches from the host to the GPU by a stream of their own, while the kernels of the batch before run.
#pragma once

#include <memory>
#include <vector>

#include "base/tensor.h"

namespace sixloop::cuda {

// Two slots of pinned memory and two of the GPU's, used in turns.
class Staging {
 public:
  Staging();
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Copies of arrays of the host, which may be overwritten at once. What the library's stream is asked for after this
  // call finds them complete; they are overwritten after what it has been asked for when upload() is called the second
  // time from now.
  std::vector<Tensor> upload(const std::vector<Tensor>& arrays);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sixloop::cuda
