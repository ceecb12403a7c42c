// SIXLOOP_IF_<isa>(...) keeps its argument where this build contains that ISA's files (cmake/isa.cmake
// defines SIXLOOP_BUILD_<ISA>), so that a row of a kernels.inc stands for all builds.
#pragma once

#include <cstdint>

#define SIXLOOP_IF_scalar(...) __VA_ARGS__

#if defined(SIXLOOP_BUILD_AVX2)
#define SIXLOOP_IF_avx2(...) __VA_ARGS__
#else
#define SIXLOOP_IF_avx2(...)
#endif

#if defined(SIXLOOP_BUILD_AVX512)
#define SIXLOOP_IF_avx512(...) __VA_ARGS__
#else
#define SIXLOOP_IF_avx512(...)
#endif

#if defined(SIXLOOP_BUILD_NEON)
#define SIXLOOP_IF_neon(...) __VA_ARGS__
#else
#define SIXLOOP_IF_neon(...)
#endif

namespace sixloop {

// Bit i stands for the ISA of value i in base/arch.h.
constexpr uint32_t kIsasInThisBuild =
    SIXLOOP_IF_neon((1u << 1) |) SIXLOOP_IF_avx2((1u << 2) |) SIXLOOP_IF_avx512((1u << 3) |) 1u;

}  // namespace sixloop
