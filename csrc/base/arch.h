// Which instruction sets there are, which of them this machine has, and which one is in force.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sixloop {

// In ascending order of preference. Every ISA implies the ones that its line in arch.cc names.
enum class Isa : uint8_t { scalar, neon, avx2, avx512 };

constexpr int kIsaCount = 4;
constexpr const char* kIsaNames[kIsaCount] = {"scalar", "neon", "avx2", "avx512"};

constexpr const char* name_of(Isa isa) { return kIsaNames[static_cast<int>(isa)]; }

// Bytes of one vector register; 0 for scalar.
constexpr int vector_bytes(Isa isa) {
  return isa == Isa::avx512 ? 64 : isa == Isa::avx2 ? 32 : isa == Isa::neon ? 16 : 0;
}

// A set of instruction sets: what selection is a function of.
struct Arch {
  uint32_t bits;
  bool has(Isa isa) const { return (bits >> static_cast<int>(isa) & 1u) != 0; }
};

// An ISA with all that it implies: what a machine has whose best instruction set is `isa`.
Arch arch_of(Isa isa);
// What this processor and its operating system support (CPUID and XCR0), and this build contains.
Arch detected_arch();
// detected_arch(), or what SIXLOOP_ISA or set_isa() chose.
Arch current_arch();
Isa best_isa(Arch arch);

// Bytes of one core's second-level cache, as far as the system tells, within 256 KiB and 2 MiB. Only for cuts that
// change no bit.
int64_t l2_bytes();

// Throws std::invalid_argument with the valid names where `name` is unknown or not supported here. An
// empty name goes back to the best ISA.
void set_isa(const std::string& name);
std::vector<std::string> available_isas();

}  // namespace sixloop
