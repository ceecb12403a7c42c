// The loops round the register-tile kernels: blocks over k, panels of B, tiles of rows, tasks for threads.
// No intrinsics. The cuts follow from the shape, the kernel's tile and the size of the second-level cache, and no
// cut changes a bit: every output element has one accumulator that meets k in ascending order.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

#include "base/allocator.h"
#include "base/arch.h"
#include "base/thread_pool.h"
#include "base/transpose.h"
#include "elementwise/activation.h"
#include "gemm/microkernel.h"

namespace sixloop {

// B as `taps` matrices of kc rows and n columns: element (tap, k, j) is tap_data[tap][k * ld + j], or
// tap_data[tap][j * ld + k] where transposed.
template <class T>
struct MatrixB {
  std::vector<const T*> tap_data;
  int64_t kc = 0;
  int64_t n = 0;
  int64_t ld = 0;
  bool transposed = false;

  int64_t taps() const { return static_cast<int64_t>(tap_data.size()); }
  int64_t steps() const { return taps() * kc; }
};

// What happens to a finished output row of n elements: y = activation(y + bias).
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  Activation activation = Activation::none;
};

// A range of k that one kernel call covers: whole taps, or a part of one tap.
struct KBlock {
  int64_t tap;
  int64_t taps;
  int64_t k;
  int64_t kc;
};

// Blocks of about equal length, at most kBlockSteps steps: a panel of B of that length stays in the second-level
// cache while the tiles of a task pass over it. Reading and writing C once per block costs more than reading B from
// there: on a core with 2 MiB 1024 steps were 2% faster than 640 and 5% faster than 384 for 2048 cubed.
constexpr int64_t kBlockSteps = 1024;
std::vector<KBlock> k_blocks(int64_t taps, int64_t kc, int64_t most_steps = kBlockSteps);

// Tasks that a call is cut into where it is large enough: what a thread loses to the system, others take over.
constexpr int64_t kTasks = 32;
// The same for each thread, where every task reads its rows of A and its columns of B for itself: 16 tasks for one
// thread cost up to 40% of a weight gradient whose operands come from memory.
constexpr int64_t kPanelTasks = 3;
// Fused multiply-adds in a task of a small product: some five microseconds.
constexpr int64_t kLeastWork = int64_t{1} << 18;
// Tiles of rows up to which tasks pack the panels of B that they use.
constexpr int64_t kFewTiles = 24;
// Most rows, and steps, of a block of a transposed A: packed, or where it lies. The next block is fetched while the
// tiles pass over this one: read in place, with all of its rows' lines, 256 steps leave the cache.
constexpr int64_t kPanelRows = 384;
constexpr int64_t kPanelSteps = 256;
constexpr int64_t kInPlaceSteps = 128;
// A transposed A is read where it lies, unless its rows lie so far apart that they share sets of the caches: 1024 to
// 256 channels are 15% faster packed, 512 to 256 are 10% slower.
constexpr int64_t kFarColumns = 4096;
// Up to this many tiles of rows, reading B as it lies is cheaper than packing it.
constexpr int64_t kTilesThatPayPacking = 2;
// Products of so few tiles of rows stream B from memory: short blocks of steps, read along B's rows. One or two tiles
// use B as it lies; of more, the first one copies the panel into the first-level cache for the others. 16 rows (two
// tiles) with 32 steps are 40% faster than with 64; 64 rows with 96 and more steps 10% to 20% slower where B's rows
// share the sets of the second-level cache, and with 32 steps 20% slower, too.
constexpr int64_t kStreamTiles = 10;
constexpr int64_t stream_steps(int64_t tiles) { return tiles <= kTilesThatPayPacking ? 32 : 64; }
// Columns in a task, about: each one copies A's rows, and stretches of B's rows of 1 KiB are 25% slower than of 4 KiB.
constexpr int64_t kStreamColumns = 1024;
// How far ahead along B's rows one or two tiles fetch.
constexpr int64_t kStreamAhead = 64;

// Most rows of A in a task.
constexpr int64_t kMostRows = 768;
// Bytes of B up to which products of so few rows read it where it lies: nobody waits for a copy, which would lie in
// the caches of the thread that made it. 256 cubed is 5% to 10% faster so, 512 cubed 5% slower.
constexpr int64_t kSmallB = 256 << 10;

template <class T>
bool is_small(const MatrixB<T>& b) {
  return b.steps() * b.ld * static_cast<int64_t>(sizeof(T)) <= kSmallB;
}

// Rows and bytes of B of a strip kernel's call, and bytes that a task packs: 7% faster than all of B at a time where B
// has 64 KiB.
constexpr int64_t kStripRows = 64;
constexpr int64_t kStripBytes = 32 << 10;

// Columns of B packed at once where B's rows are read from memory: a multiple of every nr.
constexpr int64_t kPackedColumns = 192;

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Tiles of rows and panels of columns in one task.
struct TaskGrid {
  int64_t tiles;
  int64_t panels;
};

