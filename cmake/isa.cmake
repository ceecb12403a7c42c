# The instruction sets, one line each: name, the processors that have it, and its compiler flags. A file
# csrc/<op>/<name>.cc is compiled with these flags and only on these processors; sixloop_isa_sources()
# finds it by its name. Nothing else in the build knows which ISAs there are.
#
# GCC's scheduler before register allocation, on by default for AArch64 alone, moves so many loads forward in the
# register tiles that accumulators are spilled in the inner loops.
set(SIXLOOP_ISAS
    "avx2|x86_64|AMD64|-mavx2 -mfma"
    "avx512|x86_64|AMD64|-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512"
    "neon|aarch64|arm64|$<$<CXX_COMPILER_ID:GNU>:-fno-schedule-insns>")

function(sixloop_isa_sources target)
  foreach(line IN LISTS SIXLOOP_ISAS)
    string(REPLACE "|" ";" fields "${line}")
    list(GET fields 0 name)
    list(GET fields 1 2 processors)
    list(GET fields 3 flags)
    if(NOT CMAKE_SYSTEM_PROCESSOR IN_LIST processors)
      continue()
    endif()
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/*/${name}.cc)
    if(NOT sources)
      continue()
    endif()
    target_sources(${target} PRIVATE ${sources})
    separate_arguments(flags)
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${flags}")
    string(TOUPPER ${name} upper)
    target_compile_definitions(${target} PUBLIC SIXLOOP_BUILD_${upper})
  endforeach()
endfunction()
