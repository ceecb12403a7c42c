#include "loss/loss.h"

#include "base/error.h"
#include "base/validate.h"
#include "loss/simt.h"
#include "softmax/simt.h"

namespace sixloop {
namespace {

void check_on_cuda(const char* op, const char* name, const Tensor& t) {
  if (t.device() != Device::cuda) value_error("[", op, "] ", name, " must be on cuda; got one on the CPU");
}

void check_dtype(const char* op, const char* name, const Tensor& t, DType dtype) {
  if (t.dtype() != dtype) type_error("[", op, "] ", name, " must be ", name_of(dtype), "; got ", name_of(t.dtype()));
}

// Scores [..., classes] and a class index for each row of them.
void check_scores(const char* op, const Tensor& scores, const Tensor& labels) {
  check_min_rank(op, "output", scores, 1);
  check_dtype(op, "labels", labels, DType::int64);
  const int64_t classes = scores.shape()[scores.shape().rank() - 1];
  if (classes < 1 || labels.size() * classes != scores.size()) {
    value_error("[", op, "] expected one label for each row of scores; got output ", scores.shape(), ", labels ",
                labels.shape());
  }
}

void check_elements(const char* op, const Tensor& output, const Tensor& target) {
  check_dtype(op, "target", target, output.dtype() == DType::bfloat16 ? DType::float32 : output.dtype());
  if (output.size() != target.size()) {
    value_error("[", op, "] expected a target for each element; got output ", output.shape(), ", target ",
                target.shape());
  }
}

void check_batch(const char* op, const Tensor& output) {
  check_on_cuda(op, "output", output);
  check_floating_or_bfloat16(op, "output", output);
  if (output.size() == 0) value_error("[", op, "] expected a batch that is not empty; got output ", output.shape());
}

int64_t chunks_of(int64_t n, int64_t chunk) { return (n + chunk - 1) / chunk; }

void check_record(const char* op, const Tensor& record) {
  check_on_cuda(op, "record", record);
  check_dtype(op, "record", record, DType::float64);
  if (record.size() != kRecordSize) {
    value_error("[", op, "] expected a record of ", kRecordSize, "; got ", record.shape());
  }
}

}  // namespace

LossOnDevice loss_on_device(Terms terms, const Tensor& output, const Tensor& target, double margin) {
  constexpr const char* op = "loss_on_device";
  check_batch(op, output);
  check_on_cuda(op, "target", target);
  double divisor = static_cast<double>(output.size());
  if (terms == Terms::hinge) {
    check_scores(op, output, target);
    divisor = static_cast<double>(target.size());
  } else {
    check_elements(op, output, target);
  }
  LossOnDevice result{Tensor::empty({1}, DType::float64, Device::cuda), divisor,
                      Tensor::empty(output.shape(), output.dtype(), Device::cuda)};
#if defined(SIXLOOP_HAS_CUDA)
  const Tensor parts = Tensor::empty({chunks_of(output.size(), kLossChunk)}, DType::float64, Device::cuda);
  cuda::loss_terms(terms, output, target, margin, result.gradient, parts);
  cuda::add_in_order(parts, result.sum);
#else
  (void)margin;
#endif
  return result;
}

LossOnDevice cross_entropy_on_device(const Tensor& logits, const Tensor& labels) {
  constexpr const char* op = "cross_entropy_on_device";
  check_batch(op, logits);
  check_on_cuda(op, "labels", labels);
  check_rank(op, "logits", logits, 2, "[N, classes]");
  check_scores(op, logits, labels);
  LossOnDevice result{Tensor::empty({1}, DType::float64, Device::cuda), static_cast<double>(labels.size()),
                      Tensor::empty(logits.shape(), logits.dtype(), Device::cuda)};
#if defined(SIXLOOP_HAS_CUDA)
  cuda::cross_entropy_sum(logits, labels, result.gradient, result.sum);
#endif
  return result;
}

Tensor count_top_k(const Tensor& scores, const Tensor& labels, int64_t k) {
  constexpr const char* op = "count_top_k";
  check_batch(op, scores);
  check_on_cuda(op, "labels", labels);
  check_scores(op, scores, labels);
  const Tensor counts = Tensor::empty({chunks_of(labels.size(), cuda::kRowsOfBlock)}, DType::int64, Device::cuda);
#if defined(SIXLOOP_HAS_CUDA)
  cuda::count_top_k(scores, labels, k, counts);
#else
  (void)k;
#endif
  return counts;
}

Tensor count_binary(const Tensor& output, const Tensor& target, double edge) {
  constexpr const char* op = "count_binary";
  check_batch(op, output);
  check_on_cuda(op, "target", target);
  check_elements(op, output, target);
  const Tensor counts = Tensor::empty({chunks_of(output.size(), cuda::kElementsOfBlock)}, DType::int64, Device::cuda);
#if defined(SIXLOOP_HAS_CUDA)
  cuda::count_binary(output, target, edge, counts);
#else
  (void)edge;
#endif
  return counts;
}

Tensor add_penalty(const std::vector<Tensor>& weights, const std::vector<Tensor>& gradients, double l2) {
  constexpr const char* op = "add_penalty";
  if (weights.empty() || weights.size() != gradients.size()) {
    value_error("[", op, "] expected a gradient for each weight; got ", weights.size(), " and ", gradients.size());
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    check_on_cuda(op, "weight", weights[i]);
    check_floating(op, "weight", weights[i]);
    check_same_dtype(op, "weight", weights[i], "gradient", gradients[i]);
    check_same_shape(op, "weight", weights[i], "gradient", gradients[i]);
    check_same_dtype(op, "weight", weights[0], "weight", weights[i]);
  }
  const Tensor squares = Tensor::empty({static_cast<int64_t>(weights.size())}, DType::float64, Device::cuda);
#if defined(SIXLOOP_HAS_CUDA)
  cuda::add_penalty(weights, gradients, l2, squares);
#else
  (void)l2;
#endif
  return squares;
}

void set_record(const Tensor& record, double lr, double root, double shrink, int64_t step) {
  check_record("set_record", record);
#if defined(SIXLOOP_HAS_CUDA)
  cuda::set_record(record, lr, root, shrink, step);
#else
  (void)lr, (void)root, (void)shrink, (void)step;
#endif
}

void end_batch(const Tensor& record, const std::vector<Tensor>& sums, const std::vector<double>& divisors,
               const std::vector<double>& factors, const std::vector<Tensor>& counts, const Tensor* squares, double l2,
               int64_t samples, bool stops) {
  constexpr const char* op = "end_batch";
  check_record(op, record);
  if (sums.empty() || sums.size() > kMostLosses || sums.size() != divisors.size() || sums.size() != factors.size() ||
      counts.size() > kMostCounts) {
    value_error("[", op, "] expected 1 to ", kMostLosses, " losses and at most ", kMostCounts, " counts; got ",
                sums.size(), " and ", counts.size());
  }
  for (const Tensor& t : sums) check_dtype(op, "sum", t, DType::float64);
  for (const Tensor& t : counts) check_dtype(op, "count", t, DType::int64);
  if (squares != nullptr) check_dtype(op, "squares", *squares, DType::float64);
#if defined(SIXLOOP_HAS_CUDA)
  cuda::end_batch(record, sums, divisors, factors, counts, squares, l2, samples, stops);
#else
  (void)l2, (void)samples, (void)stops;
#endif
}

}  // namespace sixloop