// Every task reads its rows of A and its panels of B once: of the grids with at least kTasks tasks, whose rows stay
// in the second-level cache, the one that reads least. Small products have fewer tasks, of some microseconds each.
template <class T>
TaskGrid task_grid(int64_t m_tiles, int64_t mr, int64_t panels, int64_t nr, int64_t steps, bool copied_rows) {
  constexpr int64_t kCopyCost = 4;  // of a row that is copied, in reads
  const int64_t row_bytes = std::clamp<int64_t>(steps, 1, kBlockSteps) * static_cast<int64_t>(sizeof(T));
  const int64_t tasks = std::clamp<int64_t>(m_tiles * mr * panels * nr * steps / kLeastWork, 1, kTasks);
  const int64_t most_tiles = ceil_div(std::min(kMostRows, l2_bytes() / 4 / row_bytes), mr);
  TaskGrid best{0, 0};
  int64_t least = 0;
  for (int64_t n_tasks = 1; n_tasks <= std::min(panels, tasks); ++n_tasks) {
    const int64_t m_tasks = std::max(ceil_div(m_tiles, most_tiles), std::min(m_tiles, ceil_div(tasks, n_tasks)));
    const int64_t read = m_tasks * panels * nr + n_tasks * m_tiles * mr * (copied_rows ? kCopyCost : 1);
    if (best.tiles == 0 || read < least) {
      best = {ceil_div(m_tiles, m_tasks), ceil_div(panels, n_tasks)};
      least = read;
    }
  }
  return best;
}

// Copies steps x columns elements, element (k, j) being in[k * ld + j], to panels of nr columns, panel_size elements
// apart, each [steps][nr] with zeros beyond the last column.
template <class T>
void pack_columns(GemmPack::Fn<T>* kernel, const T* in, int64_t ld, int64_t steps, int64_t columns, int64_t nr,
                  int64_t panel_size, T* panels);

// The same for columns [j, j + columns) of one block of B.
template <class T>
void pack_b(GemmPack::Fn<T>* kernel, const MatrixB<T>& b, const KBlock& block, int64_t j, int64_t columns, int64_t nr,
            int64_t panel_size, T* panels);

// to[j * ld_to + i] = from[i * ld_from + j] by squares of the instruction set's vectors, where one fits.
template <class T>
void transpose_by(const Kernel& row, const T* from, int64_t ld_from, int64_t rows, int64_t columns, T* to,
                  int64_t ld_to) {
  if (row.facts.mr == 1 || std::min(rows, columns) < row.facts.mr) {
    return transpose(from, ld_from, rows, columns, to, ld_to);
  }
  function_of<GemmTranspose, T>(row)({from, ld_from, rows, columns, to, ld_to});
}

// The same by all threads.
template <class T>
void parallel_transpose(const T* from, int64_t ld_from, int64_t rows, int64_t columns, T* to, int64_t ld_to) {
  constexpr int64_t kRows = 64;  // of a task: whole lines of `to`
  const Kernel& row = select_row<GemmTranspose, T>();
  parallel_for(ceil_div(rows, kRows), [&](int64_t task) {
    const int64_t i = task * kRows;
    transpose_by(row, from + i * ld_from, ld_from, std::min(kRows, rows - i), columns, to + i, ld_to);
  });
}

// Whether the rows of n elements lie in memory one after the other, without gaps.
template <class T>
bool follow_each_other(T* const* rows, int64_t count, int64_t n) {
  for (int64_t i = 1; i < count; ++i) {
    if (rows[i] != rows[0] + i * n) return false;
  }
  return true;
}

// A kernel begins with the accumulators in C: without this it waits for them.
template <class T>
void prefetch_row(const T* row, int64_t columns) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  for (int64_t j = 0; j < columns; j += kLine) __builtin_prefetch(row + j, 1);
}

// For the t-th of at least three tiles that read one panel of B where it lies, in rows ldb apart: the first tile copies
// it to `copy`, which the others read, and the next ones fetch a line each of the rows of the panel at `after`, unless
// that is null. A panel's lines come from memory once, and even with rows whose distance is a power of two the
// first-level cache keeps the copy.
template <class T>
void share_panel(GemmTile<T>& tile, int64_t t, int64_t nr, int64_t ldb, T* copy, const T* after) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  tile.b_copy = t == 0 ? copy : nullptr;
  if (t == 1) {
    tile.b = copy;
    tile.ldb = nr;
  }
  const bool fetches = after != nullptr && t > 0 && (t - 1) * kLine < nr;
  tile.next = fetches ? after + (t - 1) * kLine : nullptr;
  tile.next_step = fetches ? ldb : 0;
}

// A bias that a kernel may read in whole panels.
template <class T>
class PaddedBias {
 public:
  PaddedBias(const T* bias, int64_t n, int64_t padded) {
    if (bias == nullptr) return;
    copy_.emplace(padded);
    std::copy(bias, bias + n, copy_->get());
    std::fill(copy_->get() + n, copy_->get() + padded, T{0});
  }
  const T* at(int64_t j) const { return copy_ ? copy_->get() + j : nullptr; }
  static int64_t scratch(int64_t padded) { return buffer_bytes<T>(padded); }

 private:
  std::optional<Buffer<T>> copy_;
};

// Runs a kernel on one tile whose rows or columns may be fewer than the kernel's: results beyond the edge go
// to a buffer of the caller's stack.
template <class T>
class TileRunner {
 public:
  static constexpr int kMaxMr = 16;
  static constexpr int kMaxNr = 64;

  TileRunner(typename GemmRows::Fn<T>* function, int mr, int nr) : function_(function), mr_(mr), nr_(nr) {}

