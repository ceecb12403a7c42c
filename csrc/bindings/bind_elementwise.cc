#include "bindings/bindings.h"
#include "elementwise/elementwise.h"

namespace sixloop {

void bind_elementwise(py::module_& m) {
  m.def("add", [](const py::object& a, const py::object& b) {
    Call call("add");
    const Tensor ta = call.array("a", a);
    const Tensor tb = call.array("b", b);
    return call.run([&] { return add(ta, tb); });
  });
}

}  // namespace sixloop
