#include <algorithm>

#include "base/error.h"
#include "bindings/bindings.h"
#include "gemm/gemm.h"
#include "gemm/microkernel.h"

namespace sixloop {

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
    const int64_t rows = parse_int("gemm_plan", "m", m_size);
    const int64_t columns = parse_int("gemm_plan", "n", n_size);
    const int64_t steps = parse_int("gemm_plan", "k", k_size);
    constexpr int64_t kMost = (int64_t{1} << 31) - 1;  // products of any two fit into 64 bits
    if (std::min({rows, columns, steps}) < 0 || std::max({rows, columns, steps}) > kMost) {
      value_error("[gemm_plan] sizes must be from 0 to ", kMost, "; got m = ", rows, ", n = ", columns,
                  ", k = ", steps);
    }
    const DType dtype = float64 ? DType::float64 : DType::float32;
    const GemmPlan plan = plan_gemm(rows, columns, steps, transpose_a, transpose_b, dtype);
    const int64_t scratch = gemm_scratch(rows, columns, steps, transpose_a, transpose_b, dtype);
    return py::make_tuple(name_of(plan.way), plan.kernel->name, scratch);
  });
  m.def("fma_peak", [] { return Call::without_gil([] { return measure_fma_peak(DType::float32); }); });
}

}  // namespace sixloop
