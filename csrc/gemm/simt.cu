#include "gemm/simt.h"

#include "cuda/map.h"
#include "elementwise/simt.h"

namespace sixloop::cuda {
namespace {

template <class T>
struct GemmArgs {
  int64_t m, n, k;
  const T* a;
  int64_t lda;
  bool packs_a;  // rows of the array begin where packs may be loaded
  const T* b;
  int64_t ldb;
  bool packs_b;
  const T* bias;  // may be null
  bool relu;
  T* c;  // dense
  bool packs_c;
};

// The tile of C that a block computes: BM x BN, BK steps of k at a time. A thread has QM x QN squares of 4 x 4
// elements, BM / QM and BN / QN apart, so that the threads of a warp read neighbouring packs of shared memory.
template <class T_, int BM_, int BN_, int BK_, int QM_, int QN_>
struct Tile {
  using T = T_;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, QM = QM_, QN = QN_;
  static constexpr int kColumns = BN / (4 * QN), kThreads = kColumns * (BM / (4 * QM));
  // Blocks for 512 threads on a processor leave 128 registers to each; without the hint ptxas spills to fit in more.
  static constexpr int kBlocks = 512 / kThreads;
  // A pack more than a row: a transposing store then meets fewer of the same banks.
  static constexpr int kPad = Pack<T>::N;
  static constexpr int kRowA = BM + kPad, kRowB = BN + kPad;
  static constexpr int kStage = BK * (kRowA + kRowB);  // elements
  static constexpr size_t kSharedBytes = 2 * kStage * sizeof(T);
};

// A block's share of a matrix [k, x] on its way from global memory through registers to shared memory [BK][kRow]. The
// array is that matrix, or with kTurned its transpose.
template <class T, int BX, int BK, int kRow, int kThreads, bool kTurned>
struct Share {
  static constexpr int W = Pack<T>::N;
  static constexpr int kPacks = BX * BK / W / kThreads;
  static_assert(kPacks * W * kThreads == BX * BK);
  Pack<T> held[kPacks];

  // Where the thread's pack number p begins.
  __device__ __forceinline__ static void place(int p, int* x, int* k) {
    const int id = static_cast<int>(threadIdx.x) + p * kThreads;
    constexpr int kLine = (kTurned ? BK : BX) / W;
    *x = kTurned ? id / kLine : id % kLine * W;
    *k = kTurned ? id % kLine * W : id / kLine;
  }

  // Elements beyond the matrix are zeros, which are not multiplied with each other: the steps end with the last k.
  __device__ __forceinline__ void load(const T* array, int64_t ld, bool packs, int64_t x0, int64_t k0, int64_t x_end,
                                       int64_t k_end) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      int dx, dk;
      place(p, &dx, &dk);
      const int64_t x = x0 + dx, k = k0 + dk;
      const int64_t line = kTurned ? x : k, i = kTurned ? k : x;
      const int64_t lines = kTurned ? x_end : k_end, length = kTurned ? k_end : x_end;
      const T* from = array + line * ld + i;
      if (packs && line < lines && i + W <= length) {
        held[p] = load_pack(from);
      } else {
#pragma unroll
        for (int j = 0; j < W; ++j) held[p].v[j] = line < lines && i + j < length ? from[j] : T(0);
      }
    }
  }

  __device__ __forceinline__ void store(T* shared) const {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      int x, k;
      place(p, &x, &k);
      if constexpr (kTurned) {
#pragma unroll
        for (int j = 0; j < W; ++j) shared[(k + j) * kRow + x] = held[p].v[j];
      } else {
        store_pack(held[p], shared + k * kRow + x);
      }
    }
  }
};

// The element of four neighbours, by packs.
template <class T>
__device__ __forceinline__ void load_four(const T* p, T* to) {
#pragma unroll
  for (int i = 0; i < 4; i += Pack<T>::N) {
    const Pack<T> pack = load_pack(p + i);
#pragma unroll
    for (int j = 0; j < Pack<T>::N; ++j) to[i + j] = pack.v[j];
  }
}

