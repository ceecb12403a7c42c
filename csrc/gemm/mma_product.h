// The product of matrices on the tensor cores by mma.sync, which every GPU from compute capability 8.0 on has:
// bfloat16, or float32 whose factors are rounded to tf32. Sums are float32. Operands are dense matrices or gather what
// lies under a window, as in gemm/simt_product.h:
//
//     static constexpr bool kTurned;              // neighbours in memory are neighbours along k
//     int width;                                  // elements that lie together wherever a chunk of 16 bytes is cut
//     template <class Share> void prepare();      // on the host, before the launch
//     template <class Share> struct Loader {      // what one thread copies for its block
//       Loader(const Operand&, int64_t batch, int64_t x, int64_t k, int64_t k_end);   // from row or column x of C on
//       template <class Put> void load(Put&);     // its chunks of the next BK steps of k, see Share::Put
//     };
//
// Elements that are not there are zeros; beyond the last k both operands have them. The order of additions is the
// hardware's: ascending in groups of 8 or 16 steps of k, within a group as the tensor core does it. It does not depend
// on the tile.
#pragma once

#include <bit>

#include "cuda/ptx.h"
#include "gemm/epilogue.h"
#include "gemm/mma_plan.h"

namespace sixloop::cuda {

// The tile of C that a block of WARPS_M x WARPS_N warps computes. Its steps of k are 64 bytes of an operand's row, two
// instructions long, of which kStages lie in shared memory.
template <class T_, int BM_, int BN_, int WARPS_M, int WARPS_N, int kStages_, int kBlocks_>
struct MmaShape {
  using T = T_;
  static constexpr int BM = BM_, BN = BN_, BK = 64 / static_cast<int>(sizeof(T));
  static constexpr int kChunk = Pack<T>::N;       // elements
  static constexpr int kSteps = BK / kChunk / 2;  // instructions along k
  static constexpr int kWarpsM = WARPS_M, kWarpsN = WARPS_N, kThreads = 32 * WARPS_M * WARPS_N;
  static constexpr int WM = BM / WARPS_M, WN = BN / WARPS_N;  // of one warp
  static constexpr int MI = WM / 16, NI = WN / 8;             // instructions
  static constexpr int kStages = kStages_, kBlocks = kBlocks_;
  static constexpr size_t kResultBytes = WARPS_M * WARPS_N * kResultWords<WN> * sizeof(float);
  static constexpr size_t kMomentBytes = WARPS_M * BN * kMomentWords * sizeof(float);
  static_assert(NI % 2 == 0);
};
template <class T>
using Mma128x128 = MmaShape<T, 128, 128, 2, 2, 4, 2>;
template <class T>
using Mma128x64 = MmaShape<T, 128, 64, 2, 2, 4, 3>;
template <class T>
using Mma64x64 = MmaShape<T, 64, 64, 2, 2, 4, 4>;
// For operands that are not made of whole chunks.
template <class T>
using MmaAnyWidth = MmaShape<T, 64, 64, 2, 2, 4, 3>;

// What a product's factors are rounded to.
template <class T>
constexpr const char* kFactorName = sizeof(T) == 2 ? "bf16" : "tf32";

// The emulator's tests meet all tiles, and products in parts, in small sizes.
#if defined(SIXLOOP_SIMT)
constexpr MmaLimits kMmaLimitsHere{2, 6, 64, 16, int64_t{16} << 20};
#else
constexpr MmaLimits kMmaLimitsHere = kMmaLimits;
#endif

// A stage's share of an operand in shared memory. Lines along k are BK elements long, and their chunks of 16 bytes are
// exchanged so that eight lines' chunks of the same number lie in different banks. Lines along x lie eight elements
// further apart than they are long, to the same end: 8 x 16 bytes of bfloat16, or 4 x 8 words, meet all banks once.
template <class T_, int BX_, int BK_, int kThreads_, bool kTurned_>
struct MmaShare {
  using T = T_;
  static constexpr int BX = BX_, BK = BK_, kThreads = kThreads_, kChunk = Pack<T>::N;
  static constexpr bool kTurned = kTurned_;
  static constexpr int kLength = kTurned ? BK : BX;
  static constexpr int kRow = kTurned ? BK : BX + 8;
  static constexpr int kSize = kRow * (kTurned ? BX : BK);  // elements
  static constexpr int kLine = kLength / kChunk;            // chunks
  static constexpr int kChunks = BX * BK / kChunk / kThreads;
  static_assert(kChunks * kChunk * kThreads == BX * BK && kThreads % kLine == 0 && BK == 4 * kChunk);
  static constexpr int kLinesApart = kThreads / kLine;  // from one chunk of a thread to its next
  static_assert(!kTurned || kLinesApart % 8 == 0);

