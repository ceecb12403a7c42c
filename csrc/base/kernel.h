// One row per kernel. An op's kernels.inc lists rows
//
//     SIXLOOP_KERNEL(isa, Kind, dtype, name[, facts])
//
// best ISA first, and is included three times: with SIXLOOP_DECLARE_KERNEL to declare the symbols, with
// SIXLOOP_KERNEL_ROW to make the op's table, and through that table by tests and benchmarks. Symbol, row
// and test id are the same word: <op>_<dtype>[_<MRxNR>]__<isa>.
//
// A Kind is a struct of the op's header that names the kernel's contract:
//
//     struct MaxPool2d {
//       static constexpr const char* name = "max_pool2d";
//       template <class T> using Fn = void(const MaxPool2dArgs<T>&);   // the kernel's type
//       static Kernels kernels();                                      // the op's table
//     };
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/arch.h"
#include "base/dtype.h"
#include "base/error.h"
#include "base/isa_rows.h"

namespace sixloop {

// Register tile of a matrix kernel; zeros for other kernels.
struct KernelFacts {
  int mr = 0;
  int nr = 0;
};

struct Kernel {
  Isa isa;
  const char* kind;
  DType dtype;
  const char* name;
  void (*function)();
  KernelFacts facts;
};

struct Kernels {
  const Kernel* rows;
  size_t count;
  const Kernel* begin() const { return rows; }
  const Kernel* end() const { return rows + count; }
};

// The only way to make a row: fails to compile unless `function` has the kind's type.
template <class Kind, class T>
Kernel make_kernel(Isa isa, const char* name, typename Kind::template Fn<T>* function, KernelFacts facts = {}) {
  return {isa, Kind::name, DTypeOf<T>::value, name, reinterpret_cast<void (*)()>(function), facts};
}

#define SIXLOOP_DECLARE_KERNEL(isa, Kind, T, name, ...) SIXLOOP_IF_##isa(Kind::Fn<T> name;)
#define SIXLOOP_KERNEL_ROW(isa, Kind, T, name, ...) \
  SIXLOOP_IF_##isa(make_kernel<Kind, T>(Isa::isa, #name, &name __VA_OPT__(, KernelFacts __VA_ARGS__)), )

// Compares characters: the address of a literal may differ from one file to the next.
template <class Kind, class T>
bool is_row_of(const Kernel& row) {
  return row.dtype == DTypeOf<T>::value && std::string_view(row.kind) == Kind::name;
}

// The first row of the kind and dtype that `arch` can run. A pure function of its arguments.
template <class Kind, class T>
const Kernel& select_row(Arch arch = current_arch()) {
  for (const Kernel& row : Kind::kernels()) {
    if (is_row_of<Kind, T>(row) && arch.has(row.isa)) return row;
  }
  throw std::logic_error(std::string("no kernel for ") + Kind::name);
}

template <class Kind, class T>
typename Kind::template Fn<T>* function_of(const Kernel& row) {
  return reinterpret_cast<typename Kind::template Fn<T>*>(row.function);
}

template <class Kind, class T>
typename Kind::template Fn<T>* select(Arch arch = current_arch()) {
  return function_of<Kind, T>(select_row<Kind, T>(arch));
}

}  // namespace sixloop
