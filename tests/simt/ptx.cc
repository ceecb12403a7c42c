// The instructions of csrc/cuda/ptx.h on the CPU, by the definitions of NVIDIA's PTX manual.
#include <simt_ptx.h>

#include <bit>
#include <cmath>
#include <vector>

#include "simt.h"

namespace simt {
namespace {

std::string number(int64_t n) { return std::to_string(n); }

// What is wrong with `bytes` bytes of shared memory from p on, or nothing.
std::string shared_fault(const char* what, const void* p, size_t bytes, size_t alignment) {
  const char* const at = static_cast<const char*>(p);
  const int64_t offset = at - shared_begin();
  if (reinterpret_cast<uintptr_t>(p) % alignment != 0) {
    return std::string(what) + " at byte " + number(offset) + " of shared memory is not aligned to " +
           std::to_string(alignment);
  }
  if (offset < 0 || static_cast<size_t>(offset) + bytes > shared_size()) {
    return std::string(what) + " of " + std::to_string(bytes) + " bytes at byte " + number(offset) +
           " leaves shared memory of " + std::to_string(shared_size());
  }
  return "";
}

// --- Copies.

struct Copy {
  void* to;
  const void* from;  // null: zeros
  size_t bytes;
};

// Of one thread: the copies that belong to no group yet, and the groups under way.
struct Copies {
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> groups;
};
std::vector<Copies> copies;
bool any_copies = false;

Copies& copies_of_thread() {
  any_copies = true;
  return copies[thread_index()];
}

void land(const std::vector<Copy>& group) {
  for (const Copy& copy : group) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, copy.bytes);
    } else {
      std::memset(copy.to, 0, copy.bytes);
    }
  }
}

// --- Numbers.

float from_bf16(uint32_t bits) { return std::bit_cast<float>(bits << 16); }
float from_tf32(uint32_t bits) { return std::bit_cast<float>(bits & 0xffffe000u); }

// Cut off to float32.
float cut(double x) {
  const auto nearest = static_cast<float>(x);
  return std::fabs(static_cast<double>(nearest)) > std::fabs(x) && std::isfinite(x) ? std::nextafter(nearest, 0.f)
                                                                                    : nearest;
}

// --- Instructions of a warp.

struct Matrices {
  const void* row;
  uint32_t* r;
};

uint16_t element(void* const* lanes, int matrix, int row, int column) {
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

struct Product {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

const Product& product(void* const* lanes, int lane) { return *static_cast<const Product*>(lanes[lane]); }

// d [16, 8] += a [16, K] b [K, 8] in the registers of the lanes.
template <int K>
void add_product(void* const* lanes, const double (&a)[16][K], const double (&b)[K][8]) {
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      const int row = g + 8 * (i / 2), column = 2 * t + i % 2;
      float& d = product(lanes, lane).d[i];
      double sum = 0;
      for (int k = 0; k < K; ++k) sum += a[row][k] * b[k][column];
      d = cut(sum + static_cast<double>(d));
    }
  }
}

void multiply_bf16(void* const* lanes) {
  double a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Product& p = product(lanes, lane);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) {
        a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + half] = static_cast<double>(from_bf16(p.a[i] >> 16 * half & 0xffffu));
      }
      for (int i = 0; i < 2; ++i) {
        b[2 * t + 8 * i + half][g] = static_cast<double>(from_bf16(p.b[i] >> 16 * half & 0xffffu));
      }
    }
  }
  add_product(lanes, a, b);
}

void multiply_tf32(void* const* lanes) {
  double a[16][8], b[8][8];
  for (int lane = 0; lane < 32; ++lane) {
    const Product& p = product(lanes, lane);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][t + 4 * (i / 2)] = static_cast<double>(from_tf32(p.a[i]));
    for (int i = 0; i < 2; ++i) b[t + 4 * i][g] = static_cast<double>(from_tf32(p.b[i]));
  }
  add_product(lanes, a, b);
}

}  // namespace

void begin_block(size_t threads) {
  if (any_copies) copies.clear();
  any_copies = false;
  copies.resize(threads);
}

std::string end_block() {
  if (!any_copies) return "";
  for (size_t i = 0; i < copies.size(); ++i) {
    bool any = !copies[i].open.empty();
    for (const auto& group : copies[i].groups) any = any || !group.empty();
    if (any) return "thread " + std::to_string(i) + " has not waited for its cp.async";
  }
  return "";
}

void copy_later(void* shared, const void* global, size_t bytes, bool present, const Location& where) {
  const auto check = [&](const std::string& fault) {
    if (!fault.empty()) failure() = fault + " in " + place(where);
    return fault.empty();
  };
  if (!check(shared_fault("cp.async", shared, bytes, bytes)) ||
      !check(present && reinterpret_cast<uintptr_t>(global) % bytes != 0 ? "the source of cp.async is not aligned to it"
                                                                         : "")) {
    abandon();
  }
  std::memset(shared, 0xff, bytes);
  copies_of_thread().open.push_back({shared, present ? global : nullptr, bytes});
}

void wait_for_copies(size_t pending, const Location&) {
  std::vector<std::vector<Copy>>& groups = copies_of_thread().groups;
  while (groups.size() > pending) {
    land(groups.front());
    groups.erase(groups.begin());
  }
}

namespace ptx {

void cp_async_commit() {
  Copies& mine = copies_of_thread();
  mine.groups.push_back(std::move(mine.open));
  mine.open.clear();
}

void ldmatrix_x4(uint32_t (&r)[4], const void* row, const Location& where) {
  Matrices brought{row, r};
  warp_operation(load_matrices<false>, &brought, where);
}

void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row, const Location& where) {
  Matrices brought{row, r};
  warp_operation(load_matrices<true>, &brought, where);
}

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Location& where) {
  Product brought{d, a, b};
  warp_operation(multiply_bf16, &brought, where);
}

void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const Location& where) {
  Product brought{d, a, b};
  warp_operation(multiply_tf32, &brought, where);
}

uint32_t to_tf32(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return std::isfinite(x) ? (bits + 0x1000u) & 0xffffe000u : std::isnan(x) ? 0x7fffffffu : bits;
}

}  // namespace ptx
}  // namespace simt
