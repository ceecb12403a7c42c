// The instructions of csrc/cuda/ptx.h on the CPU, by the definitions of NVIDIA's PTX manual.
#include <cudaTypedefs.h>
#include <simt_ptx.h>

#include <bit>
#include <cmath>
#include <map>
#include <vector>

#include "simt.h"

namespace simt {
namespace {

// Where shared memory begins in its window: aligned to no more than the pointer that kernels get.
constexpr uint32_t kSharedBase = 1024 + 128;

int64_t shared_offset(const void* p) { return static_cast<const char*>(p) - shared_begin(); }

// What is wrong with `bytes` bytes of shared memory from p on, or nothing.
std::string shared_fault(const char* what, const void* p, size_t bytes, size_t alignment) {
  const int64_t offset = shared_offset(p);
  const std::string where = " at byte " + std::to_string(offset);
  if (reinterpret_cast<uintptr_t>(p) % alignment != 0) {
    return what + where + " of shared memory is not aligned to " + std::to_string(alignment);
  }
  if (offset < 0 || static_cast<size_t>(offset) + bytes > shared_size()) {
    return std::string(what) + " of " + std::to_string(bytes) + " bytes" + where + " leaves shared memory of " +
           std::to_string(shared_size());
  }
  return "";
}

// Fails with the text, if there is any, and the place of the instruction.
void check(const std::string& fault, const Location& where) {
  if (!fault.empty()) failure() = fault + ", in " + place(where);
}

// --- What a thread has under way.

struct Copy {
  void* to;
  const void* from;  // null: zeros
  size_t bytes;
};

struct Product {
  float* d;
  int n;
  uint64_t a;
  const uint32_t* a_registers;  // of tf32; null: a is in shared memory
  uint64_t b;
  bool accumulate, across_a, across_b;
};

bool same(const Product& x, const Product& y) {
  return x.n == y.n && x.a == y.a && (x.a_registers == nullptr) == (y.a_registers == nullptr) && x.b == y.b &&
         x.accumulate == y.accumulate && x.across_a == y.across_a && x.across_b == y.across_b;
}

// What accumulators really hold while they read as NaN.
struct Held {
  std::vector<float> values;
  int pending = 0;
};

template <class T>
struct Groups {
  std::vector<T> open;
  std::vector<std::vector<T>> committed;

  void commit() {
    committed.push_back(std::move(open));
    open.clear();
  }
  bool empty() const {
    bool nothing = open.empty();
    for (const std::vector<T>& group : committed) nothing = nothing && group.empty();
    return nothing;
  }
};

struct Thread {
  Groups<Copy> copies;
  std::vector<size_t> landed;  // pieces of shared memory that its copies wrote since its last proxy fence
  Groups<Product> products;
  std::map<float*, Held> held;
  bool fenced = false;  // since the last wait for products
  int issued = 0;
};

constexpr size_t kPiece = 16;

// A tensor map, in the emulator's own encoding.
struct Map {
  uint64_t magic;
  char* data;
  uint32_t rank, element, swizzled;
  uint32_t last[5];  // sizes less one
  uint64_t strides[5];
  uint16_t box[5];  // of an im2col map: channels, pixels
  bool im2col;
  // Of an im2col map along w and h: from the image's corners to those of the box in which pixels are counted; steps.
  int8_t lower[2], upper[2];
  uint8_t steps[2];
};
static_assert(sizeof(Map) <= sizeof(CUtensorMap));
constexpr uint64_t kMagic = 0x70616d726f736e65;

struct Box {
  char* to;
  Map map;
  int at[5];
  int offset[2];  // of an im2col map, along w and h
};

struct Barrier {
  uint32_t count = 0, pending = 0, phase = 0;
  int64_t expected = 0;  // bytes
  bool fenced = false;
  size_t owner = 0;
  std::vector<Box> boxes;
  int64_t brought = 0;  // bytes of the boxes
};

std::vector<Thread> threads;
std::map<const void*, Barrier> barriers;
// For each piece of shared memory, one more than the thread whose copy wgmma may not see yet.
std::vector<uint16_t> unseen;
bool used = false;

Thread& this_thread() {
  used = true;
  return threads[thread_index()];
}

void land(Thread& thread, const std::vector<Copy>& group) {
  const auto index = static_cast<size_t>(&thread - threads.data());
  unseen.resize(shared_size() / kPiece + 1);
  for (const Copy& copy : group) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
      std::memset(copy.to, 0, copy.bytes);
    }
    const size_t piece = static_cast<size_t>(shared_offset(copy.to)) / kPiece;
    if (unseen[piece] == index + 1) continue;
    unseen[piece] = static_cast<uint16_t>(index + 1);
    thread.landed.push_back(piece);
  }
}

