// The maps and sums of elementwise.h on the GPU, with the bits of the CPU's. Arguments are validated, results dense.
#pragma once

#include <vector>

#include "base/tensor.h"
#include "base/window.h"
#include "elementwise/activation.h"

namespace sixloop::cuda {

void add(const Tensor& a, const Tensor& b, Activation activation, const Tensor& y);
void bias_add(const Tensor& x, const Tensor& b, Activation activation, const Tensor& y);
void scale(const Tensor& x, double s, const Tensor& y);
// ys[i] = xs[i], rounded to its dtype; one launch for up to 64 arrays of each pair of dtypes.
void cast(const std::vector<Tensor>& xs, const std::vector<Tensor>& ys);
void cast(const Tensor& x, const Tensor& y);
void activate(const Tensor& x, Activation activation, double alpha, const Tensor& y);  // y may be x
void activate_grad(const Tensor& dy, const Tensor& x, Activation activation, double alpha, const Tensor& dx);
void activate_grad_of(const Tensor& dy, const Tensor& y, Activation activation, const Tensor& dz);

// The layout of elementwise.cc's sums over all axes but the last: `chunks` partial sums of at most `chunk_rows` rows of
// `columns` elements, then `rest` elements, then `group` neighbouring rows of columns / group elements.
struct SumCut {
  int64_t chunk_rows, chunks, columns, rows, rest, group;
};
// z bfloat16: the sum is float32.
void column_sums(const Tensor& z, const SumCut& cut, const Tensor& sum);
// dz = activate_grad_of(dy, y), and the sums of dz before it was rounded.
void activation_column_sums(const Tensor& dy, const Tensor& y, Activation activation, const Tensor& dz,
                            const SumCut& cut, const Tensor& sum);

void moving_average(const Tensor& running, const Tensor& value, double momentum, double factor);

// Rows of `bytes` bytes, `rows` of them in each image. Steps are bytes, too; all are multiples of an element's size.
struct RowCopy {
  int64_t images, rows, bytes;
  int64_t from_row, from_image, to_row, to_image;
};
void copy_rows(const void* from, void* to, const RowCopy& copy);
void zero_pad2d(const Tensor& x, const Window& border, const Tensor& y);
// y[n][c][r] = x[n][r][c].
void transpose(const Tensor& x, int64_t matrices, int64_t rows, int64_t columns, const Tensor& y);

}  // namespace sixloop::cuda