  // c: row pointers, at the tile's first column. Live: `rows` rows and `columns` columns. With `may_overrun` the
  // rows follow each other without a gap and what the kernel writes beyond the last one is written again later.
  void run(GemmTile<T>& tile, T* const* c, int64_t rows, int64_t columns, bool may_overrun) {
    tile.columns = columns;
    if (columns == nr_ || (may_overrun && rows == mr_)) {
      for (int64_t i = 0; i < rows; ++i) rows_[i] = c[i];
      for (int64_t i = rows; i < mr_; ++i) rows_[i] = edge_;
      tile.c = rows_;
      function_(tile);
      return;
    }
    for (int64_t i = 0; i < mr_; ++i) rows_[i] = edge_ + i * nr_;
    tile.c = rows_;
    const size_t bytes = static_cast<size_t>(columns) * sizeof(T);
    if (tile.accumulate) {
      for (int64_t i = 0; i < rows; ++i) std::memcpy(rows_[i], c[i], bytes);
    }
    function_(tile);
    for (int64_t i = 0; i < rows; ++i) std::memcpy(c[i], rows_[i], bytes);
  }

 private:
  typename GemmRows::Fn<T>* function_;
  int mr_;
  int nr_;
  T* rows_[kMaxMr];
  alignas(64) T edge_[kMaxMr * kMaxNr] = {};
};

// What pointers to the rows of a small task lie in, on its stack.
constexpr int64_t kInlinePointers = 256;

// How gemm_rows_loops() cuts a product into tasks and blocks, and what its buffers hold.
template <class T>
struct RowsCut {
  const Kernel& row;
  int64_t mr, nr;
  int64_t panels, m_tiles, taps;
  bool pack_in_task;  // with few rows B is read about once: each task packs the panels it uses
  bool streams;       // B comes from memory as it lies
  bool in_place;      // rows of B that fill whole panels are used as they lie: packing would not pay
  bool compact_rows;
  bool whole_panels;
  std::vector<KBlock> blocks;
  int64_t longest = 0;  // steps of a block
  TaskGrid grid;
  int64_t m_tasks, n_tasks;
  int64_t panels_per_pack;
  int64_t packed_size = 0;  // elements of all of B, packed once
  int64_t edge_size = 0;    // elements of the last columns of a small B, packed once: they fill no panel

  RowsCut(int64_t m, const MatrixB<T>& b, bool compact)
      : row(select_tile<GemmRows, T>(m, b.n)), mr(row.facts.mr), nr(row.facts.nr) {
    panels = ceil_div(b.n, nr);
    m_tiles = ceil_div(m, mr);
    taps = b.taps();
    compact_rows = compact;
    whole_panels = b.n % nr == 0;
    const bool few_tiles = m_tiles <= kFewTiles;
    const bool small_b = m <= kMostRows && !b.transposed && is_small(b);
    pack_in_task = few_tiles || small_b;
    streams = m_tiles <= kStreamTiles && !b.transposed && !small_b;
    in_place = small_b || streams;
    blocks = k_blocks(taps, b.kc, streams ? stream_steps(m_tiles) : kBlockSteps);
    for (const KBlock& block : blocks) longest = std::max(longest, block.taps * block.kc);
    const int64_t most_tasks = streams ? std::clamp<int64_t>(b.n / kStreamColumns, 4, 16) : kTasks;
    grid = few_tiles && !small_b ? TaskGrid{m_tiles, ceil_div(panels, most_tasks)}
                                 : task_grid<T>(m_tiles, mr, panels, nr, b.steps(), compact);
    m_tasks = ceil_div(m_tiles, grid.tiles);
    n_tasks = ceil_div(panels, grid.panels);
    panels_per_pack = kPackedColumns / nr;
    // The last prefetch may reach one block beyond the last panel.
    if (!pack_in_task) packed_size = panels * b.steps() * nr + kBlockSteps * nr;
    if (small_b && !whole_panels) edge_size = b.steps() * nr;
  }

  // Elements of B that a task with so many panels packs at a time.
  int64_t panel_size(int64_t task_panels) const {
    if (!pack_in_task || (in_place && whole_panels && !copies_panels()) || edge_size > 0) return 0;
    return longest * nr * (in_place ? 1 : std::min(panels_per_pack, task_panels));
  }
  // Whether the first tile copies what it reads of a streamed B.
  bool copies_panels() const { return streams && m_tiles > kTilesThatPayPacking && taps == 1; }
  // Between copied rows of A: one cache line over the block's length spreads them over the cache sets.
  int64_t ld_copy() const { return longest + 64 / static_cast<int64_t>(sizeof(T)); }

  // Bytes that a call takes from the allocator, at most.
  int64_t scratch() const {
    const int64_t rows = grid.tiles * mr;
    int64_t task = buffer_bytes<T>(panel_size(grid.panels));
    if (rows * taps > kInlinePointers) task += buffer_bytes<T*>(rows * taps);
    if (rows > kInlinePointers) task += buffer_bytes<T*>(rows);
    if (compact_rows) task += buffer_bytes<T>(rows * ld_copy()) + buffer_bytes<T*>(rows);
    return buffer_bytes<T>(packed_size) + buffer_bytes<T>(edge_size) + PaddedBias<T>::scratch(panels * nr) +
           task_bytes(m_tasks * n_tasks, task);
  }
};