// --- Numbers.

float from_bf16(uint32_t bits) { return std::bit_cast<float>(bits << 16); }
float from_tf32(uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

// Cut off to float32.
float cut(double x) {
  const auto nearest = static_cast<float>(x);
  const bool beyond = std::isfinite(x) && std::fabs(static_cast<double>(nearest)) > std::fabs(x);
  return beyond ? std::nextafter(nearest, 0.f) : nearest;
}

// --- Instructions of a warp.

struct Matrices {
  const void* row;
  uint32_t* r;
};

uint32_t element(void* const* lanes, int matrix, int row, int column) {
  const void* const p = static_cast<const Matrices*>(lanes[8 * matrix + row])->row;
  uint16_t value;
  std::memcpy(&value, static_cast<const char*>(p) + 2 * column, sizeof value);
  return value;
}

template <bool kTransposed>
void load_matrices(void* const* lanes) {
  for (int lane = 0; lane < 32; ++lane) {
    const std::string fault = shared_fault("a row of ldmatrix", static_cast<const Matrices*>(lanes[lane])->row, 16, 16);
    if (!fault.empty()) throw Fault{fault + ", lane " + std::to_string(lane)};
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int matrix = 0; matrix < 4; ++matrix) {
      const uint32_t low = kTransposed ? element(lanes, matrix, 2 * t, g) : element(lanes, matrix, g, 2 * t);
      const uint32_t high = kTransposed ? element(lanes, matrix, 2 * t + 1, g) : element(lanes, matrix, g, 2 * t + 1);
      static_cast<const Matrices*>(lanes[lane])->r[matrix] = low | high << 16;
    }
  }
}

struct Fragments {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

const Fragments& fragments(void* const* lanes, int lane) { return *static_cast<const Fragments*>(lanes[lane]); }

// d [16, 8] += a [16, K] b [K, 8] in the registers of the lanes.
template <int K>
void add_product(void* const* lanes, const double (&a)[16][K], const double (&b)[K][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
      float& d = fragments(lanes, lane).d[i];
      double sum = 0;
      for (int k = 0; k < K; ++k) sum += a[row][k] * b[k][column];
      d = cut(sum + static_cast<double>(d));
    }
  }
}

void multiply_bf16(void* const* lanes) {
  double a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& f = fragments(lanes, lane);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      const auto value = [&](uint32_t r) { return static_cast<double>(from_bf16((r >> (16 * half)) & 0xffffu)); };
      for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + half] = value(f.a[i]);
      for (int i = 0; i < 2; ++i) b[2 * t + 8 * i + half][g] = value(f.b[i]);
    }
  }
  add_product(lanes, a, b);
}

void multiply_tf32(void* const* lanes) {
  double a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Fragments& f = fragments(lanes, lane);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][t + 4 * (i / 2)] = static_cast<double>(from_tf32(f.a[i]));
    for (int i = 0; i < 2; ++i) b[t + 4 * i][g] = static_cast<double>(from_tf32(f.b[i]));
  }
  add_product(lanes, a, b);
}

// --- Products of a warpgroup, of which every warp does its own rows.

// 128-byte swizzle: bits 4 to 6 of an address are exclusive or with bits 7 to 9.
uint32_t swizzle(uint32_t address) { return address ^ (address >> 7 & 7) << 4; }

