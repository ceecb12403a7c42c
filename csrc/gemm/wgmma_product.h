// The product of matrices on Hopper's tensor cores by wgmma: bfloat16, or float32 by tf32, with float32 sums. Operands
// are those of gemm/mma_product.h of which whole chunks may be copied; cp.async brings them to where wgmma reads them,
// whatever they gather. The order of additions is the hardware's, in ascending groups of 16 steps of k (tf32: 8).
//
// In tf32 wgmma would cut elements off: those of A come by way of registers, where they are rounded, whichever way A
// lies; those of B must have been rounded before, and neighbours in memory must be neighbours along k.
#pragma once

#include "gemm/mma_product.h"

// wgmma is a word of sm_90a alone. Other code of these kernels is never launched: has_wgmma().
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(SIXLOOP_SIMT)
#define SIXLOOP_SM90A 1
#endif

namespace sixloop::cuda {

// Words of shared memory for the moments of the warps of BM rows: of two slices, so that one is merged while the next
// one's are written.
template <int BM, int kColumns>
constexpr int kTileMomentWords = 2 * (BM / 16) * kColumns * kMomentWords;

// The tile of C that a block computes, a warpgroup for each 64 rows of it. Of its steps of k, 128 bytes at a time,
// kStages lie in shared memory. kBlocks: that a processor is to hold; a lone one does not wait for its products before
// it goes on to the next stage, unless they read registers.
template <class T_, int BM_, int BN_, int kStages_, int kBlocks_>
struct WgmmaShape {
  using T = T_;
  static constexpr int BM = BM_, BN = BN_, BK = 128 / static_cast<int>(sizeof(T));
  static constexpr int kStages = kStages_, kBlocks = kBlocks_;
  static constexpr int kThreads = 2 * BM;
  static constexpr int kStep = BK / 4;                                      // of k, an instruction
  static constexpr int kUnderWay = kBlocks == 1 && sizeof(T) == 2 ? 1 : 0;  // products
  static constexpr int kAhead = kStages - 1 - kUnderWay;                    // stages that are being copied
  static constexpr int kStage = BK * (BM + BN);                             // elements
  static constexpr int kTile = BK * 64;                                     // elements of 64 rows or columns in a stage
  static constexpr int kResultColumns = 64;
  static constexpr size_t kOperandBytes = kStages * kStage * sizeof(T);
  static constexpr size_t kResultBytes = kThreads / 32 * kResultWords<kResultColumns> * sizeof(float);
  static constexpr size_t kMomentBytes = kTileMomentWords<BM, kResultColumns> * sizeof(float);
  static constexpr size_t kAlignment = 1024;  // of wgmma's operands
  static constexpr size_t kSharedBytes = kAlignment + kOperandBytes;
  static_assert(kOperandBytes >= kResultBytes + kMomentBytes);
};
template <class T>
using Wgmma128x256 = WgmmaShape<T, 128, 256, 4, 1>;
template <class T>
using Wgmma128x128 = WgmmaShape<T, 128, 128, 6, 1>;
template <class T>
using Wgmma128x64 = WgmmaShape<T, 128, 64, 4, 2>;
template <class T>
using Wgmma64x64 = WgmmaShape<T, 64, 64, 4, 3>;

// A stage's share of an operand, in the layout of ptx::wgmma_operand. That of float32 across k, A's, is read by
// threads: lines along x are BX elements long, and their chunks are exchanged in pairs so that two chunks of four lines
// lie in different banks.
template <class T_, int BX_, int kThreads_, bool kTurned_>
struct WgmmaShare {
  using T = T_;
  static constexpr int BX = BX_, BK = 128 / static_cast<int>(sizeof(T)), kThreads = kThreads_, kChunk = Pack<T>::N;
  static constexpr bool kTurned = kTurned_;
  static constexpr int kLine = (kTurned ? BK : BX) / kChunk;  // chunks
  static constexpr int kChunks = BX * BK / kChunk / kThreads;
  static_assert(kChunks * kChunk * kThreads == BX * BK && kThreads % kLine == 0);
  static constexpr int kLinesApart = kThreads / kLine;  // from one chunk of a thread to its next

  __device__ __forceinline__ static int at(int line, int chunk) {
    if constexpr (!kTurned && sizeof(T) == 4) return line * BX + (chunk ^ line % 4 * 2) * kChunk;
    return chunk / 8 * (BK * 64) + line * BK + (chunk % 8 ^ line % 8) * kChunk;
  }
  __device__ __forceinline__ static int line() { return static_cast<int>(threadIdx.x) / kLine; }
  __device__ __forceinline__ static int along() { return static_cast<int>(threadIdx.x) % kLine * kChunk; }

  struct Put {
    T* shared;

