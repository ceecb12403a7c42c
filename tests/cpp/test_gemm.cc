#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "elementwise/activation.h"
#include "gemm/gemm.h"
#include "gemm/microkernel.h"
#include "guarded.h"
#include "rows.h"

namespace sixloop {
namespace {

using check::check_same_bits;
using check::for_each_row;
using check::Guarded;
using check::values;

struct TileCase {
  int64_t taps;
  int64_t kc;
  int64_t spare;  // of ldb beyond NR
  bool accumulate;
  bool bias;
  bool relu;
  int part;  // of the columns: 0 all of them, 1 one, 2 more than half
  bool copies;
};

// Every combination of the flags, with no step, one, and numbers of steps that no unrolling divides.
std::vector<TileCase> tile_cases() {
  std::vector<TileCase> cases;
  for (int64_t taps : {0, 1, 3}) {
    for (int64_t kc : {0, 1, 2, 7, 33}) {
      for (int flags = 0; flags < 16; ++flags) {
        const bool copies = (flags & 8) != 0;
        for (int part = 0; part < (copies ? 1 : 3); ++part) {
          cases.push_back(
              {taps, kc, (flags + kc) % 2 * 5, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0, part, copies});
        }
      }
    }
  }
  return cases;
}

// Calls a kernel on one tile in which every row, panel and result ends where its memory does.
template <class T>
void check_tile(const Kernel& row, const TileCase& c, bool panel) {
  const int64_t mr = row.facts.mr;
  const int64_t columns = c.part == 0 ? row.facts.nr : c.part == 1 ? 1 : row.facts.nr / 2 + 1;
  // Whole vectors are read and written.
  const int64_t lanes = std::max<int64_t>(1, vector_bytes(row.isa) / static_cast<int64_t>(sizeof(T)));
  const int64_t nr = (columns + lanes - 1) / lanes * lanes;
  const int64_t steps = c.taps * c.kc;
  const int64_t ldb = row.facts.nr + c.spare;
  constexpr int64_t kOffset = 3;

  const auto a_values = values<T>(mr * steps, 1);  // [mr][steps]
  std::vector<Guarded<T>> a_rows;
  std::vector<const T*> a;
  for (int64_t tap = 0; tap < c.taps; ++tap) {
    for (int64_t i = 0; i < mr; ++i) {
      a_rows.emplace_back(kOffset + c.kc);
      for (int64_t k = 0; k < c.kc; ++k) {
        a_rows.back()[kOffset + k] = a_values[static_cast<size_t>(i * steps + tap * c.kc + k)];
      }
      a.push_back(a_rows.back().get());
    }
  }
  const int64_t a_step = mr + (c.bias ? 3 : 0);  // packed, or where it lies
  Guarded<T> a_panel(steps > 0 ? (steps - 1) * a_step + mr : 0);
  for (int64_t i = 0; i < mr; ++i) {
    for (int64_t k = 0; k < steps; ++k) a_panel[k * a_step + i] = a_values[static_cast<size_t>(i * steps + k)];
  }
  const Guarded<T> b(values<T>(steps > 0 ? (steps - 1) * ldb + nr : 0, 2));
  Guarded<T> b_copy(steps * nr);
  const Guarded<T> bias(values<T>(nr, 3));

  std::vector<Guarded<T>> c_rows;
  std::vector<T*> c_pointers;
  std::vector<std::vector<T>> expected;
  for (int64_t i = 0; i < mr; ++i) {
    c_rows.emplace_back(values<T>(nr, static_cast<uint64_t>(10 + i)));
    c_pointers.push_back(c_rows.back().get());
    expected.emplace_back();
    for (int64_t j = 0; j < nr; ++j) {
      T sum = c.accumulate ? c_rows.back()[j] : T{0};
      for (int64_t k = 0; k < steps; ++k) {
        sum = std::fma(a_values[static_cast<size_t>(i * steps + k)], b[k * ldb + j], sum);
      }
      if (c.bias) sum += bias[j];
      if (c.relu && sum < 0) sum = 0;
      expected.back().push_back(sum);
    }
  }

  GemmTile<T> tile{};
  tile.taps = c.taps;
  tile.kc = c.kc;
  tile.a = panel ? nullptr : a.data();
  tile.a_offset = panel ? 0 : kOffset;
  tile.a_panel = panel ? a_panel.get() : nullptr;
  tile.a_step = a_step;
  tile.b = b.get();
  tile.ldb = ldb;
  tile.b_copy = c.copies ? b_copy.get() : nullptr;
  tile.c = c_pointers.data();
  tile.accumulate = c.accumulate;
  tile.bias = c.bias ? bias.get() : nullptr;
  tile.relu = c.relu;
  if (c.part != 0) tile.columns = columns;
  // What is fetched for later changes nothing, wherever it lies.
  tile.next = c.accumulate ? b.get() : nullptr;
  tile.next_step = c.accumulate ? 1000 : 0;
  reinterpret_cast<void (*)(const GemmTile<T>&)>(row.function)(tile);
  for (int64_t i = 0; i < mr; ++i) {
    check_same_bits(row.name, c_rows[static_cast<size_t>(i)].get(), expected[static_cast<size_t>(i)].data(), nr);
  }
  for (int64_t k = 0; c.copies && k < steps; ++k) check_same_bits(row.name, &b_copy[k * nr], &b[k * ldb], nr);
}

TEST(gemm_rows) {
  for_each_row<GemmRows>([](const Kernel& row, auto t) {
    for (const TileCase& c : tile_cases()) check_tile<decltype(t)>(row, c, false);
  });
}

TEST(gemm_panel) {
  for_each_row<GemmPanel>([](const Kernel& row, auto t) {
    for (const TileCase& c : tile_cases()) check_tile<decltype(t)>(row, c, true);
  });
}

TEST(gemm_strip) {
  for_each_row<GemmStrip>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<GemmStrip, T>(row);
    const int64_t mr = row.facts.mr;
    const int64_t nr = row.facts.nr;
    const int64_t taps = 2;
    const int64_t run = 5;
    const int64_t a_step = 3;
    const int64_t steps = taps * run;
    for (int64_t rows : {mr, mr + 1, 2 * mr - 1, 2 * mr}) {
      for (int64_t columns : {int64_t{1}, nr / 3, nr / 2 + 1, nr - 1, nr, nr + 1, 2 * nr + 3}) {
        const bool with_bias = columns % 2 == 0;
        const bool relu = rows % 2 == 0;
        const bool accumulate = rows % mr == 0;
        const int64_t padded = (columns + nr - 1) / nr * nr;
        // Rows without an end, lines of images, images of one line.
        const int64_t line_rows = columns % 3 == 0   ? std::numeric_limits<int64_t>::max()
                                  : columns % 3 == 1 ? 3
                                                     : mr + 2;
        const int64_t a_line = columns % 3 == 0 ? 0 : line_rows * a_step + 7;
        const int64_t image_lines = rows % 3 == 0 ? 1 : 2;
        const int64_t a_image = columns % 3 == 0 ? 0 : 5;
        const int64_t first_in_line = columns % 3 == 0 ? 0 : 2;
        const int64_t first_line = image_lines - 1;
        const auto a_row = [&](int64_t i) {  // from row 0
          const int64_t in_line = first_in_line + i;
          const int64_t line = first_line + in_line / line_rows;
          return (in_line % line_rows - first_in_line) * a_step + in_line / line_rows * a_line +
                 line / image_lines * a_image;
        };
        const int64_t a_tap = a_row(rows - 1) + run + 1;
        // Panels of B behind each other, or where a wider matrix has them.
        const bool packed = rows < 2 * mr - 1;
        const int64_t ldb = packed ? nr : padded;
        const int64_t b_panel = packed ? steps * nr : nr;
        const Guarded<T> a(values<T>((taps - 1) * a_tap + a_tap - 1, 1)), b(values<T>(padded * steps, 2)),
            bias(values<T>(padded, 3));
        // Between its rows of c lies what is another's.
        const int64_t ldc = columns + 2;
        Guarded<T> c(values<T>((rows - 1) * ldc + columns, 4));
        std::vector<T> expected(c.get(), c.get() + (rows - 1) * ldc + columns);
        kernel({rows,
                columns,
                taps,
                run,
                a.get(),
                a_step,
                a_tap,
                b.get(),
                ldb,
                b_panel,
                with_bias ? bias.get() : nullptr,
                relu,
                c.get(),
                ldc,
                accumulate,
                relu ? b.get() : nullptr,
                1,
                line_rows,
                a_line,
                image_lines,
                a_image,
                first_in_line,
                first_line});
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t j = 0; j < columns; ++j) {
            T sum = accumulate ? expected[static_cast<size_t>(i * ldc + j)] : T{0};
            for (int64_t s = 0; s < steps; ++s) {
              sum = std::fma(a[a_row(i) + s / run * a_tap + s % run], b[j / nr * b_panel + s * ldb + j % nr], sum);
            }
            if (with_bias) sum += bias[j];
            expected[static_cast<size_t>(i * ldc + j)] = relu && sum < 0 ? T{0} : sum;
          }
        }
        check_same_bits(row.name, c.get(), expected.data(), static_cast<int64_t>(expected.size()));
      }
    }
  });
}