// C = A B where the rows of A are given by pointers. fill(row, count, mr, a, c) writes, for the i-th of rows
// [row, row + count), the pointer to tap t to a[(i / mr * taps + t) * mr + i % mr] and the start of its output row
// to c[i].
//
// compact_rows: copy the rows of a task, block by block, next to each other first. For rows that lie so far apart
// that they share cache sets and pages.
template <class T, class Fill>
void gemm_rows_loops(int64_t m, const MatrixB<T>& b, const Epilogue<T>& epilogue, bool compact_rows, const Fill& fill) {
  const RowsCut<T> cut(m, b, compact_rows);
  const int64_t mr = cut.mr;
  const int64_t nr = cut.nr;
  const auto kernel = function_of<GemmRows, T>(cut.row);
  const auto packer = select<GemmPack, T>();
  const int64_t taps = b.taps();
  const int64_t panels = cut.panels;
  const std::vector<KBlock>& blocks = cut.blocks;
  const bool pack_in_task = cut.pack_in_task;
  const int64_t tiles_per_task = cut.grid.tiles;
  const int64_t panels_per_task = cut.grid.panels;
  const int64_t panels_per_pack = cut.panels_per_pack;
  const PaddedBias<T> bias(epilogue.bias, b.n, panels * nr);
  const bool relu = epilogue.activation == Activation::relu;

  std::optional<Buffer<T>> packed;
  if (!pack_in_task) {
    packed.emplace(cut.packed_size);
    const int64_t steps = b.steps();
    parallel_for(ceil_div(panels, panels_per_pack) * static_cast<int64_t>(blocks.size()), [&](int64_t task) {
      const KBlock& block = blocks[static_cast<size_t>(task) % blocks.size()];
      const int64_t panel = task / static_cast<int64_t>(blocks.size()) * panels_per_pack;
      const int64_t j = panel * nr;
      pack_b(packer, b, block, j, std::min(nr * panels_per_pack, b.n - j), nr, steps * nr,
             packed->get() + (panel * steps + block.tap * b.kc + block.k) * nr);
    });
  }
  std::optional<Buffer<T>> edge;
  if (cut.edge_size > 0) {
    edge.emplace(cut.edge_size);
    const int64_t j = (panels - 1) * nr;
    for (const KBlock& block : blocks) {
      pack_b(packer, b, block, j, b.n - j, nr, cut.edge_size, edge->get() + (block.tap * b.kc + block.k) * nr);
    }
  }

  parallel_for(cut.m_tasks * cut.n_tasks, [&](int64_t task) {
    const int64_t tile_begin = task % cut.m_tasks * tiles_per_task;
    const int64_t tile_end = std::min(cut.m_tiles, tile_begin + tiles_per_task);
    const int64_t panel_begin = task / cut.m_tasks * panels_per_task;
    const int64_t panel_end = std::min(panels, panel_begin + panels_per_task);
    const int64_t tiles = tile_end - tile_begin;

    SmallBuffer<const T*, kInlinePointers> a(tiles * taps * mr);
    SmallBuffer<T*, kInlinePointers> c(tiles * mr);
    const int64_t task_rows = std::min(m - tile_begin * mr, tiles * mr);
    fill(tile_begin * mr, task_rows, mr, a.get(), c.get());
    if (const int64_t live = task_rows - (tiles - 1) * mr; live < mr) {
      const T** rows = a.get() + (tiles - 1) * taps * mr;
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (int64_t i = live; i < mr; ++i) rows[tap * mr + i] = rows[tap * mr];
      }
    }
    std::optional<Buffer<T>> panel_buffer;
    if (cut.panel_size(panel_end - panel_begin) > 0) panel_buffer.emplace(cut.panel_size(panel_end - panel_begin));
    const int64_t ld_copy = cut.ld_copy();
    std::optional<Buffer<T>> row_buffer;
    std::optional<Buffer<const T*>> row_copies;
    if (compact_rows) {
      row_buffer.emplace(tiles * mr * ld_copy);
      row_copies.emplace(tiles * mr);
      for (int64_t i = 0; i < tiles * mr; ++i) (*row_copies)[i] = row_buffer->get() + i * ld_copy;
    }
    const bool dense_rows = panels == 1 && blocks.size() == 1 && follow_each_other(c.get(), task_rows, b.n);
    TileRunner<T> runner(kernel, static_cast<int>(mr), static_cast<int>(nr));
    GemmTile<T> tile{};

    for (size_t block_index = 0; block_index < blocks.size(); ++block_index) {
      const KBlock& block = blocks[block_index];
      const bool last = block_index + 1 == blocks.size();
      tile.taps = block.taps;
      tile.kc = block.kc;
      tile.a_offset = compact_rows ? 0 : block.k;
      tile.accumulate = block_index > 0;
      tile.relu = last && relu;
      // Rows of A that follow each other: while a tile of them is multiplied by the first panel, the next one is
      // fetched.
      const bool rows_from_memory =
          taps == 1 && !compact_rows && !cut.streams && block.kc == b.kc && follow_each_other(a.get(), task_rows, b.kc);
      int64_t first_packed = -panels_per_pack;  // of the panels in panel_buffer
      if (compact_rows) {
        for (int64_t i = 0; i < tiles * mr; ++i) {
          std::memcpy(row_buffer->get() + i * ld_copy, a[i] + block.k, static_cast<size_t>(block.kc) * sizeof(T));
        }
      }
      for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
        const int64_t j = panel * nr;
        const int64_t columns = std::min(nr, b.n - j);
        tile.ldb = nr;
        if (!pack_in_task) {
          tile.b = packed->get() + (panel * b.steps() + block.tap * b.kc + block.k) * nr;
        } else if (cut.in_place && columns == nr) {
          tile.b = b.tap_data[static_cast<size_t>(block.tap)] + block.k * b.ld + j;
          tile.ldb = b.ld;
        } else if (edge) {
          tile.b = edge->get() + (block.tap * b.kc + block.k) * nr;
        } else {
          if (panel >= first_packed + panels_per_pack) {
            // Several panels at once: longer runs of each row of B are read.
            first_packed = panel;
            pack_b(packer, b, block, j, std::min({b.n, panel_end * nr, j + panels_per_pack * nr}) - j, nr,
                   block.taps * block.kc * nr, panel_buffer->get());
          }
          tile.b = panel_buffer->get() + (panel - first_packed) * block.taps * block.kc * nr;
        }
        tile.bias = last ? bias.at(j) : nullptr;
        // While the tiles pass over a panel, the next one comes from memory or another core's cache.
        const T* next = nullptr;
        if (!pack_in_task && panel + 1 < panel_end) {
          next = tile.b + b.steps() * nr;
        } else if (!pack_in_task && !last) {
          const KBlock& after = blocks[block_index + 1];
          next = packed->get() + (panel_begin * b.steps() + after.tap * b.kc + after.k) * nr;
        }
        int64_t next_size = block.taps * block.kc * nr;
        tile.next_step = next != nullptr ? ceil_div(nr, tiles) : 0;
        const int64_t next_step = tile.next_step;
        const bool copies = cut.copies_panels() && columns == nr;
        const T* after = nullptr;  // where the panel after this one begins
        if (copies && panel + 1 < panel_end) {
          after = tile.b + nr;
        } else if (copies && !last) {
          after = tile.b + block.kc * b.ld - (panel - panel_begin) * nr;
        }
        if (cut.streams && block.taps == 1 && !copies) {
          // What lies kStreamAhead further along the rows of B; at their end, of the next rows.
          const int64_t ahead = (panel - panel_begin) * nr + kStreamAhead;
          const int64_t length = (panel_end - panel_begin) * nr;
          next = b.tap_data[static_cast<size_t>(block.tap)] + block.k * b.ld + j + kStreamAhead +
                 (ahead < length ? 0 : block.kc * b.ld - length);
          tile.next_step = b.ld;
          next_size = 0;
        }
        for (int64_t t = 0; t < tiles; ++t) {
          tile.next = next != nullptr ? next + t * next_size / tiles : nullptr;
          if (copies) share_panel(tile, t, nr, b.ld, panel_buffer->get(), after);
          T* rows[TileRunner<T>::kMaxMr];
          const int64_t count = std::min(mr, m - (tile_begin + t) * mr);
          for (int64_t i = 0; i < count; ++i) rows[i] = c[t * mr + i] + j;
          if (t + 1 < tiles) {
            const int64_t rows_after = std::min(mr, m - (tile_begin + t + 1) * mr);
            for (int64_t i = 0; i < rows_after; ++i) prefetch_row(c[(t + 1) * mr + i] + j, columns);
          }
          tile.a = compact_rows ? row_copies->get() + t * mr : a.get() + (t * taps + block.tap) * mr;
          if (rows_from_memory && panel == panel_begin) {
            const bool more = t + 1 < tiles;
            tile.next = more ? tile.a[mr] + block.k : next;
            tile.next_step = more ? mr : next_step;
          }
          // What a row of the tile writes beyond its n elements must lie within later rows of this task.
          const bool may_overrun = dense_rows && (task_rows - (t + 1) * mr) * b.n >= nr - b.n;
          runner.run(tile, rows, count, columns, may_overrun);
        }
      }
    }
    if (!relu && epilogue.activation != Activation::none) {
      const int64_t j = panel_begin * nr;
      const int64_t columns = std::min(b.n, panel_end * nr) - j;
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t count = std::min(mr, m - (tile_begin + t) * mr);
        for (int64_t i = 0; i < count; ++i) apply_activation(c[t * mr + i] + j, columns, epilogue.activation);
      }
    }
  });
}