  // Lines eight apart have the same exchange: `eights` is a multiple of it that does not touch the rest of the address.
  __device__ __forceinline__ static int at(unsigned line, unsigned chunk, int eights = 0) {
    const unsigned place = kTurned ? chunk ^ (line / 2 & 3) : chunk;
    return static_cast<int>(line * kRow + place * kChunk) + eights * kRow;
  }

  __device__ __forceinline__ static int line() { return static_cast<int>(threadIdx.x) / kLine; }
  __device__ __forceinline__ static int along() { return static_cast<int>(threadIdx.x) % kLine * kChunk; }

  // Copies the p-th chunk of the thread. Line p lies p * kLinesApart lines after line(), its chunk at along().
  struct Put {
    T* shared;

    __device__ __forceinline__ T* to(int p) const {
      return shared + at(threadIdx.x / kLine, threadIdx.x % kLine, p * kLinesApart);
    }
    __device__ __forceinline__ void whole(int p, const T* from, bool present) const {
      ptx::cp_async<16>(to(p), from, present);
    }
    // In pieces of W elements: find(j, present) tells where elements j ... j + W - 1 lie.
    template <int W, class Find>
    __device__ __forceinline__ void pieces(int p, const Find& find) const {
      if constexpr (W * sizeof(T) >= 4) {
#pragma unroll
        for (int j = 0; j < kChunk; j += W) {
          bool present = false;
          const T* const from = find(j, present);
          ptx::cp_async<W * sizeof(T)>(to(p) + j, from, present);
        }
      } else {
        Pack<T> pack;
#pragma unroll
        for (int j = 0; j < kChunk; ++j) {
          bool present = false;
          const T* const from = find(j, present);
          pack.v[j] = present ? *from : T{};
        }
        store_pack(pack, to(p));
      }
    }
    template <class Find>
    __device__ __forceinline__ void pieces(int p, int width, const Find& find) const {
      if constexpr (sizeof(T) == 2) {
        if (width == 2) return pieces<2>(p, find);
      }
      pieces<1>(p, find);
    }
  };
};
template <class Shape, class Left>
using MmaShareOfA = MmaShare<typename Shape::T, Shape::BM, Shape::BK, Shape::kThreads, Left::kTurned>;
template <class Shape, class Right>
using MmaShareOfB = MmaShare<typename Shape::T, Shape::BN, Shape::BK, Shape::kThreads, Right::kTurned>;

template <class Shape, class Left, class Right>
struct MmaStages {
  static constexpr int kStage = MmaShareOfA<Shape, Left>::kSize + MmaShareOfB<Shape, Right>::kSize;  // elements
  static constexpr size_t kOperandBytes = Shape::kStages * kStage * sizeof(typename Shape::T);
  static constexpr size_t kBytes = kOperandBytes;
  static_assert(kBytes >= Shape::kResultBytes + Shape::kMomentBytes);
};

// Elements that lie together where every line begins at a multiple of `step` elements and is `length` long: a chunk,
// 4 bytes, or one.
template <class T>
int mma_width(const T* data, int64_t length, int64_t step, int64_t other_step = 0) {
  const auto all = static_cast<uint64_t>(length) | static_cast<uint64_t>(step) | static_cast<uint64_t>(other_step) |
                   (reinterpret_cast<uintptr_t>(data) / sizeof(T));
  for (const int width : {Pack<T>::N, sizeof(T) == 2 ? 2 : 1}) {
    if (all % static_cast<uint64_t>(width) == 0) return width;
  }
  return 1;
}

// Rows or columns [0, x_end) of a dense matrix.
template <class T, bool kTurned_, bool kAnyWidth>
struct MmaMatrix {
  static constexpr bool kTurned = kTurned_;
  const T* data;
  int64_t ld;
  int64_t x_end;
  int64_t batch_step;
  int width;

  template <class Share>
  void prepare() {}

  template <class Share>
  struct Loader {
    const MmaMatrix& m;
    const T* from;
    int x_left, k_left;  // from the thread's first element to the end

    __device__ __forceinline__ Loader(const MmaMatrix& matrix, int64_t batch, int64_t x, int64_t k, int64_t k_end)
        : m(matrix) {
      const int64_t first_x = x + (kTurned ? Share::line() : Share::along());
      const int64_t first_k = k + (kTurned ? Share::along() : Share::line());
      const int64_t left = m.x_end - first_x;
      x_left = static_cast<int>(left < Share::BX ? left : Share::BX);
      k_left = static_cast<int>(k_end - first_k);
      from = m.data + batch * m.batch_step + (kTurned ? first_x * m.ld + first_k : first_k * m.ld + first_x);
    }

