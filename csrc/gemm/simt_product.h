// The product of matrices on the GPU's ordinary cores, whatever its operands are: dense matrices, or windows of an
// image that are gathered as they are needed. C[r, c] has one accumulator that takes its terms in ascending k, one fma
// each.
//
// An operand is a struct of kernel arguments with
//
//     static constexpr bool kTurned;              // neighbours in memory are neighbours along k
//     template <class Share> void prepare();      // on the host, before the launch
//     template <class Share> struct Loader {      // what one thread loads for its block
//       Loader(const Operand&, int64_t batch, int64_t x, int64_t k, int64_t k_end);   // from row or column x of C on
//       void load(Share&);                        // the next steps of k
//     };
//
// Elements that are not there are zeros. They are not multiplied with each other: the steps end with the last k.
#pragma once

#include "base/bfloat16.h"
#include "cuda/map.h"

namespace sixloop::cuda {

// The tile of C that a block computes: BM x BN, BK steps of k at a time. A thread has QM x QN squares of 4 x 4
// elements, BM / QM and BN / QN apart, so that the threads of a warp read neighbouring packs of shared memory. A
// processor is to hold blocks of `kResident` threads together: 512 leave 128 registers to each, 384 leave 168. Without
// the hint ptxas spills to fit in more.
template <class T_, int BM_, int BN_, int BK_, int QM_, int QN_, int kResident = sizeof(T_) == 4 ? 512 : 384>
struct Tile {
  using T = T_;
  static constexpr int BM = BM_, BN = BN_, BK = BK_, QM = QM_, QN = QN_;
  static constexpr int kColumns = BN / (4 * QN), kThreads = kColumns * (BM / (4 * QM));
  static constexpr int kBlocks = kResident / kThreads;
  // A pack more than a row: a transposing store then meets fewer of the same banks.
  static constexpr int kPad = Pack<T>::N;
  static constexpr int kRowA = BM + kPad, kRowB = BN + kPad;
  static constexpr int kStage = BK * (kRowA + kRowB);  // elements
  static constexpr size_t kSharedBytes = 2 * kStage * sizeof(T);
};

// Blocks that keep most of a GPU's processors busy (132 on an H200). The emulator's tests meet all tiles in small
// sizes.
#if defined(SIXLOOP_SIMT)
constexpr int64_t kEnoughBlocks = 2;
#else
constexpr int64_t kEnoughBlocks = 96;
#endif

// A block's share of an operand [k, x] on its way from global memory through registers to shared memory [BK][kRow].
template <class T_, int BX_, int BK_, int kRow, int kThreads_, bool kTurned_>
struct Share {
  using T = T_;
  static constexpr int BX = BX_, BK = BK_, kThreads = kThreads_, W = Pack<T>::N;
  static constexpr bool kTurned = kTurned_;
  static constexpr int kPacks = BX * BK / W / kThreads;
  static_assert(kPacks * W * kThreads == BX * BK);
  // Packs in a line of memory. All packs of a thread have the same place in their lines.
  static constexpr int kLine = (kTurned ? BK : BX) / W;
  static_assert(kThreads % kLine == 0);
  static constexpr int kLinesApart = kThreads / kLine;  // lines from one pack of a thread to its next

  Pack<T> held[kPacks];

  __device__ __forceinline__ static int line() { return static_cast<int>(threadIdx.x) / kLine; }
  __device__ __forceinline__ static int along() { return static_cast<int>(threadIdx.x) % kLine * W; }

  __device__ __forceinline__ void store(T* shared) const {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int at = line() + p * kLinesApart;
      if constexpr (kTurned) {
#pragma unroll
        for (int j = 0; j < W; ++j) shared[(along() + j) * kRow + at] = held[p].v[j];
      } else {
        store_pack(held[p], shared + at * kRow + along());
      }
    }
  }
};

template <class Tile, class Left>
using ShareOfA = Share<typename Tile::T, Tile::BM, Tile::BK, Tile::kRowA, Tile::kThreads, Left::kTurned>;
template <class Tile, class Right>
using ShareOfB = Share<typename Tile::T, Tile::BN, Tile::BK, Tile::kRowB, Tile::kThreads, Right::kTurned>;

// Rows or columns [0, x_end) of a dense matrix.
template <class T, bool kTurned_>
struct Matrix {
  static constexpr bool kTurned = kTurned_;
  const T* data;
  int64_t ld;
  int64_t x_end;
  int64_t batch_step;
  bool packs;  // rows of the array begin where packs may be loaded

  template <class Share>
  void prepare() {}

  template <class Share>
  struct Loader {
    const Matrix& m;
    const T* array;
    int64_t x, k, k_end;

    __device__ __forceinline__ Loader(const Matrix& matrix, int64_t batch, int64_t x0, int64_t k0, int64_t end)
        : m(matrix), array(matrix.data + batch * matrix.batch_step), x(x0), k(k0), k_end(end) {}

