// Softmax and its kin on the GPU, with the bits of the CPU's. Arguments are validated, results dense.
#pragma once

#include "base/tensor.h"

namespace sixloop::cuda {

// x as [outer, n, inner], not empty.
void softmax(const Tensor& x, int64_t outer, int64_t n, int64_t inner, const Tensor& y);
void log_softmax(const Tensor& x, int64_t outer, int64_t n, int64_t inner, const Tensor& y);
void softmax_grad(const Tensor& dy, const Tensor& y, int64_t outer, int64_t n, int64_t inner, const Tensor& dx);
void log_softmax_grad(const Tensor& dy, const Tensor& y, int64_t outer, int64_t n, int64_t inner, const Tensor& dx);

struct CrossEntropyOutcome {
  double loss;    // the sum over the rows, in order
  int64_t wrong;  // the first row whose label is out of range, or -1
  int64_t label;  // that label
};
// At least one row. Waits for the outcome.
CrossEntropyOutcome cross_entropy(const Tensor& logits, const Tensor& labels, const Tensor& dlogits);
// The sum alone, float64 [1], left where it is; infinite where a label is out of range.
void cross_entropy_sum(const Tensor& logits, const Tensor& labels, const Tensor& dlogits, const Tensor& sum);

}  // namespace sixloop::cuda
