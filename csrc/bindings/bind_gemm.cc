#include <algorithm>

#include "base/error.h"
#include "bindings/bindings.h"
#include "gemm/gemm.h"
#include "gemm/microkernel.h"

namespace sixloop {
namespace {

// M, N and K of gemm_plan().
std::array<int64_t, 3> parse_sizes(const py::object& m, const py::object& n, const py::object& k) {
  const std::array sizes{parse_int("gemm_plan", "m", m), parse_int("gemm_plan", "n", n),
                         parse_int("gemm_plan", "k", k)};
  constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // products of any two fit into 64 bits
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  if (*least < 0 || *most > kMost) {
    value_error("[gemm_plan] sizes must be from 0 to ", kMost, "; got m = ", sizes[0], ", n = ", sizes[1],
                ", k = ", sizes[2]);
  }
  return sizes;
}

}  // namespace

void bind_gemm(py::module_& m) {
  m.def("gemm", [](const py::object& a, const py::object& b, const py::object& bias, bool transpose_a, bool transpose_b,
                   const py::object& activation, const py::object& precision) {
    Call call("gemm", Devices::all);
    const Tensor ta = call.array("a", a);
    const Tensor tb = call.array("b", b);
    const std::optional<Tensor> tbias = call.optional_array("bias", bias);
    const Activation act = call.activation(activation);
    const Precision products = call.precision(precision);
    return call.run([&] { return gemm(ta, tb, tbias, transpose_a, transpose_b, act, products); });
  });
  m.def("gemm_plan", [](const py::object& m_size, const py::object& n_size, const py::object& k_size, bool transpose_a,
                        bool transpose_b, bool float64) {
    const auto [rows, columns, steps] = parse_sizes(m_size, n_size, k_size);
    const DType dtype = float64 ? DType::float64 : DType::float32;
    const GemmPlan plan = plan_gemm(rows, columns, steps, transpose_a, transpose_b, dtype);
    const int64_t scratch = gemm_scratch(rows, columns, steps, transpose_a, transpose_b, dtype);
    return py::make_tuple(name_of(plan.way), plan.kernel->name, scratch);
  });
  m.def("gemm_plan_on_cuda", [](const py::object& m_size, const py::object& n_size, const py::object& k_size,
                                bool transpose_a, bool transpose_b, const py::object& dtype,
                                const py::object& precision, const py::object& capability) {
    const Call call("gemm_plan");
    const auto [rows, columns, steps] = parse_sizes(m_size, n_size, k_size);
    return tuple_of(plan_gemm_on_cuda(rows, columns, steps, transpose_a, transpose_b, parse_dtype(call.op(), dtype),
                                      call.precision(precision), parse_capability(call.op(), capability)));
  });
  m.def("fma_peak", [] { return Call::without_gil([] { return measure_fma_peak(DType::float32); }); });
}

}  // namespace sixloop
