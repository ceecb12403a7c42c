# SIXLOOP_CUDA decides whether the .cu files are part of the library, and who compiles them:
#
#   AUTO     nvcc where there is one of at least 12.4, else nobody
#   ON       nvcc, whose absence is an error
#   OFF      nobody
#   EMULATE  the C++ compiler, against the CUDA of tests/simt that runs on the CPU: for tests alone
#
# SIXLOOP_WITH_CUDA is the outcome: ON, OFF or EMULATE. C++ files see SIXLOOP_HAS_CUDA.
set(SIXLOOP_CUDA AUTO CACHE STRING "CUDA kernels: AUTO, ON, OFF or EMULATE")
set_property(CACHE SIXLOOP_CUDA PROPERTY STRINGS AUTO ON OFF EMULATE)
if(NOT SIXLOOP_CUDA MATCHES "^(AUTO|ON|OFF|EMULATE)$")
  message(FATAL_ERROR "SIXLOOP_CUDA must be AUTO, ON, OFF or EMULATE; got ${SIXLOOP_CUDA}")
endif()

set(SIXLOOP_WITH_CUDA OFF)
if(SIXLOOP_CUDA STREQUAL "EMULATE")
  set(SIXLOOP_WITH_CUDA EMULATE)
elseif(SIXLOOP_CUDA STREQUAL "ON" OR (SIXLOOP_CUDA STREQUAL "AUTO" AND NOT CMAKE_CROSSCOMPILING))
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    # A cubin for 8.x with PTX for what comes later, and one for Hopper, whose own instructions no other chip has.
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES "80;90a-real")
    endif()
    enable_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER_ID STREQUAL "NVIDIA" OR CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.4)
      if(SIXLOOP_CUDA STREQUAL "ON")
        message(FATAL_ERROR "SIXLOOP_CUDA=ON needs nvcc 12.4 or later; got ${CMAKE_CUDA_COMPILER_ID} "
                            "${CMAKE_CUDA_COMPILER_VERSION} at ${CMAKE_CUDA_COMPILER}")
      endif()
    else()
      set(SIXLOOP_WITH_CUDA ON)
    endif()
  elseif(SIXLOOP_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SIXLOOP_CUDA=ON, but no nvcc was found: set CUDACXX or CMAKE_CUDA_COMPILER, or PATH")
  endif()
endif()
message(STATUS "sixloop: CUDA kernels ${SIXLOOP_WITH_CUDA}")

# Adds the .cu files to the library of all kernels.
function(sixloop_cuda_sources target)
  if(SIXLOOP_WITH_CUDA STREQUAL "OFF")
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/*/*.cu)
  target_sources(${target} PRIVATE ${sources})
  target_compile_definitions(${target} PUBLIC SIXLOOP_HAS_CUDA)
  # Whether kernels with Hopper's own instructions have been compiled.
  if(SIXLOOP_WITH_CUDA STREQUAL "EMULATE" OR CMAKE_CUDA_ARCHITECTURES MATCHES "90a")
    set_source_files_properties(${PROJECT_SOURCE_DIR}/csrc/gemm/wgmma.cu PROPERTIES COMPILE_DEFINITIONS SIXLOOP_HAS_SM90A)
  endif()
  if(SIXLOOP_WITH_CUDA STREQUAL "EMULATE")
    # `#pragma unroll` is nvcc's. An fma is one instruction where this processor has it: as a call of the C library it is
    # half of the time of products.
    set(options -Wno-unknown-pragmas -Wno-psabi)
    include(CheckCXXSourceRuns)
    check_cxx_source_runs("int main() { return __builtin_cpu_supports(\"fma\") ? 0 : 1; }" SIXLOOP_EMULATE_WITH_FMA)
    if(SIXLOOP_EMULATE_WITH_FMA)
      list(APPEND options -mfma)
    endif()
    set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${options}")
    # The emulator itself is optimised in a Debug build, too.
    set(emulator ${PROJECT_SOURCE_DIR}/tests/simt/simt.cc ${PROJECT_SOURCE_DIR}/tests/simt/ptx.cc)
    set_source_files_properties(${emulator} PROPERTIES COMPILE_OPTIONS "-O2")
    target_sources(${target} PRIVATE ${emulator})
    target_include_directories(${target} BEFORE PUBLIC ${PROJECT_SOURCE_DIR}/tests/simt/include)
    return()
  endif()
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF
                                             CUDA_VISIBILITY_PRESET hidden CUDA_RUNTIME_LIBRARY Static)
  # Contraction off, as in the C++ files; denormals and division are IEEE's by nvcc's default. ptxas tells of registers
  # that did not suffice, and of wgmma that it had to serialise (C7508, C7510).
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:-fmad=false;--expt-relaxed-constexpr;-Xptxas=-warn-spills;-Xcompiler=-ffp-contract=off,-Wall,-Wextra>")
  if(SIXLOOP_WERROR)
    target_compile_options(${target} PRIVATE
      "$<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings;-Xptxas=-Werror;-Xcompiler=-Werror>")
  endif()
endfunction()