// Where a row of A lies for a strip kernel, and how rows follow each other, as GemmStripArgs has it.
template <class T>
struct StripPlace {
  const T* a;
  int64_t in_line = 0;
  int64_t line = 0;
};
struct StripLines {
  int64_t rows = std::numeric_limits<int64_t>::max();
  int64_t a_line = 0;
  int64_t image_lines = 1;
  int64_t a_image = 0;
};

template <class T>
bool strips_read_in_place(const Kernel& row, const MatrixB<T>& b, bool few_rows) {
  return few_rows && !b.transposed && b.n % row.facts.nr == 0 && is_small(b);
}

// Bytes that gemm_strip_loops() takes from the allocator, at most.
template <class T>
int64_t strips_scratch(const Kernel& row, const MatrixB<T>& b, bool few_rows) {
  const int64_t columns = ceil_div(b.n, row.facts.nr) * row.facts.nr;
  return PaddedBias<T>::scratch(columns) +
         (strips_read_in_place(row, b, few_rows) ? 0 : buffer_bytes<T>(columns * b.kc));
}

// C = A B by strips of dense rows of C, m >= the kernel's tile of them. Row i of A begins at place(i).a, the next one
// a_step after it or as `lines` says; its `taps` stretches of `run` elements lie a_tap apart; b has one tap. few_rows:
// at most kMostRows of them.
//
// The kernel is the caller's: who chose by its tile must get that tile, even if another thread changes the instruction
// set meanwhile.
template <class T, class Place>
void gemm_strip_loops(const Kernel& row, int64_t m, int64_t taps, int64_t run, int64_t a_step, int64_t a_tap,
                      const StripLines& lines, const MatrixB<T>& b, const Epilogue<T>& epilogue, bool few_rows,
                      const Place& place, T* c) {
  const auto kernel = function_of<GemmStrip, T>(row);
  const auto packer = select<GemmPack, T>();
  const int64_t mr = row.facts.mr;
  const int64_t nr = row.facts.nr;
  const int64_t panels = ceil_div(b.n, nr);
  const bool in_place = strips_read_in_place(row, b, few_rows);
  std::optional<Buffer<T>> packed;
  if (!in_place) {
    packed.emplace(panels * b.kc * nr);
    const int64_t pack_panels = std::max<int64_t>(1, kStripBytes / (b.kc * nr * static_cast<int64_t>(sizeof(T)) + 1));
    parallel_for(ceil_div(panels, pack_panels), [&](int64_t task) {
      const int64_t j = task * pack_panels * nr;
      pack_b(packer, b, KBlock{0, 1, 0, b.kc}, j, std::min(pack_panels * nr, b.n - j), nr, b.kc * nr,
             packed->get() + j * b.kc);
    });
  }
  const T* b_data = in_place ? b.tap_data[0] : packed->get();
  const int64_t ldb = in_place ? b.ld : nr;
  const int64_t b_panel = in_place ? nr : b.kc * nr;
  const PaddedBias<T> bias(epilogue.bias, b.n, panels * nr);
  const bool relu = epilogue.activation == Activation::relu;
  // A group of panels stays in the first-level cache while about kStripRows rows pass.
  const int64_t group = std::max<int64_t>(1, kStripBytes / (b.kc * nr * static_cast<int64_t>(sizeof(T)) + 1)) * nr;
  const bool one_group = group >= b.n;
  const int64_t block_rows = kStripRows / mr * mr;
  // Whole tiles in each strip; the last one has what is left, at least one tile.
  const int64_t least = ceil_div(kLeastWork, std::max<int64_t>(1, b.kc * b.n));
  const int64_t strip_rows = ceil_div(std::max(ceil_div(m, 2 * kTasks), least), mr) * mr;
  const int64_t strips = std::max<int64_t>(1, (m - mr) / strip_rows + 1);
  parallel_for(strips, [&](int64_t strip) {
    const int64_t begin = strip * strip_rows;
    const int64_t end = strip + 1 < strips ? begin + strip_rows : m;
    for (int64_t first = begin; first < end;) {
      const int64_t left = end - first;
      const int64_t rows = one_group || left < block_rows + mr ? left : block_rows;
      const StripPlace<T> at = place(first);
      for (int64_t j = 0; j < b.n; j += group) {
        GemmStripArgs<T> args{};
        args.rows = rows;
        args.columns = std::min(group, b.n - j);
        args.taps = taps;
        args.run = run;
        args.a = at.a;
        args.a_step = a_step;
        args.a_tap = a_tap;
        args.b = b_data + j / nr * b_panel;
        args.ldb = ldb;
        args.b_panel = b_panel;
        args.bias = bias.at(j);
        args.relu = relu;
        args.c = c + first * b.n + j;
        args.ldc = b.n;
        args.line_rows = lines.rows;
        args.a_line = lines.a_line;
        args.image_lines = lines.image_lines;
        args.a_image = lines.a_image;
        args.first_in_line = at.in_line;
        args.first_line = at.line;
        kernel(args);
      }
      first += rows;
    }
    if (!relu && epilogue.activation != Activation::none) {
      apply_activation(c + begin * b.n, (end - begin) * b.n, epilogue.activation);
    }
  });
}

