// What becomes of the sums of a product on the tensor cores, by mma.sync and by wgmma: C = relu(sum + bias + residual),
// computed in float32 and rounded once.
#pragma once

#include "base/bfloat16.h"
#include "gemm/simt_product.h"

namespace sixloop::cuda {

// One of the types that a bias, a residual or a result may have.
struct FloatOrBf16 {
  void* data;
  bool is_bf16;

  __device__ __forceinline__ float load(int64_t i) const {
    return is_bf16 ? static_cast<float>(static_cast<const BFloat16*>(data)[i]) : static_cast<const float*>(data)[i];
  }
  __device__ __forceinline__ void store(int64_t i, float value) const {
    if (is_bf16) {
      static_cast<BFloat16*>(data)[i] = BFloat16(value);
    } else {
      static_cast<float*>(data)[i] = value;
    }
  }
  // Eight neighbours, of which `live` are there; packs: by 16 bytes.
  __device__ __forceinline__ void load_eight(int64_t i, bool packs, int64_t live, float (&v)[8]) const {
    if (packs && live >= 8) {
      if (is_bf16) {
        const Pack<BFloat16> pack = load_pack(static_cast<const BFloat16*>(data) + i);
#pragma unroll
        for (int j = 0; j < 8; ++j) v[j] = static_cast<float>(pack.v[j]);
      } else {
#pragma unroll
        for (int j = 0; j < 8; j += 4) {
          const Pack<float> pack = load_pack(static_cast<const float*>(data) + i + j);
#pragma unroll
          for (int x = 0; x < 4; ++x) v[j + x] = pack.v[x];
        }
      }
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) v[j] = j < live ? load(i + j) : 0.0f;
    }
  }
  __device__ __forceinline__ void store_eight(int64_t i, bool packs, int64_t live, const float (&v)[8]) const {
    if (packs && live >= 8) {
      if (is_bf16) {
        Pack<BFloat16> pack;
#pragma unroll
        for (int j = 0; j < 8; ++j) pack.v[j] = BFloat16(v[j]);
        store_pack(pack, static_cast<BFloat16*>(data) + i);
      } else {
#pragma unroll
        for (int j = 0; j < 8; j += 4) {
          const Pack<float> pack{v[j], v[j + 1], v[j + 2], v[j + 3]};
          store_pack(pack, static_cast<float*>(data) + i + j);
        }
      }
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (j < live) store(i + j, v[j]);
      }
    }
  }
};

template <class Rows>
struct MmaSink {
  FloatOrBf16 out;
  Rows rows;
  int64_t batch_step, part_step;
  FloatOrBf16 bias;  // its data may be null
  int64_t bias_step;
  FloatOrBf16 residual;  // laid out as the results are; its data may be null
  bool relu;
  bool packs;  // eight columns of every row, batch and part may be moved by 16 bytes
  // [blocks of kMomentRows rows, moments_ld columns of all batches]: each column's mean of sum + bias, rounded as the
  // results are, and the sum of squared deviations from it. May be null.
  float2* moments;
  int64_t moments_ld;
};

// A multiple of every warp's rows that divides every tile's: what is written does not depend on the tile's height.
constexpr int kMomentRows = 64;
// Words that a warp leaves of a column for merge_moments(): a value of the column, and the sums of deviations from it
// and of their squares.
constexpr int kMomentWords = 3;

// Merges the moments of BM rows from `row` on and kColumns columns, [BM / kWarpRows, kColumns, kMomentWords], of which
// `live` columns are there, and stores them to column `to` of the sink's. Called by `threads` threads, `thread` is the
// number of this one.
template <int BM, int kWarpRows, int kColumns, class Rows>
__device__ __forceinline__ void merge_moments(const float* shared, int thread, int threads, const MmaSink<Rows>& sink,
                                              int64_t row, int64_t rows, int64_t to, int64_t live) {
  constexpr int kWarps = kMomentRows / kWarpRows;
  for (int i = thread; i < BM / kMomentRows * kColumns; i += threads) {
    const int block = i / kColumns, column = i % kColumns;
    int64_t left = rows - row - block * kMomentRows;
    if (left <= 0 || column >= live) continue;
    const float* const from = shared + (block * kWarps * kColumns + column) * kMomentWords;
    const float base = from[0], count = static_cast<float>(left < kMomentRows ? left : kMomentRows);
    float sum = from[1], squares = from[2];
#pragma unroll
    for (int warp = 1; warp < kWarps; ++warp) {
      left -= kWarpRows;
      if (left <= 0) break;
      const float* const next = from + warp * kColumns * kMomentWords;
      const float n = static_cast<float>(left < kWarpRows ? left : kWarpRows);
      const float d = next[0] - base, moved = n * d;
      squares += next[2] + d * (2 * next[1] + moved);
      sum += next[1] + moved;
    }
    const float deviation = squares - sum * (sum / count);
    sink.moments[(row / kMomentRows + block) * sink.moments_ld + to + column] =
        make_float2(base + sum / count, deviation < 0 ? 0.0f : deviation);  // NaN stays
  }
}

// Words of shared memory that a warp's results go through, 16 rows of kColumns at a time, so that a row's neighbours
// are stored together. 8 words more than a row keep its stores apart.
template <int kColumns>
constexpr int kResultWords = 16 * (kColumns + 8);