    __device__ __forceinline__ T* to(int p) const { return shared + at(line() + p * kLinesApart, along() / kChunk); }
    __device__ __forceinline__ void whole(int p, const T* from, bool present) const {
      ptx::cp_async<16>(to(p), from, present);
    }
    // Only operands of whole chunks come here.
    template <class Find>
    __device__ __forceinline__ void pieces(int, int, const Find&) const {}
  };
};
template <class Shape, class Left>
using WgmmaShareOfA = WgmmaShare<typename Shape::T, Shape::BM, Shape::kThreads, Left::kTurned>;
template <class Shape, class Right>
using WgmmaShareOfB = WgmmaShare<typename Shape::T, Shape::BN, Shape::kThreads, Right::kTurned>;

// What a block computes: rows and columns of C from here on, over a range of k.
struct ProductTile {
  int64_t row, column, batch, part, k_begin, k_end;
  int tiles_k;
};

// Tile number `index` of all batches and parts, in stripes.
template <int BM, int BN, int BK>
__device__ __forceinline__ ProductTile product_tile(const ProductSizes& g, int64_t index) {
  const int64_t tiles_m = ceil_div(g.m, BM), tiles_n = ceil_div(g.n, BN);
  const int64_t tile = index % (tiles_m * tiles_n), rest = index / (tiles_m * tiles_n);
  const int64_t stripe = tile / (kStripe * tiles_n), within = tile % (kStripe * tiles_n);
  const int64_t height = tiles_m - stripe * kStripe < kStripe ? tiles_m - stripe * kStripe : kStripe;
  ProductTile t;
  t.row = (stripe * kStripe + within % height) * BM;
  t.column = within / height * BN;
  t.batch = rest % g.batches;
  t.part = rest / g.batches;
  t.k_begin = t.part * g.part_k;
  t.k_end = g.parts == 1 || g.k < t.k_begin + g.part_k ? g.k : t.k_begin + g.part_k;
  t.tiles_k = static_cast<int>(ceil_div(t.k_end - t.k_begin, BK));
  return t;
}

// Rows of C from `first` on, of which those below `end` are there.
struct RowRange {
  int64_t first, end;
};

// Stores a warp's 16 rows of a tile of BM x BN, which are those of `rows`. `results`: kResultWords<kColumns> for each
// of its BM / 16 warps. `moments`: kTileMomentWords; meet() is a barrier of all these warps. Without moments in the
// sink neither is used.
template <int BM, int BN, int kColumns, class Rows, class Meet>
__device__ __forceinline__ void store_tile(const float (&acc)[BN / 2], float* results, float* moments, int warp,
                                           const RowRange& rows, const ProductSizes& g, const ProductTile& at,
                                           const MmaSink<Rows>& sink, const Meet& meet) {
#pragma unroll
  for (int slice = 0; slice < BN / kColumns; ++slice) {
    const int64_t column = at.column + slice * kColumns;
    float* const own = results + warp * kResultWords<kColumns>;
    const WarpResults<kColumns, Rows> to(sink, own, at.batch, at.part, column, g.n);
    to.store(rows.first, rows.end, [&](int i) { return acc[slice * (kColumns / 2) + i]; });
    if (sink.moments != nullptr) {
      float* const shared = moments + slice % 2 * (kTileMomentWords<BM, kColumns> / 2);
      WarpMoments<kColumns, Rows> of_slice(sink, own, at.batch, column, g.n);
      of_slice.add(rows.first, rows.end, true);
      of_slice.share(shared + warp * kColumns * kMomentWords);
      meet();
      merge_moments<BM, 16, kColumns>(shared, warp * 32 + static_cast<int>(threadIdx.x) % 32, 2 * BM, sink, at.row, g.m,
                                      at.batch * sink.bias_step + column, g.n - column);
    }
  }
}

// c += a b for a stage of a block: `a` and `b` are its operands in shared memory.
template <class Shape, bool kTurnedA, bool kTurnedB>
__device__ __forceinline__ void multiply_stage(float (&acc)[Shape::BN / 2], const BFloat16* a, const BFloat16* b) {
  // From one instruction's steps of k to the next.
  constexpr int kStepA = kTurnedA ? Shape::kStep : Shape::kStep * 64;
  constexpr int kStepB = kTurnedB ? Shape::kStep : Shape::kStep * 64;
  constexpr uint32_t kTileBytes = Shape::kTile * sizeof(BFloat16);
  a += static_cast<int>(threadIdx.x) / 128 * Shape::kTile;
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    ptx::wgmma_bf16<Shape::BN, !kTurnedA, !kTurnedB>(acc, ptx::wgmma_operand(a + step * kStepA, 1024, kTileBytes),
                                                     ptx::wgmma_operand(b + step * kStepB, 1024, kTileBytes), true);
  }
  ptx::wgmma_commit();
}
// In tf32. `left` is held until the products are done.
template <class Shape, bool kTurnedA>
__device__ __forceinline__ void multiply_stage(float (&acc)[Shape::BN / 2], uint32_t (&left)[4][4], const float* a,
                                               const float* b) {
  using Share = WgmmaShare<float, Shape::BM, Shape::kThreads, kTurnedA>;
  const int lane = static_cast<int>(threadIdx.x) % 32, row = static_cast<int>(threadIdx.x) / 32 * 16;
  if constexpr (kTurnedA) {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      ptx::ldmatrix_x4(left[step], a + Share::at(row + lane % 16, 2 * step + lane / 16));
    }
  } else {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      // Lines four apart have the same exchange.
      const float* const from = a + Share::at(t, row / 4 + half * 2 + g / 4) + g % 4;
#pragma unroll
      for (int k = 0; k < Shape::BK; k += 4) {
        left[k / 8][k % 8 / 2 + half] = std::bit_cast<uint32_t>(from[k * Shape::BM]);
      }
    }
  }
  round_fragments<float>(left);
  ptx::wgmma_fence();
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    ptx::wgmma_tf32<Shape::BN>(acc, left[step], ptx::wgmma_operand(b + step * Shape::kStep, 1024, 0), true);
  }
  ptx::wgmma_commit();
}