// Whether a product of dense rows is better done by strips: with few steps the tiles of gemm_rows_loops() cost more
// than what they multiply, and B must stay in the second-level cache as a whole.
template <class T>
bool strips_pay(const Kernel& row, int64_t m, int64_t taps, int64_t kc, int64_t n) {
  constexpr int64_t kFewSteps = 192;
  constexpr int64_t kLeastStripTiles = 16;
  // One task's product with whole panels: 64 cubed takes 3.9 instead of 4.7 microseconds; with other panels, which are
  // copied, up to 20% more.
  const bool one_task = m * n * kc <= kLeastWork && n % row.facts.nr == 0;
  const int64_t least = one_task ? 1 : kLeastStripTiles;
  return taps == 1 && kc <= kFewSteps && m >= least * row.facts.mr &&
         kc * n * static_cast<int64_t>(sizeof(T)) <= l2_bytes() / 8;
}

// C = A B with rows of A lda apart and dense rows of C, where strips_pay().
template <class T>
void gemm_by_strips(const Kernel& row, int64_t m, const T* a, int64_t lda, const MatrixB<T>& b,
                    const Epilogue<T>& epilogue, T* c) {
  gemm_strip_loops(
      row, m, 1, b.kc, lda, 0, StripLines{}, b, epilogue, m <= kMostRows,
      [&](int64_t i) { return StripPlace<T>{a + i * lda}; }, c);
}

// Adds `parts` dense matrices of m rows and n columns, in order, to the dense rows of c, ldc apart.
template <class T>
void add_parts(int64_t parts, int64_t m, int64_t n, const T* sums, T* c, int64_t ldc) {
  parallel_ranges(m, std::max<int64_t>(1, 4096 / (parts * n)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T* out = c + i * ldc;
      const T* in = sums + i * n;
      for (int64_t j = 0; j < n; ++j) out[j] = in[j];
      for (int64_t part = 1; part < parts; ++part) {
        in += m * n;
        for (int64_t j = 0; j < n; ++j) out[j] += in[j];
      }
    }
  });
}

// The left matrix of gemm_panel_loops(): element (i, k) is data[k * ld + i].
template <class T>
struct TransposedA {
  const T* data;
  int64_t ld;