// Element [x, k] of an operand, where x is a row of a or a column of b.
double operand(uint64_t descriptor, bool across, bool tf32, int x, int k) {
  const auto field = [&](int shift) { return static_cast<uint32_t>(descriptor >> shift & 0x3fff) << 4; };
  const auto ux = static_cast<uint32_t>(x), uk = static_cast<uint32_t>(k);
  const uint32_t start = field(0), next_tile = field(16), next_lines = field(32), bytes = tf32 ? 4 : 2;
  const uint32_t offset = across ? ux / 64 * next_tile + uk / 8 * next_lines + uk % 8 * 128 + ux % 64 * bytes
                                 : ux / 8 * next_lines + ux % 8 * 128 + uk * bytes;
  const int64_t at = int64_t{swizzle(start + offset)} - kSharedBase;
  if (at < 0 || static_cast<size_t>(at) + bytes > shared_size()) {
    throw Fault{"wgmma reads byte " + std::to_string(at) + " of shared memory of " + std::to_string(shared_size())};
  }
  const size_t piece = static_cast<size_t>(at) / kPiece;
  if (piece < unseen.size() && unseen[piece] != 0) {
    throw Fault{"wgmma reads byte " + std::to_string(at) + " of shared memory, for which thread " +
                std::to_string(unseen[piece] - 1) + " has had no fence_proxy_async since its cp.async"};
  }
  if (tf32) {
    uint32_t bits;
    std::memcpy(&bits, shared_begin() + at, sizeof bits);
    return static_cast<double>(from_tf32(bits));
  }
  uint16_t bits;
  std::memcpy(&bits, shared_begin() + at, sizeof bits);
  return static_cast<double>(from_bf16(bits));
}

struct Wait {
  Thread* thread;
  size_t pending;
};

void multiply(const Wait* const* lanes, size_t number) {
  const Product& p = lanes[0]->thread->products.committed[0][number];
  const bool tf32 = p.a_registers != nullptr;
  for (const uint64_t descriptor : {tf32 ? p.b : p.a, p.b}) {
    if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0 || (descriptor >> 3 & 7) != 0) {
      throw Fault{"an operand of wgmma has no 128-byte swizzle, or does not begin at a multiple of 1024 bytes"};
    }
  }
  const size_t warp = static_cast<size_t>(lanes[0]->thread - threads.data()) / 32;
  const int first = static_cast<int>(warp % 4) * 16, depth = tf32 ? 8 : 16;
  std::vector<double> a(static_cast<size_t>(16 * depth)), b(static_cast<size_t>(p.n * depth));
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < depth; ++k) {
      double& value = a[static_cast<size_t>(i * depth + k)];
      if (tf32) {
        const Thread& lane = *lanes[i % 8 * 4 + k % 4]->thread;
        value = static_cast<double>(from_tf32(lane.products.committed[0][number].a_registers[i / 8 + k / 4 * 2]));
      } else {
        value = operand(p.a, p.across_a, false, first + i, k);
      }
    }
  }
  for (int j = 0; j < p.n; ++j) {
    for (int k = 0; k < depth; ++k) b[static_cast<size_t>(j * depth + k)] = operand(p.b, p.across_b, tf32, j, k);
  }
  for (int lane = 0; lane < 32; ++lane) {
    Thread& thread = *lanes[lane]->thread;
    const Product& mine = thread.products.committed[0][number];
    if (!same(p, mine)) throw Fault{"lanes of a warp differ in the operands of wgmma"};
    Held& held = thread.held[mine.d];
    for (int i = 0; i < p.n / 2; ++i) {
      const int row = lane / 4 + 8 * (i / 2 % 2), column = 8 * (i / 4) + 2 * (lane % 4) + i % 2;
      double sum = 0;
      for (int k = 0; k < depth; ++k) {
        sum += a[static_cast<size_t>(row * depth + k)] * b[static_cast<size_t>(column * depth + k)];
      }
      float& value = held.values[static_cast<size_t>(i)];
      value = cut(sum + (p.accumulate ? static_cast<double>(value) : 0));
    }
    --held.pending;
  }
}

