#include "base/error.h"
#include "bindings/bindings.h"
#include "softmax/softmax.h"

namespace sixloop {
namespace {

template <class Op>
auto forward(const char* name, Op op) {
  return [name, op](const py::object& x, const py::object& axis) {
    Call call(name, Devices::all);
    const Tensor tx = call.array("x", x);
    const int64_t at = parse_int(name, "axis", axis);
    return call.run([&] { return op(tx, at); });
  };
}

template <class Op>
auto backward(const char* name, Op op) {
  return [name, op](const py::object& dy, const py::object& y, const py::object& axis) {
    Call call(name, Devices::all);
    const Tensor tdy = call.array("dy", dy);
    const Tensor ty = call.array("y", y);
    const int64_t at = parse_int(name, "axis", axis);
    return call.run([&] { return op(tdy, ty, at); });
  };
}

// Labels of NumPy's other integer types (int8, int16, ..., all below 2^63) are read as int64.
py::object as_labels(py::handle labels) {
  if (py::isinstance<py::array>(labels)) {
    const auto array = py::reinterpret_borrow<py::array>(labels);
    const char kind = array.dtype().kind();
    const auto size = array.dtype().itemsize();
    const bool known = kind == 'i' ? size >= 4 : size == 1;
    if ((kind == 'i' && !known) || (kind == 'u' && !known && size < 8)) return array.attr("astype")("int64");
    if (kind != 'i' && kind != 'u') {
      type_error("[cross_entropy] labels must be whole numbers; got dtype ",
                 py::str(array.dtype()).cast<std::string>());
    }
  }
  return py::reinterpret_borrow<py::object>(labels);
}

}  // namespace

void bind_softmax(py::module_& m) {
  m.def("softmax", forward("softmax", &softmax));
  m.def("log_softmax", forward("log_softmax", &log_softmax));
  m.def("softmax_grad", backward("softmax_grad", &softmax_grad));
  m.def("log_softmax_grad", backward("log_softmax_grad", &log_softmax_grad));
  m.def("cross_entropy", [](const py::object& logits, const py::object& labels) {
    Call call("cross_entropy", Devices::all);
    const Tensor tx = call.array("logits", logits);
    const Tensor tl = call.array("labels", as_labels(labels));
    const CrossEntropy result = Call::without_gil([&] { return cross_entropy(tx, tl); });
    return py::make_tuple(result.loss, call.wrap(result.dlogits));
  });
}

}  // namespace sixloop
