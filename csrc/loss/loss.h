// Losses, counts and penalties of a training step that stay in the GPU's memory, and the record that they end in: what
// the host reads when it wants to know, and not after each batch. For tensors on the GPU alone; outputs may be
// bfloat16, whose terms are float32's and whose gradient is rounded once.
#pragma once

#include <vector>

#include "base/tensor.h"

namespace sixloop {

// Elements whose terms are added with each other first, and the lanes within them: element i of a chunk belongs to lane
// i % kLossLanes; a lane adds its terms in order, the lanes are folded in halves, the chunks added in order. This is
// the order of python/sixloop/losses.py on the CPU.
constexpr int64_t kLossChunk = 4096;
constexpr int64_t kLossLanes = 256;

enum class Terms { squared_error, binary_cross_entropy, hinge };

// The sum of a loss over a batch, to be divided, and the gradient of the mean.
struct LossOnDevice {
  Tensor sum;  // float64 [1]
  double divisor;
  Tensor gradient;  // of the output's dtype
};
// target: of the output's dtype (float32 for bfloat16) and size; for the hinge int64 class indices of output's [...,
// classes]. Not empty.
LossOnDevice loss_on_device(Terms terms, const Tensor& output, const Tensor& target, double margin);
// logits [N, classes], labels int64 [N], N > 0. An index out of range makes the sum infinite.
LossOnDevice cross_entropy_on_device(const Tensor& logits, const Tensor& labels);

// How many of the rows of scores have their label's among the k largest, as TopKAccuracy (k > 0) or Accuracy (k = 0)
// of metrics.py count; int64, to be added up.
Tensor count_top_k(const Tensor& scores, const Tensor& labels, int64_t k);
// How many elements are above the edge where the target is above 1/2, and not where it is not.
Tensor count_binary(const Tensor& output, const Tensor& target, double edge);

// gradients[i] += l2 * weights[i], rounded twice as on the CPU; returns the sum of squares of each, float64.
Tensor add_penalty(const std::vector<Tensor>& weights, const std::vector<Tensor>& gradients, double l2);

// The record, float64, of which the first four are the optimizer's LiveNumbers:
enum Record : int {
  kRecordNumbers = 0,  // 3 of them
  kRecordGoes = 3,     // 1; 0 from the first loss on that is not finite: nothing is updated or counted from there on
  kRecordStep,         // of the running batch, from 0
  kRecordLoss,         // of the last batch, with the penalty
  kRecordTotal,        // sum over batches of loss * samples
  kRecordFailedStep,   // step of the loss that is not finite
  kRecordFailedLoss,
  kRecordCounts,  // of the metrics, up to kMostCounts
};
constexpr int kMostCounts = 7;
constexpr int kMostLosses = 8;
constexpr int kRecordSize = kRecordCounts + kMostCounts;

// Writes the numbers and the step of the next batch, without waiting for anything.
void set_record(const Tensor& record, double lr, double root, double shrink, int64_t step);

// Ends a batch: loss = sum of factors[i] * sums[i] / divisors[i] (a factor of 1 multiplies nothing), plus
// l2 / 2 * the sum of `squares` in order, where there are any. With `stops` a loss that is not finite is the last.
void end_batch(const Tensor& record, const std::vector<Tensor>& sums, const std::vector<double>& divisors,
               const std::vector<double>& factors, const std::vector<Tensor>& counts, const Tensor* squares, double l2,
               int64_t samples, bool stops);

}  // namespace sixloop