void finish_products(void* const* brought) {
  const Wait* lanes[32];
  for (int lane = 0; lane < 32; ++lane) lanes[lane] = static_cast<const Wait*>(brought[lane]);
  const auto& groups = lanes[0]->thread->products.committed;
  for (const Wait* lane : lanes) {
    bool alike = lane->pending == lanes[0]->pending && lane->thread->products.committed.size() == groups.size();
    for (size_t i = 0; alike && i < groups.size(); ++i) {
      alike = lane->thread->products.committed[i].size() == groups[i].size();
    }
    if (!alike) throw Fault{"lanes of a warp differ in what wgmma_wait waits for"};
  }
  while (groups.size() > lanes[0]->pending) {
    for (size_t i = 0; i < groups[0].size(); ++i) multiply(lanes, i);
    for (const Wait* lane : lanes) {
      auto& committed = lane->thread->products.committed;
      committed.erase(committed.begin());
    }
  }
  for (const Wait* lane : lanes) {
    std::erase_if(lane->thread->held, [](const auto& held) {
      if (held.second.pending > 0) return false;
      std::memcpy(held.first, held.second.values.data(), held.second.values.size() * sizeof(float));
      return true;
    });
  }
}

// --- Barriers and boxes.

// Copies line number `line` of a box, whose coordinates but the first are `at`, to where it belongs.
void land_line(const Box& box, int64_t line, const int64_t* at) {
  const Map& map = box.map;
  const int per_piece = static_cast<int>(kPiece / map.element);
  const int pieces = map.box[0] / per_piece;
  const char* from = map.data;
  bool inside = true;
  for (uint32_t i = 1; i < map.rank; ++i) {
    inside = inside && at[i] >= 0 && at[i] <= int64_t{map.last[i]};
    if (inside) from += at[i] * static_cast<int64_t>(map.strides[i]);
  }
  for (int piece = 0; piece < pieces; ++piece) {
    const auto offset = static_cast<uint32_t>((line * pieces + piece) * static_cast<int64_t>(kPiece));
    const uint32_t address = ptx::shared_address(box.to) + offset;
    char* const to = shared_begin() + (map.swizzled != 0 ? swizzle(address) : address) - kSharedBase;
    for (int i = 0; i < per_piece; ++i) {
      const int64_t x = int64_t{box.at[0]} + piece * per_piece + i;
      char* const target = to + i * static_cast<int>(map.element);
      if (inside && x >= 0 && x <= int64_t{map.last[0]}) {
        std::memcpy(target, from + x * int64_t{map.element}, map.element);
      } else {
        std::memset(target, 0, map.element);
      }
    }
  }
}

// Where a box in which pixels are counted ends, along w (0) or h (1).
int64_t last_pixel(const Map& map, int axis) { return int64_t{map.last[1 + axis]} + map.upper[axis]; }

void land_im2col(const Box& box) {
  const Map& map = box.map;
  int64_t at[4] = {0, box.at[1], box.at[2], box.at[3]};
  for (int64_t pixel = 0; pixel < map.box[1]; ++pixel) {
    const int64_t displaced[4] = {0, at[1] + box.offset[0], at[2] + box.offset[1], at[3]};
    land_line(box, pixel, displaced);
    at[1] += map.steps[0];
    if (at[1] <= last_pixel(map, 0)) continue;
    at[1] = map.lower[0];
    at[2] += map.steps[1];
    if (at[2] <= last_pixel(map, 1)) continue;
    at[2] = map.lower[1];
    ++at[3];
  }
}

void land(const Box& box) {
  const Map& map = box.map;
  if (map.im2col) return land_im2col(box);
  int64_t lines = 1;
  for (uint32_t i = 1; i < map.rank; ++i) lines *= map.box[i];
  for (int64_t line = 0; line < lines; ++line) {
    int64_t at[5] = {}, rest = line;
    for (uint32_t i = 1; i < map.rank; ++i) {
      at[i] = box.at[i] + rest % map.box[i];
      rest /= map.box[i];
    }
    land_line(box, line, at);
  }
}

// Ends the phase if all have arrived and all bytes can be there.
void advance(Barrier& barrier) {
  if (barrier.pending != 0 || barrier.expected != barrier.brought) return;
  for (const Box& box : barrier.boxes) land(box);
  barrier.boxes.clear();
  barrier.expected = barrier.brought = 0;
  barrier.pending = barrier.count;
  barrier.phase ^= 1;
}

struct Phase {
  Barrier* barrier;
  uint32_t parity;
};

bool has_ended(const void* brought) {
  Phase phase;
  std::memcpy(&phase, brought, sizeof phase);
  if (phase.barrier->phase == phase.parity) advance(*phase.barrier);
  return phase.barrier->phase != phase.parity;
}