TEST(gemm_pack) {
  for_each_row<GemmPack>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<GemmPack, T>(row);
    for (int64_t width = 1; width <= 35; ++width) {
      for (const int64_t steps : {1, 2, 7}) {
        for (const int64_t panels : {1, 3}) {
          for (const int64_t more : {0, 5}) {
            const int64_t ld = panels * width + more;
            const int64_t out_step = width + (panels == 1 ? more : 0);
            const int64_t panel_size = steps * out_step;
            const Guarded<T> in(values<T>((steps - 1) * ld + panels * width, 1));
            // Nothing lies behind the last row of the last panel.
            Guarded<T> out((panels - 1) * panel_size + (steps - 1) * out_step + width);
            kernel({in.get(), ld, steps, panels, width, out.get(), out_step, panel_size});
            for (int64_t p = 0; p < panels; ++p) {
              for (int64_t k = 0; k < steps; ++k) {
                check_same_bits(row.name, out.get() + p * panel_size + k * out_step, in.get() + k * ld + p * width,
                                width);
              }
            }
            // A run of the same pixel, as padding is.
            kernel({in.get(), 0, steps, panels, width, out.get(), out_step, panel_size});
            check_same_bits(row.name, out.get() + (steps - 1) * out_step, in.get(), width);
          }
        }
      }
    }
  });
}

