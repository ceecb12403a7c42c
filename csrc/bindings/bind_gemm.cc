#include "bindings/bindings.h"
#include "gemm/gemm.h"
#include "gemm/microkernel.h"

namespace sixloop {

void bind_gemm(py::module_& m) {
  m.def("gemm", [](const py::object& a, const py::object& b, const py::object& bias, bool transpose_a, bool transpose_b,
                   const py::object& activation) {
    Call call("gemm");
    const Tensor ta = call.array("a", a);
    const Tensor tb = call.array("b", b);
    const std::optional<Tensor> tbias = call.optional_array("bias", bias);
    const Activation act = call.activation(activation);
    return call.run([&] { return gemm(ta, tb, tbias, transpose_a, transpose_b, act); });
  });
  m.def("fma_peak", [] { return Call::without_gil([] { return measure_fma_peak(DType::float32); }); });
}

}  // namespace sixloop