Barrier& known(const uint64_t* barrier, const Location& where) {
  used = true;
  const auto found = barriers.find(barrier);
  if (found == barriers.end()) fail([&] { return "an mbarrier that nobody has initialised, in " + place(where); });
  return found->second;
}

void arrive(uint64_t* barrier, uint32_t bytes, const Location& where) {
  Barrier& b = known(barrier, where);
  if (b.pending == 0) advance(b);
  if (b.pending == 0) fail([&] { return "more arrive at an mbarrier than its count, in " + place(where); });
  b.expected += bytes;
  --b.pending;
  if (b.boxes.empty()) advance(b);
}

// What both kinds of maps have.
bool encode_array(Map& encoded, const CUtensorMap* map, CUtensorMapDataType type, uint32_t rank, void* data,
                  const cuuint64_t* sizes, const cuuint64_t* strides, CUtensorMapInterleave interleave,
                  CUtensorMapSwizzle swizzle) {
  const uint32_t element = type == CU_TENSOR_MAP_DATA_TYPE_FLOAT32 ? 4 : 2;
  encoded.magic = kMagic;
  encoded.data = static_cast<char*>(data);
  encoded.rank = rank;
  encoded.element = element;
  encoded.swizzled = swizzle == CU_TENSOR_MAP_SWIZZLE_128B;
  bool good = rank >= 1 && rank <= 5 && reinterpret_cast<uintptr_t>(data) % 16 == 0 &&
              interleave == CU_TENSOR_MAP_INTERLEAVE_NONE && reinterpret_cast<uintptr_t>(map) % 64 == 0;
  for (uint32_t i = 0; good && i < rank; ++i) {
    good = sizes[i] >= 1 && sizes[i] <= uint64_t{1} << 32;
    encoded.last[i] = static_cast<uint32_t>(sizes[i] - 1);
    if (i == 0) continue;
    good = good && strides[i - 1] % 16 == 0 && strides[i - 1] < uint64_t{1} << 40;
    encoded.strides[i] = strides[i - 1];
  }
  return good;
}

// Whether lines of so many elements may be copied.
bool is_line(const Map& map, uint32_t elements) {
  return elements * map.element % kPiece == 0 && (map.swizzled == 0 || elements * map.element <= 128);
}

CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* sizes,
                      const cuuint64_t* strides, const cuuint32_t* box, const cuuint32_t* element_strides,
                      CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                      CUtensorMapFloatOOBfill) {
  Map encoded{};
  bool good = encode_array(encoded, map, type, rank, data, sizes, strides, interleave, swizzle);
  for (uint32_t i = 0; good && i < rank; ++i) {
    good = box[i] >= 1 && box[i] <= 256 && element_strides[i] == 1;
    encoded.box[i] = static_cast<uint16_t>(box[i]);
  }
  if (!good || !is_line(encoded, box[0])) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(map, &encoded, sizeof encoded);
  return CUDA_SUCCESS;
}

// Of rank 4 alone.
CUresult encode_im2col(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* data, const cuuint64_t* sizes,
                       const cuuint64_t* strides, const int* lower, const int* upper, cuuint32_t channels,
                       cuuint32_t pixels, const cuuint32_t* element_strides, CUtensorMapInterleave interleave,
                       CUtensorMapSwizzle swizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  Map encoded{};
  bool good = rank == 4 && encode_array(encoded, map, type, rank, data, sizes, strides, interleave, swizzle) &&
              channels >= 1 && channels <= 256 && pixels >= 1 && pixels <= 1024 && element_strides[3] == 1;
  for (int i = 0; good && i < 2; ++i) {
    good = lower[i] >= -128 && lower[i] <= 127 && upper[i] >= -128 && upper[i] <= 127 && element_strides[1 + i] >= 1 &&
           element_strides[1 + i] <= 8;
    encoded.lower[i] = static_cast<int8_t>(lower[i]);
    encoded.upper[i] = static_cast<int8_t>(upper[i]);
    encoded.steps[i] = static_cast<uint8_t>(element_strides[1 + i]);
    // There is a pixel in the box.
    good = good && lower[i] <= last_pixel(encoded, i);
  }
  if (!good || !is_line(encoded, channels)) return CUDA_ERROR_INVALID_VALUE;
  encoded.im2col = true;
  encoded.box[0] = static_cast<uint16_t>(channels);
  encoded.box[1] = static_cast<uint16_t>(pixels);
  std::memcpy(map, &encoded, sizeof encoded);
  return CUDA_SUCCESS;
}

}  // namespace