TEST(gemm_transpose) {
  for_each_row<GemmTranspose>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<GemmTranspose, T>(row);
    const int64_t side = row.facts.mr;
    for (const int64_t rows : {side, side + 1, 2 * side - 1, 3 * side}) {
      for (const int64_t columns : {side, side + 3, 2 * side, 4 * side + 1}) {
        const int64_t ld_in = columns + 2;
        const int64_t ld_out = rows + 3;
        const Guarded<T> in(values<T>((rows - 1) * ld_in + columns, 1));
        Guarded<T> out(values<T>((columns - 1) * ld_out + rows, 2));
        std::vector<T> expected(out.get(), out.get() + (columns - 1) * ld_out + rows);
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t j = 0; j < columns; ++j) expected[static_cast<size_t>(j * ld_out + i)] = in[i * ld_in + j];
        }
        kernel({in.get(), ld_in, rows, columns, out.get(), ld_out});
        check_same_bits(row.name, out.get(), expected.data(), static_cast<int64_t>(expected.size()));
      }
    }
  });
}

TEST(gemm_columns) {
  for_each_row<GemmColumns>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<GemmColumns, T>(row);
    const int64_t mr = row.facts.mr;
    const int64_t nr = row.facts.nr;
    constexpr int64_t kStep = 3;
    for (int64_t columns = 1; columns <= nr; ++columns) {
      for (int64_t rows : {0, 1, 2}) {
        for (const auto& [run, accumulation] : {std::pair{int64_t{1}, Accumulation::none},
                                                {int64_t{5}, Accumulation::resume},
                                                {int64_t{3}, Accumulation::add}}) {
          const int64_t a_row = (run - 1) * kStep + 2;
          const int64_t ldb = columns + 1;
          const int64_t steps = rows * run;
          std::vector<Guarded<T>> as, cs;
          std::vector<const T*> a;
          std::vector<T*> c;
          std::vector<std::vector<T>> expected;
          const Guarded<T> b(values<T>(steps > 0 ? (steps - 1) * ldb + columns : 0, 1));
          for (int64_t i = 0; i < mr; ++i) {
            as.emplace_back(
                values<T>(rows > 0 ? (rows - 1) * a_row + (run - 1) * kStep + 1 : 0, static_cast<uint64_t>(i)));
            cs.emplace_back(values<T>(columns, static_cast<uint64_t>(50 + i)));
            a.push_back(as.back().get());
            c.push_back(cs.back().get());
            expected.emplace_back(static_cast<size_t>(columns), T{0});
            if (accumulation == Accumulation::resume) expected.back().assign(c.back(), c.back() + columns);
            for (int64_t j = 0; j < columns; ++j) {
              T& sum = expected.back()[static_cast<size_t>(j)];
              for (int64_t s = 0; s < steps; ++s) {
                sum = std::fma(a.back()[s / run * a_row + s % run * kStep], b[s * ldb + j], sum);
              }
              if (accumulation == Accumulation::add) sum = c.back()[j] + sum;
            }
          }
          kernel({rows, run, a.data(), a_row, kStep, b.get(), ldb, columns, accumulation, c.data()});
          for (size_t i = 0; i < c.size(); ++i) check_same_bits(row.name, c[i], expected[i].data(), columns);
        }
      }
    }
  });
}