    __device__ __forceinline__ void load(Share& share) {
      constexpr int W = Share::W;
      const int64_t lines = kTurned ? m.x_end : k_end, length = kTurned ? k_end : m.x_end;
      const int64_t i = (kTurned ? k : x) + Share::along();
#pragma unroll
      for (int p = 0; p < Share::kPacks; ++p) {
        const int64_t line = (kTurned ? x : k) + Share::line() + p * Share::kLinesApart;
        const T* const from = array + line * m.ld + i;
        if (m.packs && line < lines && i + W <= length) {
          share.held[p] = load_pack(from);
        } else {
#pragma unroll
          for (int j = 0; j < W; ++j) share.held[p].v[j] = line < lines && i + j < length ? from[j] : T(0);
        }
      }
      k += Share::BK;
    }
  };
};

template <bool kTurned, class T>
Matrix<T, kTurned> matrix(const T* data, int64_t ld, int64_t x_end, int64_t batch_step = 0) {
  return {data, ld, x_end, batch_step, ld % Pack<T>::N == 0 && batch_step % Pack<T>::N == 0 && aligned_for_packs(data)};
}

// Where row r of C begins.
struct DenseRows {
  int64_t ld;
  __device__ __forceinline__ int64_t operator()(int64_t r) const { return r * ld; }
};

// What sums of T are made in.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, BFloat16>, float, T>;

// What becomes of the sums: C = relu(sum + bias).
template <class T, class Rows>
struct Sink {
  T* data;
  Rows rows;
  int64_t batch_step, part_step;
  const Wide<T>* bias;  // may be null
  int64_t bias_step;
  bool relu;
  bool packs;  // rows of every batch and part begin where packs may be stored
  bool adds;   // with kRun: to what is there
};

struct ProductSizes {
  int64_t m, n, k;
  int64_t batches = 1;
  // The steps are cut into `parts` ranges of `part_k`, each with results of its own.
  int64_t parts = 1, part_k = 0;
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

  // Calls f(row, column, the four accumulators of columns column ... column + 3), relative to the thread's first.
  template <class F>
  __device__ __forceinline__ void for_fours(F&& f) {
#pragma unroll
    for (int qm = 0; qm < Tile::QM; ++qm) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int qn = 0; qn < Tile::QN; ++qn) {
          f(qm * (Tile::BM / Tile::QM) + i, qn * (Tile::BN / Tile::QN), v[qm][qn][i], qm, qn, i);
        }
      }
    }
  }
};

// Blocks that run at the same time should share rows of B and columns of A in the second-level cache: they take tiles
// in stripes of this many rows of tiles.
constexpr int64_t kStripe = 8;