void begin_block(size_t count) {
  if (used) {
    threads.clear();
    barriers.clear();
    unseen.clear();
  }
  used = false;
  threads.resize(count);
}

std::string end_block() {
  if (!used) return "";
  for (size_t i = 0; i < threads.size(); ++i) {
    const std::string name = "thread " + std::to_string(i);
    if (!threads[i].copies.empty()) return name + " has not waited for its cp.async";
    if (!threads[i].products.empty()) return name + " has not waited for its wgmma";
    if (threads[i].issued != threads[i - i % 128].issued) return name + " has not issued the wgmma of its warpgroup";
  }
  for (auto& [at, barrier] : barriers) {
    if (!barrier.boxes.empty()) return "nobody has waited for a tile of tma_load";
  }
  return "";
}

void copy_later(void* shared, const void* global, size_t bytes, bool present, const Location& where) {
  check(shared_fault("cp.async", shared, bytes, bytes), where);
  if (present && reinterpret_cast<uintptr_t>(global) % bytes != 0) check("the source of cp.async is misaligned", where);
  if (!failure().empty()) abandon();
  std::memset(shared, 0xff, bytes);
  this_thread().copies.open.push_back({shared, present ? global : nullptr, bytes});
}

void wait_for_copies(size_t pending, const Location&) {
  Thread& thread = this_thread();
  std::vector<std::vector<Copy>>& groups = thread.copies.committed;
  while (groups.size() > pending) {
    land(thread, groups.front());
    groups.erase(groups.begin());
  }
}

namespace {

// A copy of so many elements is on its way.
void bring(const Box& box, size_t elements, uint64_t* barrier, const Location& where) {
  Barrier& b = known(barrier, where);
  if (!b.fenced) fail([&] { return "tma_load without mbarrier_init_fence, in " + place(where); });
  const size_t bytes = elements * box.map.element;
  // The pattern begins where the address has zeros in the bits that it takes.
  check(shared_fault("tma_load", box.to, bytes, box.map.swizzled != 0 ? 1024 : 128), where);
  if (!failure().empty()) abandon();
  std::memset(box.to, 0xff, bytes);
  b.boxes.push_back(box);
  b.brought += static_cast<int64_t>(bytes);
}

}  // namespace

void load_box(void* shared, const CUtensorMap* map, uint64_t* barrier, const int* at, int rank, const Location& where) {
  Box box{static_cast<char*>(shared), {}, {}, {}};
  std::memcpy(&box.map, map, sizeof box.map);
  if (box.map.magic != kMagic || box.map.im2col || box.map.rank != static_cast<uint32_t>(rank)) {
    fail([&] { return "tma_load has no tensor map of this rank, in " + place(where); });
  }
  size_t elements = 1;
  for (int i = 0; i < rank; ++i) {
    box.at[i] = at[i];
    elements *= box.map.box[i];
  }
  bring(box, elements, barrier, where);
}

void load_im2col(void* shared, const CUtensorMap* map, uint64_t* barrier, const int (&at)[4], int right, int down,
                 const Location& where) {
  Box box{static_cast<char*>(shared), {}, {at[0], at[1], at[2], at[3]}, {right, down}};
  std::memcpy(&box.map, map, sizeof box.map);
  if (box.map.magic != kMagic || !box.map.im2col) {
    fail([&] { return "tma_load_im2col has no im2col tensor map, in " + place(where); });
  }
  for (int i = 0; i < 2; ++i) {
    if (box.offset[i] < 0 || box.offset[i] > 255) {
      fail([&] { return "tma_load_im2col has an offset beyond 8 bits, in " + place(where); });
    }
    if (at[1 + i] < box.map.lower[i] || at[1 + i] > last_pixel(box.map, i)) {
      fail([&] { return "tma_load_im2col begins outside its box of pixels, in " + place(where); });
    }
  }
  bring(box, size_t{box.map.box[0]} * box.map.box[1], barrier, where);
}