template <class Tile>
struct Accumulators {
  using T = typename Tile::T;
  using V = Lane<T>;
  T v[Tile::QM][Tile::QN][4][4];

  __device__ __forceinline__ void step(const T* a, const T* b) {
    T left[Tile::QM][4], right[Tile::QN][4];
#pragma unroll
    for (int q = 0; q < Tile::QM; ++q) load_four(a + q * (Tile::BM / Tile::QM), left[q]);
#pragma unroll
    for (int q = 0; q < Tile::QN; ++q) load_four(b + q * (Tile::BN / Tile::QN), right[q]);
#pragma unroll
    for (int qm = 0; qm < Tile::QM; ++qm) {
#pragma unroll
      for (int qn = 0; qn < Tile::QN; ++qn) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            v[qm][qn][i][j] = V::fma({left[qm][i]}, {right[qn][j]}, {v[qm][qn][i][j]}).v;
          }
        }
      }
    }
  }
};

// Blocks that run at the same time should share rows of B and columns of A in the second-level cache: they take tiles
// in stripes of this many rows of tiles.
constexpr int64_t kStripe = 8;

template <class Tile, bool kTransposeA, bool kTransposeB>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) gemm_kernel(GemmArgs<typename Tile::T> g) {
  using T = typename Tile::T;
  constexpr int BM = Tile::BM, BN = Tile::BN, BK = Tile::BK;
  T* const shared = shared_memory<T>();

  const int64_t tiles_m = ceil_div(g.m, BM), tiles_n = ceil_div(g.n, BN);
  const int64_t stripe = blockIdx.x / (kStripe * tiles_n), within = blockIdx.x % (kStripe * tiles_n);
  const int64_t height = tiles_m - stripe * kStripe < kStripe ? tiles_m - stripe * kStripe : kStripe;
  const int64_t row = (stripe * kStripe + within % height) * BM, column = within / height * BN;

  Share<T, BM, BK, Tile::kRowA, Tile::kThreads, !kTransposeA> share_a;
  Share<T, BN, BK, Tile::kRowB, Tile::kThreads, kTransposeB> share_b;
  const auto fetch = [&](int64_t k) {
    share_a.load(g.a, g.lda, g.packs_a, row, k, g.m, g.k);
    share_b.load(g.b, g.ldb, g.packs_b, column, k, g.n, g.k);
  };
  const auto put = [&](int stage) {
    share_a.store(shared + stage * Tile::kStage);
    share_b.store(shared + stage * Tile::kStage + BK * Tile::kRowA);
  };

  const int thread = static_cast<int>(threadIdx.x);
  const int tm = thread / Tile::kColumns * 4, tn = thread % Tile::kColumns * 4;
  Accumulators<Tile> acc = {};

  int stage = 0;
  if (g.k > 0) {
    fetch(0);
    put(0);
  }
  __syncthreads();
  for (int64_t k = 0; k < g.k; k += BK) {
    const bool more = k + BK < g.k;
    if (more) fetch(k + BK);
    const T* const a = shared + stage * Tile::kStage + tm;
    const T* const b = shared + stage * Tile::kStage + BK * Tile::kRowA + tn;
    if (k + BK <= g.k) {
#pragma unroll
      for (int s = 0; s < BK; ++s) acc.step(a + s * Tile::kRowA, b + s * Tile::kRowB);
    } else {
      for (int s = 0; k + s < g.k; ++s) acc.step(a + s * Tile::kRowA, b + s * Tile::kRowB);
    }
    if (more) {
      // The other stage was last read before the barrier that opened this step.
      stage ^= 1;
      put(stage);
      __syncthreads();
    }
  }

  using V = Lane<T>;
#pragma unroll
  for (int qm = 0; qm < Tile::QM; ++qm) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t r = row + tm + qm * (BM / Tile::QM) + i;
      if (r >= g.m) continue;
#pragma unroll
      for (int qn = 0; qn < Tile::QN; ++qn) {
        const int64_t c = column + tn + qn * (BN / Tile::QN);
        T* const out = g.c + r * g.n + c;
#pragma unroll
        for (int j = 0; j < 4; j += Pack<T>::N) {
          Pack<T> pack;
#pragma unroll
          for (int x = 0; x < Pack<T>::N; ++x) {
            V value{acc.v[qm][qn][i][j + x]};
            if (g.bias != nullptr && c + j + x < g.n) value = value + V{g.bias[c + j + x]};
            if (g.relu) value = V::max(V::zero(), value);
            pack.v[x] = value.v;
          }
          if (g.packs_c && c + j + Pack<T>::N <= g.n) {
            store_pack(pack, out + j);
          } else {
#pragma unroll
            for (int x = 0; x < Pack<T>::N; ++x) {
              if (c + j + x < g.n) out[j + x] = pack.v[x];
            }
          }
        }
      }
    }
  }
}