// kRun > 0: a sum has kRun terms, and these sums are added in order. A multiple of every BK; in one part.
template <class Tile, int kRun, class Left, class Right, class Sink>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    product_kernel(ProductSizes g, Left left, Right right, Sink sink) {
  using T = typename Tile::T;
  using V = Lane<T>;
  constexpr int BM = Tile::BM, BN = Tile::BN, BK = Tile::BK;
  static_assert(kRun % BK == 0);
  T* const shared = shared_memory<T>();

  const int64_t tiles_m = ceil_div(g.m, BM), tiles_n = ceil_div(g.n, BN);
  const int64_t tile = blockIdx.x % (tiles_m * tiles_n), rest = blockIdx.x / (tiles_m * tiles_n);
  const int64_t batch = rest % g.batches, part = rest / g.batches;
  const int64_t stripe = tile / (kStripe * tiles_n), within = tile % (kStripe * tiles_n);
  const int64_t height = tiles_m - stripe * kStripe < kStripe ? tiles_m - stripe * kStripe : kStripe;
  const int64_t row = (stripe * kStripe + within % height) * BM, column = within / height * BN;
  const int64_t k_begin = part * g.part_k;
  const int64_t k_end = g.parts == 1 || g.k < k_begin + g.part_k ? g.k : k_begin + g.part_k;

  using ShareA = ShareOfA<Tile, Left>;
  using ShareB = ShareOfB<Tile, Right>;
  ShareA share_a;
  ShareB share_b;
  typename Left::template Loader<ShareA> load_a(left, batch, row, k_begin, k_end);
  typename Right::template Loader<ShareB> load_b(right, batch, column, k_begin, k_end);
  const auto fetch = [&] {
    load_a.load(share_a);
    load_b.load(share_b);
  };
  const auto put = [&](int stage) {
    share_a.store(shared + stage * Tile::kStage);
    share_b.store(shared + stage * Tile::kStage + BK * Tile::kRowA);
  };

  const int thread = static_cast<int>(threadIdx.x);
  const int tm = thread / Tile::kColumns * 4, tn = thread % Tile::kColumns * 4;
  // Calls f(four accumulators, where they belong, how many of them there are) for every row of the thread's squares.
  const auto for_results = [&](auto& sums, const auto& f) {
    T* const out = sink.data + batch * sink.batch_step + part * sink.part_step + column + tn;
    sums.for_fours([&](int r, int c, T(&four)[4], int, int, int) {
      if (row + tm + r < g.m) f(four, out + sink.rows(row + tm + r) + c, c, g.n - column - tn - c);
    });
  };
  Accumulators<Tile> acc = {}, total = {};
  bool begins = true;
  if constexpr (kRun > 0) {
    if (sink.adds) {
      begins = false;
      for_results(total, [](T(&four)[4], const T* from, int, int64_t live) {
#pragma unroll
        for (int j = 0; j < 4; ++j) four[j] = j < live ? from[j] : T(0);
      });
    }
  }

  // Before the first step nothing is multiplied: the code that fetches, much of a kernel, stands there once.
  int stage = 1;
  for (int64_t k = k_begin - BK; k < k_end; k += BK) {
    const bool more = k + BK < k_end;
    if (more) fetch();
    if (k >= k_begin) {
      const T* const a = shared + stage * Tile::kStage + tm;
      const T* const b = shared + stage * Tile::kStage + BK * Tile::kRowA + tn;
      if (k + BK <= k_end) {
#pragma unroll
        for (int s = 0; s < BK; ++s) acc.step(a + s * Tile::kRowA, b + s * Tile::kRowB);
      } else {
        for (int s = 0; k + s < k_end; ++s) acc.step(a + s * Tile::kRowA, b + s * Tile::kRowB);
      }
      if constexpr (kRun > 0) {
        if (!more || (k + BK) % kRun == 0) {
          total.for_fours([&](int, int, T(&four)[4], int qm, int qn, int i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) four[j] = begins ? acc.v[qm][qn][i][j] : four[j] + acc.v[qm][qn][i][j];
          });
          begins = false;
          acc = {};
        }
      }
    }
    if (more) {
      // The other stage was last read before the barrier that opened this step.
      stage ^= 1;
      put(stage);
      __syncthreads();
    }
  }

  Accumulators<Tile>& sums = kRun > 0 ? total : acc;
  for_results(sums, [&](T(&four)[4], T* to, int c, int64_t live) {
    const T* const bias = sink.bias == nullptr ? nullptr : sink.bias + batch * sink.bias_step + column + tn + c;
#pragma unroll
    for (int j = 0; j < 4; j += Pack<T>::N) {
      Pack<T> pack;
#pragma unroll
      for (int x = 0; x < Pack<T>::N; ++x) {
        V value{four[j + x]};
        if (bias != nullptr && j + x < live) value = value + V{bias[j + x]};
        if (sink.relu) value = V::max(V::zero(), value);
        pack.v[x] = value.v;
      }
      if (sink.packs && j + Pack<T>::N <= live) {
        if constexpr (Tile::QM * Tile::QN < 4) {
          store_whole_pack(pack, to + j);
        } else {  // which has all registers already, and whose stores nvcc leaves whole
          store_pack(pack, to + j);
        }
      } else {
#pragma unroll
        for (int x = 0; x < Pack<T>::N; ++x) {
          if (j + x < live) to[j + x] = pack.v[x];
        }
      }
    }
  });
}

// Blocks of a product in tiles of BM x BN.
inline int64_t product_blocks(const ProductSizes& g, int64_t bm, int64_t bn) {
  return ceil_div(g.m, bm) * ceil_div(g.n, bn) * g.batches * g.parts;
}

template <class Tile, int kRun = 0, class Left, class Right, class Rows>
void launch_product(const ProductSizes& g, Left left, Right right, const Sink<typename Tile::T, Rows>& sink) {
  left.template prepare<ShareOfA<Tile, Left>>();
  right.template prepare<ShareOfB<Tile, Right>>();
  const auto blocks = static_cast<unsigned>(product_blocks(g, Tile::BM, Tile::BN));
  note_tile({Cores::simt, sizeof(typename Tile::T) == 4 ? "f32" : "f64", Tile::BM, Tile::BN, Tile::BK, g.parts});
  SIXLOOP_LAUNCH((product_kernel<Tile, kRun, Left, Right, Sink<typename Tile::T, Rows>>), blocks, Tile::kThreads,
                 Tile::kSharedBytes, current_stream(), g, left, right, sink);
}

// The product of dense matrices of float or double, in simt.cu.
template <class T, bool kTurnedLeft, bool kTurnedRight>
void multiply(const ProductSizes& g, const Matrix<T, kTurnedLeft>& left, const Matrix<T, kTurnedRight>& right,
              const Sink<T, DenseRows>& sink);

}  // namespace sixloop::cuda
