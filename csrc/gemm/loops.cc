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

template <class T>
void pack_columns(GemmPack::Fn<T>* kernel, const T* in, int64_t ld, int64_t steps, int64_t columns, int64_t nr,
                  int64_t panel_size, T* panels) {
  const int64_t whole = columns / nr;
  if (whole > 0) kernel({in, ld, steps, whole, nr, panels, nr, panel_size});
  if (const int64_t rest = columns % nr; rest > 0) {
    T* to = panels + whole * panel_size;
    kernel({in + whole * nr, ld, steps, 1, rest, to, nr, panel_size});
    for (int64_t k = 0; k < steps; ++k) std::fill(to + k * nr + rest, to + (k + 1) * nr, T{0});
  }
}

template <class T>
void pack_b(GemmPack::Fn<T>* kernel, const MatrixB<T>& b, const KBlock& block, int64_t j, int64_t columns, int64_t nr,
            int64_t panel_size, T* panels) {
  for (int64_t tap = 0; tap < block.taps; ++tap) {
    const T* data = b.tap_data[static_cast<size_t>(block.tap + tap)];
    T* out = panels + tap * block.kc * nr;
    if (b.transposed) {
      const T* in = data + j * b.ld + block.k;
      for (int64_t i = 0; i < columns; i += nr, out += panel_size) {
        const int64_t live = std::min(nr, columns - i);
        transpose_by(select_row<GemmTranspose, T>(), in + i * b.ld, b.ld, live, block.kc, out, nr);
        for (int64_t k = 0; live < nr && k < block.kc; ++k) std::fill(out + k * nr + live, out + (k + 1) * nr, T{0});
      }
    } else {
      pack_columns(kernel, data + block.k * b.ld + j, b.ld, block.kc, columns, nr, panel_size, out);
    }
  }
}

#define SIXLOOP_INSTANTIATE(T)                                                                             \
  template void pack_columns(GemmPack::Fn<T>*, const T*, int64_t, int64_t, int64_t, int64_t, int64_t, T*); \
  template void pack_b(GemmPack::Fn<T>*, const MatrixB<T>&, const KBlock&, int64_t, int64_t, int64_t, int64_t, T*);
SIXLOOP_INSTANTIATE(float)
SIXLOOP_INSTANTIATE(double)
#undef SIXLOOP_INSTANTIATE

}  // namespace sixloop