template <class Tile>
void launch_tile(const GemmArgs<typename Tile::T>& g, bool transpose_a, bool transpose_b) {
  const auto blocks = static_cast<unsigned>(ceil_div(g.m, Tile::BM) * ceil_div(g.n, Tile::BN));
  const auto run = [&](auto kernel) {
    SIXLOOP_LAUNCH(kernel, blocks, Tile::kThreads, Tile::kSharedBytes, current_stream(), g);
  };
  if (transpose_a) {
    transpose_b ? run(gemm_kernel<Tile, true, true>) : run(gemm_kernel<Tile, true, false>);
  } else {
    transpose_b ? run(gemm_kernel<Tile, false, true>) : run(gemm_kernel<Tile, false, false>);
  }
}

// Blocks that keep most of a GPU's processors busy (132 on an H200). The emulator's tests meet all tiles in small
// sizes.
#if defined(SIXLOOP_SIMT)
constexpr int64_t kEnough = 2;
#else
constexpr int64_t kEnough = 96;
#endif

// The largest tile that leaves enough blocks. Every tile gives the same bits.
template <class T>
void launch_gemm(const GemmArgs<T>& g, bool transpose_a, bool transpose_b) {
  const auto tiles = [&](int64_t size) { return ceil_div(g.m, size) * ceil_div(g.n, size); };
  if constexpr (std::is_same_v<T, float>) {  // 64 accumulators of float64 would take all registers
    if (tiles(128) >= kEnough) return launch_tile<Tile<T, 128, 128, 8, 2, 2>>(g, transpose_a, transpose_b);
  }
  if (tiles(64) >= kEnough) return launch_tile<Tile<T, 64, 64, 16, 1, 1>>(g, transpose_a, transpose_b);
  launch_tile<Tile<T, 32, 32, 8, 1, 1>>(g, transpose_a, transpose_b);
}

}  // namespace

void gemm(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor* bias,
          Activation activation, const Tensor& c) {
  dispatch_floating(c.dtype(), [&](auto t) {
    using T = decltype(t);
    GemmArgs<T> g{};
    g.m = c.shape()[0];
    g.n = c.shape()[1];
    g.k = a.shape()[transpose_a ? 0 : 1];
    g.a = a.data<T>();
    g.lda = a.shape()[1];
    g.packs_a = g.lda % Pack<T>::N == 0 && aligned_for_packs(g.a);
    g.b = b.data<T>();
    g.ldb = b.shape()[1];
    g.packs_b = g.ldb % Pack<T>::N == 0 && aligned_for_packs(g.b);
    g.bias = bias != nullptr ? bias->data<T>() : nullptr;
    g.relu = activation == Activation::relu;
    g.c = c.data<T>();
    g.packs_c = g.n % Pack<T>::N == 0 && aligned_for_packs(g.c);
    launch_gemm(g, transpose_a, transpose_b);
  });
  // Others are a pass of their own: all of them in the kernel would cost it registers.
  if (activation != Activation::none && activation != Activation::relu) {
    activate(c, activation, default_alpha(activation), c);
  }
}

}  // namespace sixloop::cuda
