#include "gemm/loops.h"

namespace sixloop {

std::vector<KBlock> k_blocks(int64_t taps, int64_t kc, int64_t most_steps) {
  std::vector<KBlock> blocks;
  if (kc > most_steps) {
    const int64_t parts = ceil_div(kc, most_steps);
    const int64_t step = ceil_div(ceil_div(kc, parts), 8) * 8;
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t k = 0; k < kc; k += step) blocks.push_back({tap, 1, k, std::min(step, kc - k)});
    }
  } else {
    const int64_t most = std::max<int64_t>(1, most_steps / std::max<int64_t>(kc, 1));
    const int64_t step = ceil_div(taps, std::max<int64_t>(1, ceil_div(taps, most)));
    for (int64_t tap = 0; tap < taps; tap += step) blocks.push_back({tap, std::min(step, taps - tap), 0, kc});
  }
  // No steps at all still make one block: it writes zeros and the epilogue.
  if (blocks.empty()) blocks.push_back({0, 0, 0, 0});
  return blocks;
}

namespace {

// Copies `whole` elements, a multiple of nr, to pieces of nr that lie panel_size apart; returns where the next goes.
// A constant length makes a piece a few vector moves.
template <int64_t kNr, class T>
T* copy_pieces(const T* in, int64_t whole, int64_t panel_size, T* to) {
  for (int64_t i = 0; i < whole; i += kNr, to += panel_size) std::memcpy(to, in + i, kNr * sizeof(T));
  return to;
}

template <class T>
T* copy_panels(const T* in, int64_t whole, int64_t nr, int64_t panel_size, T* to) {
  switch (nr) {
    case 4:
      return copy_pieces<4>(in, whole, panel_size, to);
    case 6:
      return copy_pieces<6>(in, whole, panel_size, to);
    case 8:
      return copy_pieces<8>(in, whole, panel_size, to);
    case 12:
      return copy_pieces<12>(in, whole, panel_size, to);
    case 16:
      return copy_pieces<16>(in, whole, panel_size, to);
    case 32:
      return copy_pieces<32>(in, whole, panel_size, to);
    default:
      for (int64_t i = 0; i < whole; i += nr, to += panel_size) {
        std::memcpy(to, in + i, static_cast<size_t>(nr) * sizeof(T));
      }
      return to;
  }
}

}  // namespace

template <class T>
void pack_b(const MatrixB<T>& b, const KBlock& block, int64_t j, int64_t columns, int64_t nr, int64_t panel_size,
            T* panels) {
  const int64_t whole = columns / nr * nr;
  const int64_t rest = columns - whole;
  for (int64_t tap = 0; tap < block.taps; ++tap) {
    const T* data = b.tap_data[static_cast<size_t>(block.tap + tap)];
    T* out = panels + tap * block.kc * nr;
    if (b.transposed) {
      const T* in = data + j * b.ld + block.k;
      // Blocks of 16 steps: the lines of all columns of a panel stay in the first-level cache.
      for (int64_t i0 = 0; i0 < columns; i0 += nr, out += panel_size) {
        const int64_t live = std::min(nr, columns - i0);
        for (int64_t k0 = 0; k0 < block.kc; k0 += 16) {
          const int64_t k1 = std::min(k0 + 16, block.kc);
          for (int64_t i = 0; i < live; ++i) {
            for (int64_t k = k0; k < k1; ++k) out[k * nr + i] = in[(i0 + i) * b.ld + k];
          }
          for (int64_t k = k0; k < k1; ++k) std::fill(out + k * nr + live, out + (k + 1) * nr, T{0});
        }
      }
    } else {
      const T* in = data + block.k * b.ld + j;
      for (int64_t k = 0; k < block.kc; ++k, in += b.ld, out += nr) {
        T* to = copy_panels(in, whole, nr, panel_size, out);
        if (rest > 0) {
          std::memcpy(to, in + whole, static_cast<size_t>(rest) * sizeof(T));
          std::fill(to + rest, to + nr, T{0});
        }
      }
    }
  }
}

template <class T>
void pack_a(const T* a, int64_t ld, int64_t rows, int64_t kc, int64_t mr, T* panel) {
  const size_t bytes = static_cast<size_t>(rows) * sizeof(T);
  for (int64_t k = 0; k < kc; ++k, a += ld, panel += mr) {
    std::memcpy(panel, a, bytes);
    std::fill(panel + rows, panel + mr, T{0});
  }
}

template void pack_b(const MatrixB<float>&, const KBlock&, int64_t, int64_t, int64_t, int64_t, float*);
template void pack_b(const MatrixB<double>&, const KBlock&, int64_t, int64_t, int64_t, int64_t, double*);
template void pack_a(const float*, int64_t, int64_t, int64_t, int64_t, float*);
template void pack_a(const double*, int64_t, int64_t, int64_t, int64_t, double*);

}  // namespace sixloop
