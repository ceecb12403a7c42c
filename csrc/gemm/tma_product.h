// Products of bfloat16 by wgmma with operands that the copy engine brings. The blocks stay: one for each processor,
// which takes tile after tile. A warp fetches, two warpgroups multiply, so that the next tile's operands are on their
// way while results are stored. The order of additions is that of gemm/wgmma_product.h. Operands are
//
//     static constexpr bool kTurnedA, kTurnedB;   // neighbours in memory are neighbours along k
//     template <class Shape> struct Loader {      // what brings the operands of a tile, 64 steps of k at a time
//       Loader(const Operands&, const ProductTile&);
//       void load(T* stage, uint64_t* barrier);   // the next ones: rows of A, then columns of B
//     };
//     void prefetch() const;                      // its maps
//     RowRange rows(int64_t row, int64_t m) const;  // of C, from this one of the m rows that are multiplied: 16 of
//     them
#pragma once

#include <cudaTypedefs.h>

#include <algorithm>

#include "gemm/wgmma_matrices.h"

namespace sixloop::cuda {

// The tile of C, of which kStages steps of k lie in shared memory.
template <int BN_, int kStages_>
struct TmaShape {
  using T = BFloat16;
  static constexpr int BM = 128, BN = BN_, BK = 64, kStages = kStages_;
  static constexpr int kConsumers = 256;
  static constexpr int kThreads = kConsumers + 128;  // registers are given back by warpgroups; one thread fetches
  static constexpr int kStep = BK / 4;               // of k, an instruction
  static constexpr int kTile = BK * 64;              // elements of 64 rows or columns in a stage
  static constexpr int kStage = BK * (BM + BN);      // elements
  static constexpr int kResultColumns = 32;
  static constexpr size_t kAlignment = 1024;
  static constexpr size_t kResultBytes = kConsumers / 32 * kResultWords<kResultColumns> * sizeof(float);
  static constexpr size_t kMomentBytes = kTileMomentWords<BM, kResultColumns> * sizeof(float);
  static constexpr size_t kSharedBytes =
      kAlignment + kStages * kStage * sizeof(T) + kResultBytes + kMomentBytes + (2 * kStages + 1) * sizeof(uint64_t);
  static_assert(kSharedBytes <= 227 * 1024);
  // Registers for a thread: all 65536 of a processor are 168 for each at the start.
  static constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
};
// Blocks that stay, one for each processor of an H200; a number that does not depend on the GPU.
#if defined(SIXLOOP_SIMT)
constexpr int64_t kTmaBlocks = 2;
#else
constexpr int64_t kTmaBlocks = kWgmmaLimits.processors;
#endif

using Tma128x256 = TmaShape<256, 4>;
using Tma128x128 = TmaShape<128, 6>;
using Tma128x64 = TmaShape<64, 7>;

// A slot of the ring, and the parity of the phase that its barriers are in.
template <int kStages>
struct RingPlace {
  int slot = 0;
  uint32_t parity = 0;

  __device__ __forceinline__ void next() {
    if (++slot == kStages) {
      slot = 0;
      parity ^= 1;
    }
  }
};

// Brings 64 steps of k of BX rows or columns.
template <int BX, bool kTurned>
__device__ __forceinline__ void tma_load_operand(BFloat16* to, const CUtensorMap* map, uint64_t* barrier, int64_t x,
                                                 int64_t k, int64_t batch) {
  const int at_x = static_cast<int>(x), at_k = static_cast<int>(k), at_batch = static_cast<int>(batch);
  if constexpr (kTurned) {
    ptx::tma_load<3>(to, map, barrier, {at_k, at_x, at_batch});
  } else {
#pragma unroll
    for (int i = 0; i < BX / 64; ++i) ptx::tma_load<3>(to + i * 4096, map, barrier, {at_x + i * 64, at_k, at_batch});
  }
}

// Dense matrices, in batches.
template <bool kTurnedA_, bool kTurnedB_>
struct TmaMatrices {
  static constexpr bool kTurnedA = kTurnedA_, kTurnedB = kTurnedB_;
  CUtensorMap a, b;

  template <class Shape>
  struct Loader {
    const TmaMatrices& matrices;
    const ProductTile& at;
    int64_t k;