// turned: B lies as [columns, steps].
template <class Kind>
void check_vectors(bool turned) {
  for_each_row<Kind>([&](const Kernel& row, auto t) {
    using T = decltype(t);
    const auto kernel = function_of<Kind, T>(row);
    for (int64_t rows : {1, 2, 3, 7}) {
      for (int64_t columns : {1, 2, 7, 16, 31, 67}) {
        for (int64_t steps : {1, 7, 8, 9, 16, 37}) {
          const int64_t lda = steps + 1;
          const int64_t ldb = (turned ? steps : columns) + 2;
          const int64_t ldc = columns + 3;
          const Guarded<T> a(values<T>((rows - 1) * lda + steps, 1));
          const Guarded<T> b(values<T>(turned ? (columns - 1) * ldb + steps : (steps - 1) * ldb + columns, 2));
          Guarded<T> c(values<T>((rows - 1) * ldc + columns, 3));
          std::vector<T> expected(c.get(), c.get() + (rows - 1) * ldc + columns);
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t j = 0; j < columns; ++j) {
              T sum = 0;
              for (int64_t k = 0; k < steps; ++k) {
                sum = std::fma(a[i * lda + k], b[turned ? j * ldb + k : k * ldb + j], sum);
              }
              expected[static_cast<size_t>(i * ldc + j)] = sum;
            }
          }
          kernel({rows, columns, steps, a.get(), lda, b.get(), ldb, c.get(), ldc});
          check_same_bits(row.name, c.get(), expected.data(), static_cast<int64_t>(expected.size()));
        }
      }
    }
  });
}

TEST(gemm_vector) { check_vectors<GemmVector>(false); }

TEST(gemm_vector_turned) { check_vectors<GemmVectorTurned>(true); }

TEST(fma_peak_counts_its_operations) {
  for_each_row<FmaPeak>([](const Kernel& row, auto t) {
    using T = decltype(t);
    T sink[64] = {};
    const auto kernel = function_of<FmaPeak, T>(row);
    const int64_t ten = kernel(10, sink);
    CHECK(ten > 0);
    CHECK_EQ(kernel(20, sink), 2 * ten);
  });
}