void multiply_later(float* d, int n, uint64_t a, const uint32_t* a_registers, uint64_t b, bool accumulate,
                    bool across_a, bool across_b, const Location& where) {
  Thread& thread = this_thread();
  if (!thread.fenced) fail([&] { return "wgmma without wgmma_fence since the last wait, in " + place(where); });
  Held& held = thread.held[d];
  if (held.pending++ == 0) {
    held.values.assign(d, d + n / 2);
    std::memset(d, 0xff, static_cast<size_t>(n / 2) * sizeof(float));
  }
  thread.products.open.push_back({d, n, a, a_registers, b, accumulate, across_a, across_b});
  ++thread.issued;
}

void wait_for_products(size_t pending, const Location& where) {
  Thread& thread = this_thread();
  thread.fenced = false;
  Wait brought{&thread, pending};
  warp_operation(finish_products, &brought, true, where);
}

namespace ptx {

uint32_t shared_address(const void* p) { return static_cast<uint32_t>(shared_offset(p) + kSharedBase); }

void cp_async_commit() { this_thread().copies.commit(); }

void ldmatrix_x4(uint32_t (&r)[4], const void* row, const Location& where) {
  Matrices brought{row, r};
  warp_operation(load_matrices<false>, &brought, false, where);
}

void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row, const Location& where) {
  Matrices brought{row, r};
  warp_operation(load_matrices<true>, &brought, false, where);
}

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Location& where) {
  Fragments brought{d, a, b};
  warp_operation(multiply_bf16, &brought, false, where);
}

void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Location& where) {
  Fragments brought{d, a, b};
  warp_operation(multiply_tf32, &brought, false, where);
}

uint32_t to_tf32(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::isfinite(x) ? (bits + 0x1000u) & 0xffffe000u : std::isnan(x) ? 0x7fffffffu : bits;
}

void mbarrier_init(uint64_t* barrier, uint32_t count, const Location& where) {
  check(shared_fault("an mbarrier", barrier, sizeof *barrier, sizeof *barrier), where);
  if (!failure().empty()) abandon();
  used = true;
  Barrier& b = barriers[barrier];
  b = {};
  b.count = b.pending = count;
  b.owner = thread_index();
}

void mbarrier_init_fence() {
  for (auto& [at, barrier] : barriers) barrier.fenced = barrier.fenced || barrier.owner == thread_index();
}

void mbarrier_arrive(uint64_t* barrier, const Location& where) { arrive(barrier, 0, where); }
void mbarrier_arrive_expect_tx(uint64_t* barrier, uint32_t bytes, const Location& where) {
  arrive(barrier, bytes, where);
}

void mbarrier_wait(uint64_t* barrier, uint32_t parity, const Location& where) {
  const Phase phase{&known(barrier, where), parity};
  if (phase.barrier->phase != parity) return;
  wait_until(has_ended, &phase, sizeof phase, "an mbarrier, never satisfied,", where);
}

void fence_proxy_async() {
  Thread& thread = this_thread();
  for (const size_t piece : thread.landed) {
    if (unseen[piece] == thread_index() + 1) unseen[piece] = 0;
  }
  thread.landed.clear();
}

uint64_t wgmma_operand(const void* shared, uint32_t next_lines, uint32_t next_tile) {
  return uint64_t{1} << 62 | static_cast<uint64_t>(next_lines >> 4) << 32 |
         static_cast<uint64_t>(next_tile >> 4) << 16 | (shared_address(shared) & 0x3ffff) >> 4;
}

void wgmma_fence() { this_thread().fenced = true; }
void wgmma_commit() { this_thread().products.commit(); }

}  // namespace ptx
}  // namespace simt

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) return error;
  const std::string name = symbol;
  *function = name == "cuTensorMapEncodeTiled"    ? reinterpret_cast<void*>(&simt::encode_tiled)
              : name == "cuTensorMapEncodeIm2col" ? reinterpret_cast<void*>(&simt::encode_im2col)
                                                  : nullptr;
  *result = *function != nullptr ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
