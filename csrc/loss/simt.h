// The launches of loss.h. Arguments are validated.
#pragma once

#include "loss/loss.h"

namespace sixloop::cuda {

// parts: float64, one for each chunk.
void loss_terms(Terms terms, const Tensor& output, const Tensor& target, double margin, const Tensor& gradient,
                const Tensor& parts);
// sum[0] = the parts in order.
void add_in_order(const Tensor& parts, const Tensor& sum);
void count_top_k(const Tensor& scores, const Tensor& labels, int64_t k, const Tensor& counts);
void count_binary(const Tensor& output, const Tensor& target, double edge, const Tensor& counts);
// Rows of scores, or elements, of a block that counts.
constexpr int64_t kRowsOfBlock = 8;
constexpr int64_t kElementsOfBlock = 1024;
void add_penalty(const std::vector<Tensor>& weights, const std::vector<Tensor>& gradients, double l2,
                 const Tensor& squares);

void set_record(const Tensor& record, double lr, double root, double shrink, int64_t step);
void end_batch(const Tensor& record, const std::vector<Tensor>& sums, const std::vector<double>& divisors,
               const std::vector<double>& factors, const std::vector<Tensor>& counts, const Tensor* squares, double l2,
               int64_t samples, bool stops);

}  // namespace sixloop::cuda