// For rows beyond the edge of a matrix, the caller lets their results fall onto one spare row.
TEST(unwanted_rows_may_coincide) {
  for_each_row<GemmRows>([](const Kernel& row, auto t) {
    using T = decltype(t);
    const int64_t mr = row.facts.mr;
    const int64_t nr = row.facts.nr;
    const Guarded<T> a(values<T>(5, 1)), b(values<T>(5 * nr, 2));
    Guarded<T> first(nr), spare(nr);
    std::vector<const T*> a_rows(static_cast<size_t>(mr), a.get());
    std::vector<T*> c_rows(static_cast<size_t>(mr), spare.get());
    c_rows[0] = first.get();
    GemmTile<T> tile{};
    tile.taps = 1;
    tile.kc = 5;
    tile.a = a_rows.data();
    tile.b = b.get();
    tile.ldb = nr;
    tile.c = c_rows.data();
    function_of<GemmRows, T>(row)(tile);
    check_same_bits(row.name, first.get(), spare.get(), nr);
  });
}

template <class Kind, class T>
void check_selection() {
  for (Isa isa : {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512}) {
    for (int64_t n : {0, 1, 3, 7, 8, 9, 15, 16, 17, 48, 63, 64, 65, 1000, 1000000}) {
      const Kernel& row = select_tile<Kind, T>(100, n, arch_of(isa));
      CHECK((is_row_of<Kind, T>(row)));
      CHECK(arch_of(isa).has(row.isa));
      // The best instruction set that has tiles, whatever n is.
      CHECK(row.isa == (select_row<Kind, T>(arch_of(isa)).isa));
      CHECK(row.facts.mr > 0 && row.facts.nr > 0);
    }
  }
}

TEST(selection_of_a_tile_is_pure) {
  check_selection<GemmRows, float>();
  check_selection<GemmRows, double>();
  check_selection<GemmPanel, float>();
  check_selection<GemmPanel, double>();
  CHECK_EQ(std::string(select_tile<GemmRows, float>(100, 100, arch_of(Isa::scalar)).name), "gemm_rows_f32_4x4__scalar");
}

// Sizes round the edges of every tile and block, against one accumulator per element.
template <class T>
void check_product(int64_t m, int64_t n, int64_t k) {
  for (bool transpose_a : {false, true}) {
    for (bool transpose_b : {false, true}) {
      Guarded<T> a(values<T>(m * k, 1)), b(values<T>(k * n, 2)), bias(values<T>(n, 3));
      const Shape a_shape = transpose_a ? Shape{k, m} : Shape{m, k};
      const Shape b_shape = transpose_b ? Shape{n, k} : Shape{k, n};
      const DType dtype = DTypeOf<T>::value;
      const Tensor y =
          gemm(Tensor::borrow(a.get(), a_shape, dtype, nullptr), Tensor::borrow(b.get(), b_shape, dtype, nullptr),
               Tensor::borrow(bias.get(), {n}, dtype, nullptr), transpose_a, transpose_b, Activation::relu);
      std::vector<T> expected;
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          T sum = 0;
          for (int64_t s = 0; s < k; ++s) {
            sum = std::fma(a[transpose_a ? s * m + i : i * k + s], b[transpose_b ? j * k + s : s * n + j], sum);
          }
          sum += bias[j];
          expected.push_back(sum < 0 ? T{0} : sum);
        }
      }
      const std::string what = check::show(a_shape) + " x " + check::show(b_shape);
      check_same_bits(what.c_str(), y.data<T>(), expected.data(), m * n);
    }
  }
}

TEST(products_read_their_operands_only) {
  for (const std::string& isa : available_isas()) {
    set_isa(isa);
    for (int64_t m : {0, 1, 5, 13, 50}) {
      for (int64_t n : {0, 1, 7, 17, 65}) {
        for (int64_t k : {0, 1, 19}) {
          check_product<float>(m, n, k);
          check_product<double>(m, n, k);
        }
      }
    }
    check_product<float>(40, 33, 2061);
    check_product<double>(30, 17, 2061);
    // Few rows of a large B, which is streamed; few columns of the transposed product; few steps and many columns.
    for (int64_t m : {1, 4, 5, 13, 29, 90}) check_product<float>(m, 531, 130);
    check_product<float>(23, 512, 140);
    check_product<float>(75, 384, 262);
    check_product<double>(3, 300, 131);
    check_product<double>(23, 300, 131);
    check_product<float>(261, 70, 3);
    check_product<double>(130, 35, 9);
  }
  set_isa("");
}

}  // namespace
}  // namespace sixloop