    template <class Put>
    __device__ __forceinline__ void load(const Put& put) {
      const int lines_left = kTurned ? x_left : k_left, length_left = kTurned ? k_left : x_left;
#pragma unroll
      for (int p = 0; p < Share::kChunks; ++p) {
        const bool on_line = p * Share::kLinesApart < lines_left;
        const T* const chunk = from + p * Share::kLinesApart * m.ld;
        if (!kAnyWidth || m.width == Share::kChunk) {
          put.whole(p, chunk, on_line && length_left > 0);
        } else {
          put.pieces(p, m.width, [&](int j, bool& present) {
            present = on_line && j < length_left;
            return chunk + j;
          });
        }
      }
      from += kTurned ? Share::BK : Share::BK * m.ld;
      k_left -= Share::BK;
    }
  };
};

// The fragments of one step of an operand of a warp, kLong instructions long.
template <class Share, int kLong>
__device__ __forceinline__ void load_left(const typename Share::T* shared, int x, int step, uint32_t (&a)[kLong][4]) {
  using T = typename Share::T;
  const unsigned lane = threadIdx.x % 32;
  if constexpr (Share::kTurned) {
#pragma unroll
    for (int i = 0; i < kLong; ++i) {
      ptx::ldmatrix_x4(a[i], shared + Share::at(lane % 16, 2 * step + lane / 16, x + i * 16));
    }
  } else if constexpr (sizeof(T) == 2) {
#pragma unroll
    for (int i = 0; i < kLong; ++i) {
      ptx::ldmatrix_x4_transposed(a[i],
                                  shared + Share::at(lane / 16 * 8 + lane % 8, lane / 8 % 2, step * 16) + x + i * 16);
    }
  } else {
    const unsigned g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < kLong; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        a[i][r] = std::bit_cast<uint32_t>(shared[Share::at(t, 0, step * 8 + r / 2 * 4) + x + i * 16 + g + r % 2 * 8]);
      }
    }
  }
}
template <class Share, int kLong>
__device__ __forceinline__ void load_right(const typename Share::T* shared, int x, int step, uint32_t (&b)[kLong][2]) {
  using T = typename Share::T;
  const unsigned lane = threadIdx.x % 32;
  if constexpr (Share::kTurned || sizeof(T) == 2) {
#pragma unroll
    for (int i = 0; i < kLong; i += 2) {
      uint32_t r[4];
      if constexpr (Share::kTurned) {
        ptx::ldmatrix_x4(r, shared + Share::at(lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2, x + i * 8));
      } else {
        ptx::ldmatrix_x4_transposed(r, shared + Share::at(lane % 16, lane / 16, step * 16) + x + i * 8);
      }
      b[i][0] = r[0];
      b[i][1] = r[1];
      b[i + 1][0] = r[2];
      b[i + 1][1] = r[3];
    }
  } else {
    const unsigned g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < kLong; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        b[i][r] = std::bit_cast<uint32_t>(shared[Share::at(t, 0, step * 8 + r * 4) + x + i * 8 + g]);
      }
    }
  }
}
// Rounds float32 to tf32.
template <class T, int kLong, int kRegisters>
__device__ __forceinline__ void round_fragments(uint32_t (&f)[kLong][kRegisters]) {
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < kLong; ++i) {
#pragma unroll
      for (int r = 0; r < kRegisters; ++r) f[i][r] = ptx::to_tf32(std::bit_cast<float>(f[i][r]));
    }
  }
}