  // Whether whole tiles are read where they lie.
  bool in_place() const { return ld * static_cast<int64_t>(sizeof(T)) < kFarColumns; }
  // Packs rows [row, row + rows) and steps [k, k + steps), as pack_columns() does with its columns.
  void pack(GemmPack::Fn<T>* kernel, int64_t row, int64_t rows, int64_t k, int64_t steps, int64_t mr,
            int64_t panel_size, T* panels) const {
    pack_columns(kernel, data + k * ld + row, ld, steps, rows, mr, panel_size, panels);
  }
};

// How gemm_panel_loops() cuts a product into tasks, and what its buffers hold.
template <class T>
struct PanelCut {
  const Kernel& row;
  int64_t mr, nr;
  int64_t panels, m_tiles;
  int64_t parts, part_steps;
  int64_t tiles_per_task, m_tasks;
  int64_t panels_per_task, n_tasks;
  int64_t sums_size;  // elements of the sums of all parts
  bool a_in_place;    // whole tiles of A are read where they lie
  int64_t whole_tiles;

  PanelCut(int64_t m, const MatrixB<T>& b, int64_t parts_of_sum, bool in_place)
      : row(select_tile<GemmPanel, T>(m, b.n)),
        mr(row.facts.mr),
        nr(row.facts.nr),
        parts(parts_of_sum),
        a_in_place(in_place),
        whole_tiles(m / mr) {
    panels = ceil_div(b.n, nr);
    m_tiles = ceil_div(m, mr);
    part_steps = ceil_div(b.steps(), parts);
    const int64_t tasks = kPanelTasks * num_threads();
    tiles_per_task =
        std::min(m_tiles, std::max<int64_t>(std::min(ceil_div(kPanelRows, mr), ceil_div(m_tiles * parts, tasks)), 1));
    m_tasks = ceil_div(m_tiles, tiles_per_task);
    panels_per_task = m_tasks * parts >= tasks ? panels : ceil_div(panels, ceil_div(tasks, m_tasks * parts));
    // Of tasks that share columns and tasks that share rows, those that read less: with few rows all of B is read once.
    const int64_t row_tasks = ceil_div(m_tiles, ceil_div(kPanelRows, mr));
    const int64_t column_tasks = std::min(panels, ceil_div(tasks, row_tasks * parts));
    const int64_t read = m_tasks * panels * nr + ceil_div(panels, panels_per_task) * m_tiles * mr;
    if (row_tasks * panels * nr + column_tasks * m_tiles * mr < read) {
      m_tasks = row_tasks;
      tiles_per_task = ceil_div(m_tiles, m_tasks);
      panels_per_task = ceil_div(panels, column_tasks);
    }
    n_tasks = ceil_div(panels, panels_per_task);
    sums_size = parts > 1 ? parts * m * b.n : 0;
  }

  int64_t block_steps() const { return a_in_place ? kInPlaceSteps : kPanelSteps; }
  int64_t most_steps() const { return std::min(block_steps(), part_steps); }
  int64_t panels_per_pack() const { return std::min(kPackedColumns / nr, panels_per_task); }
  // Of tiles [begin, end), the first that is packed.
  int64_t first_packed_tile(int64_t begin, int64_t end) const {
    return a_in_place ? std::clamp(whole_tiles, begin, end) : begin;
  }
  // Elements of so many packed tiles of rows, and of the packed panels of B.
  int64_t rows_size(int64_t tiles) const { return tiles * most_steps() * mr; }
  int64_t panel_size() const { return most_steps() * nr * panels_per_pack(); }

  int64_t most_packed_tiles() const { return a_in_place ? m_tiles - whole_tiles : tiles_per_task; }

  // Bytes that a call takes from the allocator, at most.
  int64_t scratch() const {
    return buffer_bytes<T>(sums_size) + PaddedBias<T>::scratch(panels * nr) +
           task_bytes(parts * m_tasks * n_tasks,
                      buffer_bytes<T>(rows_size(most_packed_tiles())) + buffer_bytes<T>(panel_size()));
  }
};

