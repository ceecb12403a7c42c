// The register-tile kernels that matrix products and convolutions share.
#pragma once

#include <limits>

#include "base/kernel.h"

namespace sixloop {

// One tile of C = A B over a range of k:
//
//     C[i][j] (+)= sum over tap, k of A[tap][i][k] * B[tap * kc + k][j]      0 <= i < MR, 0 <= j < NR
//
// in one accumulator per element, tap by tap and k ascending, each step one fused multiply-add. Cutting the
// range of k into several calls that accumulate changes no bit.
template <class T>
struct GemmTile {
  int64_t taps;  // taps * kc steps
  int64_t kc;
  const T* const* a;  // GemmRows: row i of tap t is a[t * MR + i] + a_offset, kc dense elements
  int64_t a_offset;
  const T* a_panel;  // GemmPanel: element (i, k) is a_panel[k * a_step + i]
  int64_t a_step;
  const T* b;  // step s has NR dense elements at b + s * ldb
  int64_t ldb;
  T* b_copy = nullptr;  // null, or where B is copied to, NR dense elements a step, if all columns are wanted
  const T* next;        // null, or what the next tiles need: fetched meanwhile, next_step elements a step
  int64_t next_step;
  T* const* c;      // row i: NR dense elements at c[i]; rows may coincide where their results are unwanted
  bool accumulate;  // continue the accumulators that c holds, else begin with zero
  const T* bias;    // NR values added after the last step, or null
  bool relu;        // then y = max(y, 0), with NaN going through
  // Of the NR columns, those that are wanted: vectors behind them are neither read nor written.
  int64_t columns = std::numeric_limits<int64_t>::max();
};

// A is read through row pointers: an image without im2col, or a matrix as it lies.
struct GemmRows {
  static constexpr const char* name = "gemm_rows";
  template <class T>
  using Fn = void(const GemmTile<T>&);
  static Kernels kernels();
};

// A is packed: for transposed operands, weight gradients and large matrices.
struct GemmPanel {
  static constexpr const char* name = "gemm_panel";
  template <class T>
  using Fn = void(const GemmTile<T>&);
  static Kernels kernels();
};

// Rows of A that begin at equal distances, each of `taps` stretches of `run` elements, times all of a B that the
// second-level cache holds. For 0 <= i < rows, rows >= MR, and 0 <= j < columns:
//
//     c[i * ldc + j] = bias[j] + sum over t, k of a[i * a_step + t * a_tap + k]
//                                                   * b[j / NR * b_panel + (t * run + k) * ldb + j % NR]
//
// t, k ascending, each step one fused multiply-add; b and bias defined up to a multiple of NR columns; bias and relu
// as above. A few rows at a time get all their columns: with few steps that writes C at its full speed. With
// `accumulate` the sums go on from what c holds, and rows is a multiple of MR.
template <class T>
struct GemmStripArgs {
  int64_t rows;
  int64_t columns;
  int64_t taps;
  int64_t run;
  const T* a;
  int64_t a_step;
  int64_t a_tap;
  const T* b;
  int64_t ldb;
  int64_t b_panel;
  const T* bias;
  bool relu;
  T* c;
  int64_t ldc;
  bool accumulate = false;
  const T* next = nullptr;  // as in GemmTile
  int64_t next_step = 0;
  // Rows may be pixels of images: line_rows of them a line, which begins a_line after the line before, image_lines
  // lines an image, which begins another a_image further. Row 0 is pixel first_in_line of line first_line.
  int64_t line_rows = std::numeric_limits<int64_t>::max();
  int64_t a_line = 0;
  int64_t image_lines = 1;
  int64_t a_image = 0;
  int64_t first_in_line = 0;
  int64_t first_line = 0;
};

struct GemmStrip {
  static constexpr const char* name = "gemm_strip";
  template <class T>
  using Fn = void(const GemmStripArgs<T>&);
  static Kernels kernels();
};

// Columns of A are read where they lie, at any distance from each other: an image's pixels without a copy. Over
// rows * run steps, r, k ascending, each one fused multiply-add:
//
//     c[i][j] (+)= sum over r, k of a[i][r * a_row + k * a_step] * b[(r * run + k) * ldb + j]   0 <= i < MR, 0 <= j <
//     columns
//
// with 1 <= columns <= NR; elements beyond them are neither read nor written. Rows of c may coincide where unwanted.
// What becomes of c: the sums replace it, each sum goes on from it, or sums that begin with zero are added to it.
enum class Accumulation { none, resume, add };

template <class T>
struct GemmColumnsArgs {
  int64_t rows;
  int64_t run;
  const T* const* a;
  int64_t a_row;
  int64_t a_step;
  const T* b;
  int64_t ldb;
  int64_t columns;
  Accumulation accumulation;
  T* const* c;
};

struct GemmColumns {
  static constexpr const char* name = "gemm_columns";
  template <class T>
  using Fn = void(const GemmColumnsArgs<T>&);
  static Kernels kernels();
};

// A matrix's columns in panels: out[p * panel_size + k * out_step + i] = in[k * ld + p * width + i] for 0 <= k < steps,
// 0 <= p < panels, 0 <= i < width. Nothing else is read; elements of out between the rows of width may be overwritten,
// which lie out_step >= width apart, but none beyond the last one.
template <class T>
struct GemmPackArgs {
  const T* in;
  int64_t ld;
  int64_t steps;
  int64_t panels;
  int64_t width;
  T* out;
  int64_t out_step;
  int64_t panel_size;
};

struct GemmPack {
  static constexpr const char* name = "gemm_pack";
  template <class T>
  using Fn = void(const GemmPackArgs<T>&);
  static Kernels kernels();
};

// out[j * ld_out + i] = in[i * ld_in + j], 0 <= i < rows, 0 <= j < columns, both at least MR.
template <class T>
struct GemmTransposeArgs {
  const T* in;
  int64_t ld_in;
  int64_t rows;
  int64_t columns;
  T* out;
  int64_t ld_out;
};

struct GemmTranspose {
  static constexpr const char* name = "gemm_transpose";
  template <class T>
  using Fn = void(const GemmTransposeArgs<T>&);
  static Kernels kernels();
};

// A few rows times a B that comes from memory, which is read once, along its rows: for 0 <= i < rows, 0 <= j < columns
//
//     c[i * ldc + j] = sum over k < steps of a[i * lda + k] * b[k * ldb + j]
//
// k ascending, each step one fused multiply-add; steps >= 1. Elements beyond the columns are neither read nor written.
template <class T>
struct GemmVectorArgs {
  int64_t rows;
  int64_t columns;
  int64_t steps;
  const T* a;
  int64_t lda;
  const T* b;
  int64_t ldb;
  T* c;
  int64_t ldc;
};

struct GemmVector {
  static constexpr const char* name = "gemm_vector";
  template <class T>
  using Fn = void(const GemmVectorArgs<T>&);
  static Kernels kernels();
};

// The same for a B that lies as [columns, steps]: b[j * ldb + k].
struct GemmVectorTurned {
  static constexpr const char* name = "gemm_vector_turned";
  template <class T>
  using Fn = void(const GemmVectorArgs<T>&);
  static Kernels kernels();
};

// The most that the arithmetic units do: `rounds` rounds of independent fused multiply-adds of whole vectors, more than
// the units have under way at a time. Returns their number of floating-point operations; *sink keeps the compiler from
// dropping them.
struct FmaPeak {
  static constexpr const char* name = "fma_peak";
  template <class T>
  using Fn = int64_t(int64_t rounds, T* sink);
  static Kernels kernels();
};

// Floating-point operations a second of all threads in FmaPeak, the best of several short runs.
double measure_fma_peak(DType dtype);

#define SIXLOOP_KERNEL SIXLOOP_DECLARE_KERNEL
#include "gemm/kernels.inc"
#undef SIXLOOP_KERNEL

// Cycles of one step of register tiles side by side for so many columns: by their fused multiply-adds and by their
// loads, two of each a cycle. more_loads: besides those of A and B.
double columns_cycles(const Kernel& row, int64_t columns, int64_t more_loads = 0);
// The same of all tiles of a product of m rows and n columns.
double product_cycles(const Kernel& row, int64_t m, int64_t n);

// The kernel for a product of m rows and n columns: the one that spends the fewest cycles on them. A pure function.
template <class Kind, class T>
const Kernel& select_tile(int64_t m, int64_t n, Arch arch = current_arch());

}  // namespace sixloop