// The results of a warp in kColumns columns of C. A lane has eight neighbouring ones of every kRowsAtOnce-th row.
template <int kColumns, class Rows>
struct WarpResults {
  static constexpr int kRow = kColumns + 8, kLanes = kColumns / 8, kRowsAtOnce = 32 / kLanes;
  static constexpr int kPasses = 16 / kRowsAtOnce;
  const MmaSink<Rows>& sink;
  float* const shared;  // kResultWords of the warp's own
  const int lane, place;
  const int64_t live, first;  // columns, the offset of the first one
  float bias[8];
  // Columns [column, columns) of this batch and part.
  __device__ __forceinline__ WarpResults(const MmaSink<Rows>& to, float* results, int64_t batch, int64_t part,
                                         int64_t column, int64_t columns)
      : sink(to),
        shared(results),
        lane(static_cast<int>(threadIdx.x) % 32),
        place(lane % kLanes * 8),
        live(columns - column - place),
        first(batch * to.batch_step + part * to.part_step + column + place) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      bias[j] = sink.bias.data != nullptr && j < live ? sink.bias.load(batch * sink.bias_step + column + place + j) : 0;
    }
  }

  // Takes 16 rows from the accumulators, sum(i) being number i % 4 of instruction i / 4, and stores those of the rows
  // row, row + 1, ... that are below `rows`.
  template <class Sum>
  __device__ __forceinline__ void store(int64_t row, int64_t rows, const Sum& sum) const {
    float residual[kPasses][8];
    if (sink.residual.data != nullptr && live > 0) {
      // All loads are on their way before the first is needed.
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass) {
        const int64_t r = row + pass * kRowsAtOnce + lane / kLanes;
        if (r < rows) sink.residual.load_eight(first + sink.rows(r), sink.packs, live, residual[pass]);
      }
    }
    __syncwarp();
#pragma unroll
    for (int j = 0; j < kLanes; ++j) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        *reinterpret_cast<float2*>(shared + (lane / 4 + half * 8) * kRow + j * 8 + lane % 4 * 2) =
            make_float2(sum(j * 4 + half * 2), sum(j * 4 + half * 2 + 1));
      }
    }
    __syncwarp();
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const int line = pass * kRowsAtOnce + lane / kLanes;
      const int64_t r = row + line;
      if (r < rows && live > 0) {
        float v[8];
#pragma unroll
        for (int j = 0; j < 8; j += 4) {
          const Pack<float> pack = load_pack(shared + line * kRow + place + j);
#pragma unroll
          for (int x = 0; x < 4; ++x) v[j + x] = pack.v[x];
        }
        if (sink.bias.data != nullptr) {
#pragma unroll
          for (int j = 0; j < 8; ++j) v[j] = v[j] + bias[j];
        }
        if (sink.residual.data != nullptr) {
#pragma unroll
          for (int j = 0; j < 8; ++j) v[j] = v[j] + residual[pass][j];
        }
        if (sink.relu) {
#pragma unroll
          for (int j = 0; j < 8; ++j) v[j] = Lane<float>::max(Lane<float>::zero(), {v[j]}).v;
        }
        sink.out.store_eight(first + sink.rows(r), sink.packs, live, v);
      }
    }
  }
};

// The moments of the rows that a warp stores through WarpResults. A lane has every 32nd column of the warp's.
template <int kColumns, class Rows>
struct WarpMoments {
  static constexpr int kOwn = kColumns / 32, kRow = kColumns + 8;
  const MmaSink<Rows>& sink;
  const float* const from;  // of the lane's first column
  const int lane;
  float bias[kOwn];
  // Sums of deviations from `base`. As it is one of n values, the sum of their squares is at most n + 1 times that of
  // the deviations from the mean: a large mean costs no digits.
  float base[kOwn], sums[kOwn] = {}, squares[kOwn] = {};

  __device__ __forceinline__ WarpMoments(const MmaSink<Rows>& to, const float* results, int64_t batch, int64_t column,
                                         int64_t columns)
      : sink(to), from(results + threadIdx.x % 32), lane(static_cast<int>(threadIdx.x) % 32) {
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int64_t c = column + lane + i * 32;
      bias[i] = sink.bias.data != nullptr && c < columns ? sink.bias.load(batch * sink.bias_step + c) : 0.0f;
    }
  }

  __device__ __forceinline__ float stored(int i, int line) const {
    const float v = from[line * kRow + i * 32] + bias[i];
    return sink.out.is_bf16 ? static_cast<float>(BFloat16(v)) : v;
  }
  // Takes the rows that were stored last, those of them that are below `rows`.
  __device__ __forceinline__ void add(int64_t row, int64_t rows, bool first) {
    const int count = static_cast<int>(rows - row < 16 ? rows - row : 16);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      if (first) base[i] = stored(i, 0);
#pragma unroll
      for (int line = 0; line < 16; ++line) {
        if (line >= count) break;
        const float d = stored(i, line) - base[i];
        sums[i] += d;
        squares[i] = Lane<float>::fma({d}, {d}, {squares[i]}).v;
      }
    }
  }
  // to: [kColumns, kMomentWords].
  __device__ __forceinline__ void share(float* to) const {
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      float* const column = to + (lane + i * 32) * kMomentWords;
      column[0] = base[i];
      column[1] = sums[i];
      column[2] = squares[i];
    }
  }
};

}  // namespace sixloop::cuda
