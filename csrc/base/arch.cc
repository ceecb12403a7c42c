#include "base/arch.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "base/error.h"
#include "base/isa_rows.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace sixloop {
namespace {

constexpr uint32_t bit(Isa isa) { return 1u << static_cast<int>(isa); }

#if defined(__x86_64__)
uint64_t xcr0() {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

uint32_t probe() {
  uint32_t bits = bit(Isa::scalar);
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0) return bits;
  constexpr uint32_t kFma = 1u << 12, kOsxsave = 1u << 27, kAvx = 1u << 28;
  constexpr uint32_t kLeaf1 = kFma | kOsxsave | kAvx;
  if ((ecx & kLeaf1) != kLeaf1) return bits;
  // The operating system saves the YMM state (bits 1, 2) and the ZMM and mask state (bits 5 to 7).
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;
  const uint64_t state = xcr0();
  if ((state & kYmm) != kYmm) return bits;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return bits;
  if ((ebx & 1u << 5) == 0) return bits;
  bits |= bit(Isa::avx2);
  constexpr uint32_t kAvx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  if ((state & kZmm) == kZmm && (ebx & kAvx512) == kAvx512) bits |= bit(Isa::avx512);
  return bits;
}
#elif defined(__aarch64__)
uint32_t probe() { return bit(Isa::scalar) | bit(Isa::neon); }
#else
uint32_t probe() { return bit(Isa::scalar); }
#endif

std::string names_in(Arch arch) {
  std::string text;
  for (int i = 0; i < kIsaCount; ++i) {
    if (!arch.has(static_cast<Isa>(i))) continue;
    if (!text.empty()) text += ", ";
    text += kIsaNames[i];
  }
  return text;
}

Arch parse(const std::string& name) {
  const Arch here = detected_arch();
  for (int i = 0; i < kIsaCount; ++i) {
    if (name != kIsaNames[i]) continue;
    if (!here.has(static_cast<Isa>(i))) {
      value_error("[isa] \"", name,
                  "\" is not supported by this processor or not part of this build; valid here: ", names_in(here));
    }
    return arch_of(static_cast<Isa>(i));
  }
  value_error("[isa] unknown instruction set \"", name, "\"; valid here: ", names_in(here));
}

std::atomic<uint32_t>& setting() {
  static std::atomic<uint32_t> bits{[] {
    const char* text = std::getenv("SIXLOOP_ISA");
    return text != nullptr && *text != '\0' ? parse(text).bits : detected_arch().bits;
  }()};
  return bits;
}

}  // namespace

Arch arch_of(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return {bit(Isa::scalar)};
    case Isa::neon:
      return {bit(Isa::scalar) | bit(Isa::neon)};
    case Isa::avx2:
      return {bit(Isa::scalar) | bit(Isa::avx2)};
    case Isa::avx512:
      return {bit(Isa::scalar) | bit(Isa::avx2) | bit(Isa::avx512)};
  }
  return {bit(Isa::scalar)};
}

Arch detected_arch() {
  static const uint32_t bits = probe() & kIsasInThisBuild;
  return {bits};
}

Arch current_arch() { return {setting().load(std::memory_order_relaxed)}; }

Isa best_isa(Arch arch) {
  for (int i = kIsaCount - 1; i > 0; --i) {
    if (arch.has(static_cast<Isa>(i))) return static_cast<Isa>(i);
  }
  return Isa::scalar;
}

int64_t l2_bytes() {
  static const int64_t bytes = [] {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    const int64_t told = sysconf(_SC_LEVEL2_CACHE_SIZE);
#else
    const int64_t told = 0;
#endif
    return told <= 0 ? int64_t{512} << 10 : std::clamp<int64_t>(told, 256 << 10, 2048 << 10);
  }();
  return bytes;
}

void set_isa(const std::string& name) {
  setting().store(name.empty() ? detected_arch().bits : parse(name).bits, std::memory_order_relaxed);
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (int i = 0; i < kIsaCount; ++i) {
    if (detected_arch().has(static_cast<Isa>(i))) names.emplace_back(kIsaNames[i]);
  }
  return names;
}

}  // namespace sixloop