template <class Shape, class Left, class Right, class Rows>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    wgmma_kernel(ProductSizes g, Left left, Right right, MmaSink<Rows> sink) {
#if defined(SIXLOOP_SM90A)
  using T = typename Shape::T;
  using ShareA = WgmmaShareOfA<Shape, Left>;
  using ShareB = WgmmaShareOfB<Shape, Right>;
  constexpr int BM = Shape::BM, BN = Shape::BN, BK = Shape::BK, kStages = Shape::kStages;
  T* shared = shared_memory<T>();
  shared += (0u - ptx::shared_address(shared)) % Shape::kAlignment / sizeof(T);

  const ProductTile at = product_tile<BM, BN, BK>(g, blockIdx.x);
  const int tiles_k = at.tiles_k;

  typename Left::template Loader<ShareA> load_a(left, at.batch, at.row, at.k_begin, at.k_end);
  typename Right::template Loader<ShareB> load_b(right, at.batch, at.column, at.k_begin, at.k_end);
  const auto fetch = [&](int t) {
    if (t < tiles_k) {
      T* const stage = shared + t % kStages * Shape::kStage;
      load_a.load(typename ShareA::Put{stage});
      load_b.load(typename ShareB::Put{stage + BM * BK});
    }
    ptx::cp_async_commit();
  };
#pragma unroll
  for (int t = 0; t < Shape::kAhead; ++t) fetch(t);

  float acc[BN / 2];
#pragma unroll
  for (float& v : acc) v = 0;
  for (int t = 0; t < tiles_k; ++t) {
    ptx::cp_async_wait<Shape::kAhead - 1>();
    ptx::fence_proxy_async();
    // All see what all have copied to this stage, and the products of the stage that is fetched below are done.
    __syncthreads();
    const T* const a = shared + t % kStages * Shape::kStage;
    const T* const b = a + BM * BK;
    if constexpr (sizeof(T) == 2) {
      multiply_stage<Shape, Left::kTurned, Right::kTurned>(acc, a, b);
      fetch(t + Shape::kAhead);
      ptx::wgmma_wait<Shape::kUnderWay>();
    } else {
      uint32_t left_registers[4][4];
      multiply_stage<Shape, Left::kTurned>(acc, left_registers, a, b);
      fetch(t + Shape::kAhead);
      ptx::wgmma_wait<0>();
#pragma unroll
      for (uint32_t (&step)[4] : left_registers) ptx::wgmma_hold(step);
    }
  }
  ptx::wgmma_wait<0>();
  ptx::wgmma_hold(acc);
  ptx::cp_async_wait<0>();
  __syncthreads();

  float* const results = reinterpret_cast<float*>(shared);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  store_tile<BM, BN, Shape::kResultColumns>(acc, results, results + Shape::kResultBytes / sizeof(float), warp,
                                            {at.row + warp * 16, g.m}, g, at, sink, [] { __syncthreads(); });
#endif
}

template <class Shape, class Left, class Right, class Rows>
void launch_wgmma(const ProductSizes& g, Left left, Right right, const MmaSink<Rows>& sink) {
  left.template prepare<WgmmaShareOfA<Shape, Left>>();
  right.template prepare<WgmmaShareOfB<Shape, Right>>();
  const auto blocks = static_cast<unsigned>(product_blocks(g, Shape::BM, Shape::BN));
  note_tile({Cores::wgmma, kFactorName<typename Shape::T>, Shape::BM, Shape::BN, Shape::BK, g.parts});
  SIXLOOP_LAUNCH((wgmma_kernel<Shape, Left, Right, Rows>), blocks, Shape::kThreads, Shape::kSharedBytes,
                 current_stream(), g, left, right, sink);
}

}  // namespace sixloop::cuda