    __device__ __forceinline__ Loader(const TmaMatrices& operands, const ProductTile& tile)
        : matrices(operands), at(tile), k(tile.k_begin) {}
    __device__ __forceinline__ void load(BFloat16* stage, uint64_t* barrier) {
      tma_load_operand<Shape::BM, kTurnedA>(stage, &matrices.a, barrier, at.row, k, at.batch);
      tma_load_operand<Shape::BN, kTurnedB>(stage + Shape::BM * Shape::BK, &matrices.b, barrier, at.column, k,
                                            at.batch);
      k += Shape::BK;
    }
  };
  __device__ __forceinline__ void prefetch() const {
    ptx::tma_prefetch(&a);
    ptx::tma_prefetch(&b);
  }
  __device__ __forceinline__ static RowRange rows(int64_t row, int64_t m) { return {row, m}; }
};

template <class Shape, class Operands, class Rows>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    tma_kernel(ProductSizes g, const __grid_constant__ Operands operands, MmaSink<Rows> sink, int64_t tiles) {
#if defined(SIXLOOP_SM90A)
  using T = BFloat16;
  constexpr int BM = Shape::BM, BN = Shape::BN, BK = Shape::BK, kStages = Shape::kStages;
  T* shared = shared_memory<T>();
  shared += (0u - ptx::shared_address(shared)) % Shape::kAlignment / sizeof(T);
  float* const results = reinterpret_cast<float*>(shared + kStages * Shape::kStage);
  float* const moments = results + Shape::kResultBytes / sizeof(float);
  uint64_t* const full = reinterpret_cast<uint64_t*>(moments + Shape::kMomentBytes / sizeof(float));
  uint64_t* const empty = full + kStages;
  uint64_t* const together = empty + kStages;  // where the warps that multiply meet

  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      ptx::mbarrier_init(full + s, 1);
      ptx::mbarrier_init(empty + s, Shape::kConsumers / 32);
    }
    ptx::mbarrier_init(together, Shape::kConsumers);
    ptx::mbarrier_init_fence();
  }
  __syncthreads();

  RingPlace<kStages> place;
  if (warp >= Shape::kConsumers / 32) {
    ptx::decrease_registers<Shape::kProducerRegisters>();
    if (threadIdx.x == Shape::kConsumers) {
      operands.prefetch();
      for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const ProductTile at = product_tile<BM, BN, BK>(g, tile);
        typename Operands::template Loader<Shape> loader(operands, at);
        for (int t = 0; t < at.tiles_k; ++t) {
          ptx::mbarrier_wait(empty + place.slot, place.parity ^ 1);
          ptx::mbarrier_arrive_expect_tx(full + place.slot, Shape::kStage * sizeof(T));
          loader.load(shared + place.slot * Shape::kStage, full + place.slot);
          place.next();
        }
      }
    }
  } else {
    ptx::increase_registers<Shape::kConsumerRegisters>();
    uint32_t meetings = 0;  // the parity of their number
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const ProductTile at = product_tile<BM, BN, BK>(g, tile);
      float acc[BN / 2];
#pragma unroll
      for (float& v : acc) v = 0;
      uint64_t* used = nullptr;  // to be given back when its products are done
      for (int t = 0; t < at.tiles_k; ++t) {
        ptx::mbarrier_wait(full + place.slot, place.parity);
        const T* const a = shared + place.slot * Shape::kStage;
        multiply_stage<Shape, Operands::kTurnedA, Operands::kTurnedB>(acc, a, a + BM * BK);
        ptx::wgmma_wait<1>();
        if (used != nullptr && lane == 0) ptx::mbarrier_arrive(used);
        used = empty + place.slot;
        place.next();
      }
      ptx::wgmma_wait<0>();
      ptx::wgmma_hold(acc);
      if (used != nullptr && lane == 0) ptx::mbarrier_arrive(used);
      store_tile<BM, BN, Shape::kResultColumns>(acc, results, moments, warp, operands.rows(at.row + warp * 16, g.m), g,
                                                at, sink, [&] {
                                                  ptx::mbarrier_arrive(together);
                                                  ptx::mbarrier_wait(together, meetings);
                                                  meetings ^= 1;
                                                });
    }
  }
#endif
}

template <class Shape, class Operands, class Rows>
void launch_tma(const ProductSizes& g, const Operands& operands, const MmaSink<Rows>& sink) {
  const int64_t tiles = product_blocks(g, Shape::BM, Shape::BN);
  note_tile({Cores::wgmma_tma, kFactorName<BFloat16>, Shape::BM, Shape::BN, Shape::BK, g.parts});
  SIXLOOP_LAUNCH((tma_kernel<Shape, Operands, Rows>), static_cast<unsigned>(std::min(tiles, kTmaBlocks)),
                 Shape::kThreads, Shape::kSharedBytes, current_stream(), g, operands, sink, tiles);
}

// Every tile is compiled in a file of its own. Whether it was launched: not where the driver makes no tensor maps.
template <class Shape>
bool launch_tma_matrices(const ProductSizes& g, const MmaOperand<BFloat16>& left, const MmaOperand<BFloat16>& right,
                         const MmaSink<DenseRows>& sink);

// The driver's function of this name that makes tensor maps, or null where it does not know it.
void* find_tensor_map_encoder(const char* name);
// The same, of its type. In a dry run one that makes none.
template <class Encoder>
Encoder tensor_map_encoder(const char* name) {
  if (is_dry_run()) return [](auto...) { return CUDA_SUCCESS; };
  return reinterpret_cast<Encoder>(find_tensor_map_encoder(name));
}
// Throws what the encoder refused.
void check_tensor_map(CUresult error, const char* encoder);

// A map of an operand [batches, x_end, k] (turned) or [batches, k, x_end], of which boxes of 64 steps of k and `box_x`
// rows or columns are loaded. Throws where the driver refuses. The map is no result of the function: it must lie at a
// multiple of 64 bytes, where GCC 12 does not put every temporary.
inline PFN_cuTensorMapEncodeTiled_v12000 tma_encoder() {
  return tensor_map_encoder<PFN_cuTensorMapEncodeTiled_v12000>("cuTensorMapEncodeTiled");
}
void tma_operand(PFN_cuTensorMapEncodeTiled_v12000 encode, const MmaOperand<BFloat16>& operand, int64_t k,
                 int64_t batches, int box_x, CUtensorMap* map);

}  // namespace sixloop::cuda