// C = A B where A is a TransposedA, or what has its members; B has one tap, C is dense rows ldc apart. With parts > 1
// the steps are cut into that many ranges, each summed on its own and the sums added in order.
template <class T, class Left>
void gemm_panel_loops(int64_t m, const Left& left, const MatrixB<T>& b, const Epilogue<T>& epilogue, T* c, int64_t ldc,
                      int64_t parts) {
  const PanelCut<T> cut(m, b, parts, left.in_place());
  const int64_t mr = cut.mr;
  const int64_t nr = cut.nr;
  const auto kernel = function_of<GemmPanel, T>(cut.row);
  const auto packer = select<GemmPack, T>();
  const int64_t steps = b.steps();
  const int64_t panels = cut.panels;
  const int64_t m_tasks = cut.m_tasks;
  const int64_t n_tasks = cut.n_tasks;
  const int64_t tiles_per_task = cut.tiles_per_task;
  const int64_t panels_per_task = cut.panels_per_task;
  const int64_t part_steps = cut.part_steps;
  const PaddedBias<T> bias(epilogue.bias, b.n, panels * nr);
  const bool relu = epilogue.activation == Activation::relu;

  std::optional<Buffer<T>> sums;
  if (parts > 1) sums.emplace(cut.sums_size);

  parallel_for(parts * m_tasks * n_tasks, [&](int64_t task) {
    const int64_t part = task / (m_tasks * n_tasks);
    const int64_t tile_begin = task % m_tasks * tiles_per_task;
    const int64_t tile_end = std::min(cut.m_tiles, tile_begin + tiles_per_task);
    const int64_t panel_begin = task / m_tasks % n_tasks * panels_per_task;
    const int64_t panel_end = std::min(panels, panel_begin + panels_per_task);
    const int64_t tiles = tile_end - tile_begin;
    const int64_t step_begin = part * part_steps;
    const int64_t step_end = std::min(steps, step_begin + part_steps);
    T* out = parts > 1 ? sums->get() + part * m * b.n : c;
    const int64_t ld_out = parts > 1 ? b.n : ldc;

    const int64_t most_steps = cut.most_steps();
    const int64_t first_packed_tile = cut.first_packed_tile(tile_begin, tile_end);
    const int64_t rows_end = std::min(tile_end * mr, m);
    std::optional<Buffer<T>> packed_rows;
    if (first_packed_tile < tile_end) packed_rows.emplace(cut.rows_size(tile_end - first_packed_tile));
    const int64_t panels_per_pack = cut.panels_per_pack();
    Buffer<T> panel_buffer(cut.panel_size());
    TileRunner<T> runner(kernel, static_cast<int>(mr), static_cast<int>(nr));
    GemmTile<T> tile{};
    tile.taps = 1;
    for (int64_t k = step_begin; k < step_end; k += cut.block_steps()) {
      const int64_t kc = std::min(cut.block_steps(), step_end - k);
      const bool last = k + kc == step_end && parts == 1;
      if (packed_rows) {
        left.pack(packer, first_packed_tile * mr, rows_end - first_packed_tile * mr, k, kc, mr, most_steps * mr,
                  packed_rows->get());
      }
      tile.kc = kc;
      tile.accumulate = k > step_begin;
      tile.relu = last && relu;
      // Panels that the tiles share fetch each other; of other Bs, and of what is read in place of A, each call fetches
      // one line of all rows of the next block.
      constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
      const bool has_next = k + 2 * kc <= step_end;
      const bool shares = !b.transposed && b.ld != nr && tiles > kTilesThatPayPacking;
      const int64_t b_lines =
          has_next && !b.transposed && !shares ? ceil_div(std::min(b.n, panel_end * nr) - panel_begin * nr, kLine) : 0;
      const int64_t a_lines =
          has_next && cut.a_in_place ? ceil_div(first_packed_tile * mr - tile_begin * mr, kLine) : 0;
      int64_t line = 0;
      int64_t first_packed = -panels_per_pack;  // of the panels in panel_buffer
      for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
        const int64_t j = panel * nr;
        const int64_t columns = std::min(nr, b.n - j);
        if (!b.transposed && columns == nr) {
          tile.b = b.tap_data[0] + k * b.ld + j;
          tile.ldb = b.ld;
        } else {
          if (panel >= first_packed + panels_per_pack) {
            // Several panels at once: longer runs of each row of B are read.
            first_packed = panel;
            pack_b(packer, b, KBlock{0, 1, k, kc}, j, std::min({b.n, panel_end * nr, j + panels_per_pack * nr}) - j, nr,
                   kc * nr, panel_buffer.get());
          }
          tile.b = panel_buffer.get() + (panel - first_packed) * kc * nr;
          tile.ldb = nr;
        }
        tile.bias = last ? bias.at(j) : nullptr;
        const bool copies = shares && columns == nr;
        const T* after = nullptr;  // where the panel after this one begins
        if (copies && panel + 1 < panel_end) {
          after = tile.b + nr;
        } else if (copies && has_next) {
          after = tile.b + kc * b.ld - (panel - panel_begin) * nr;
        }
        for (int64_t t = 0; t < tiles; ++t) {
          T* rows[TileRunner<T>::kMaxMr];
          const int64_t first = (tile_begin + t) * mr;
          const int64_t count = std::min(mr, m - first);
          for (int64_t i = 0; i < count; ++i) rows[i] = out + (first + i) * ld_out + j;
          if (t + 1 < tiles) {
            const int64_t rows_after = std::min(mr, m - first - mr);
            for (int64_t i = 0; i < rows_after; ++i) prefetch_row(out + (first + mr + i) * ld_out + j, columns);
          }
          const bool in_place = tile_begin + t < first_packed_tile;
          tile.a_panel = in_place ? left.data + k * left.ld + first
                                  : packed_rows->get() + (tile_begin + t - first_packed_tile) * most_steps * mr;
          tile.a_step = in_place ? left.ld : mr;
          tile.next = nullptr;
          tile.next_step = 0;
          if (copies) share_panel(tile, t, nr, b.ld, panel_buffer.get(), after);
          if (tile.next == nullptr) {
            if (line < b_lines) {
              tile.next = b.tap_data[0] + (k + kc) * b.ld + panel_begin * nr + line * kLine;
              tile.next_step = b.ld;
            } else if (line < b_lines + a_lines) {
              tile.next = left.data + (k + kc) * left.ld + tile_begin * mr + (line - b_lines) * kLine;
              tile.next_step = left.ld;
            }
            ++line;
          }
          runner.run(tile, rows, count, columns, /*may_overrun=*/false);  // blocks of steps accumulate in C
        }
      }
    }
    if (parts == 1 && !relu && epilogue.activation != Activation::none) {
      const int64_t j = panel_begin * nr;
      const int64_t columns = std::min(b.n, panel_end * nr) - j;
      for (int64_t i = tile_begin * mr; i < std::min(m, tile_end * mr); ++i) {
        apply_activation(c + i * ldc + j, columns, epilogue.activation);
      }
    }
  });

  if (parts > 1) add_parts(parts, m, b.n, sums->get(), c, ldc);
}

}  // namespace sixloop