template <class Shape, class Left, class Right, class Rows>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    mma_kernel(ProductSizes g, Left left, Right right, MmaSink<Rows> sink) {
  using T = typename Shape::T;
  using ShareA = MmaShareOfA<Shape, Left>;
  using ShareB = MmaShareOfB<Shape, Right>;
  constexpr int BM = Shape::BM, BN = Shape::BN, BK = Shape::BK, kStages = Shape::kStages;
  constexpr int kStage = MmaStages<Shape, Left, Right>::kStage;
  T* const shared = shared_memory<T>();

  const int64_t tiles_m = ceil_div(g.m, BM), tiles_n = ceil_div(g.n, BN);
  const int64_t tile = blockIdx.x % (tiles_m * tiles_n), rest = blockIdx.x / (tiles_m * tiles_n);
  const int64_t batch = rest % g.batches, part = rest / g.batches;
  const int64_t stripe = tile / (kStripe * tiles_n), within = tile % (kStripe * tiles_n);
  const int64_t height = tiles_m - stripe * kStripe < kStripe ? tiles_m - stripe * kStripe : kStripe;
  const int64_t row = (stripe * kStripe + within % height) * BM, column = within / height * BN;
  const int64_t k_begin = part * g.part_k;
  const int64_t k_end = g.parts == 1 || g.k < k_begin + g.part_k ? g.k : k_begin + g.part_k;
  const int tiles_k = static_cast<int>(ceil_div(k_end - k_begin, BK));

  typename Left::template Loader<ShareA> load_a(left, batch, row, k_begin, k_end);
  typename Right::template Loader<ShareB> load_b(right, batch, column, k_begin, k_end);
  const auto fetch = [&](int stage) {
    load_a.load(typename ShareA::Put{shared + stage * kStage});
    load_b.load(typename ShareB::Put{shared + stage * kStage + ShareA::kSize});
  };
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < tiles_k) fetch(s);
    ptx::cp_async_commit();
  }

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / Shape::kWarpsN * Shape::WM, warp_column = warp % Shape::kWarpsN * Shape::WN;
  float acc[Shape::MI][Shape::NI][4] = {};
  for (int t = 0; t < tiles_k; ++t) {
    ptx::cp_async_wait<kStages - 2>();
    // All have finished the stage before, and see what all have copied to this one.
    __syncthreads();
    if (t + kStages - 1 < tiles_k) fetch((t + kStages - 1) % kStages);
    ptx::cp_async_commit();
    const T* const a_shared = shared + t % kStages * kStage;
    const T* const b_shared = a_shared + ShareA::kSize;
#pragma unroll
    for (int step = 0; step < Shape::kSteps; ++step) {
      uint32_t a[Shape::MI][4], b[Shape::NI][2];
      load_left<ShareA>(a_shared, warp_row, step, a);
      load_right<ShareB>(b_shared, warp_column, step, b);
      round_fragments<T>(a);
      round_fragments<T>(b);
#pragma unroll
      for (int mi = 0; mi < Shape::MI; ++mi) {
#pragma unroll
        for (int ni = 0; ni < Shape::NI; ++ni) {
          if constexpr (sizeof(T) == 2) {
            ptx::mma_bf16(acc[mi][ni], a[mi], b[ni]);
          } else {
            ptx::mma_tf32(acc[mi][ni], a[mi], b[ni]);
          }
        }
      }
    }
  }
  ptx::cp_async_wait<0>();
  __syncthreads();

  float* const shared_results = reinterpret_cast<float*>(shared) + warp * kResultWords<Shape::WN>;
  const WarpResults<Shape::WN, Rows> results(sink, shared_results, batch, part, column + warp_column, g.n);
  WarpMoments<Shape::WN, Rows> moments(sink, shared_results, batch, column + warp_column, g.n);
#pragma unroll
  for (int mi = 0; mi < Shape::MI; ++mi) {
    results.store(row + warp_row + mi * 16, g.m, [&](int i) { return acc[mi][i / 4][i % 4]; });
    if (sink.moments != nullptr) moments.add(row + warp_row + mi * 16, g.m, mi == 0);
  }
  if (sink.moments != nullptr) {
    float* const shared_moments = reinterpret_cast<float*>(shared) + Shape::kResultBytes / sizeof(float);
    moments.share(shared_moments + (warp_row / Shape::WM * BN + warp_column) * kMomentWords);
    __syncthreads();
    merge_moments<BM, Shape::WM, BN>(shared_moments, static_cast<int>(threadIdx.x), Shape::kThreads, sink, row, g.m,
                                     batch * sink.bias_step + column, g.n - column);
  }
}

template <class Shape, class Left, class Right, class Rows>
void launch_mma(const ProductSizes& g, Left left, Right right, const MmaSink<Rows>& sink) {
  left.template prepare<MmaShareOfA<Shape, Left>>();
  right.template prepare<MmaShareOfB<Shape, Right>>();
  const auto blocks = static_cast<unsigned>(product_blocks(g, Shape::BM, Shape::BN));
  note_tile({Cores::mma, kFactorName<typename Shape::T>, Shape::BM, Shape::BN, Shape::BK, g.parts});
  SIXLOOP_LAUNCH((mma_kernel<Shape, Left, Right, Rows>), blocks, Shape::kThreads,
                 (MmaStages<Shape, Left, Right>::kBytes), current_stream(), g, left, right, sink);
}

}  // namespace sixloop::cuda
