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
};

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

}  // namespace sixloop::cuda
