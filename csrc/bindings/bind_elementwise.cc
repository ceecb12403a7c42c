#include <string>
#include <vector>

#include "base/error.h"
#include "bindings/bindings.h"
#include "elementwise/elementwise.h"
#include "elementwise/movement.h"

namespace sixloop {
namespace {

std::vector<int64_t> parse_ints(const char* op, const char* name, py::handle values) {
  if (!py::isinstance<py::tuple>(values) && !py::isinstance<py::list>(values)) {
    type_error("[", op, "] ", name, " must be a list of whole numbers; got ", py::repr(values).cast<std::string>());
  }
  std::vector<int64_t> result;
  for (const py::handle value : values) result.push_back(parse_int(op, name, value));
  return result;
}

// Padding of height and width that does not depend on a filter.
Window parse_border(const Call& call, py::handle padding) {
  if (py::isinstance<py::str>(padding)) {
    value_error("[", call.op(),
                "] padding must be a whole number, a pair (h, w) or a pair of pairs ((top, bottom), "
                "(left, right)); got ",
                py::repr(padding).cast<std::string>());
  }
  return parse_window(call, {1, 1}, py::int_(1), padding, py::int_(1), 1, 1);
}

}  // namespace

void bind_elementwise(py::module_& m) {
  m.def("add", [](const py::object& a, const py::object& b, const py::object& activation) {
    Call call("add", Devices::all);
    const Tensor ta = call.array("a", a);
    const Tensor tb = call.array("b", b);
    const Activation function = call.activation(activation);
    return call.run([&] { return add(ta, tb, function); });
  });
  m.def("bias_add", [](const py::object& x, const py::object& b, const py::object& activation) {
    Call call("bias_add", Devices::all);
    const Tensor tx = call.array("x", x);
    const Tensor tb = call.array("b", b);
    const Activation function = call.activation(activation);
    return call.run([&] { return bias_add(tx, tb, function); });
  });
  m.def("bias_grad", [](const py::object& dy) {
    Call call("bias_grad", Devices::all);
    const Tensor tdy = call.array("dy", dy);
    return call.run([&] { return bias_grad(tdy); });
  });
  m.def("activation_bias_grad", [](const py::object& dy, const py::object& y, const py::object& activation) {
    Call call("activation_bias_grad", Devices::all);
    const Tensor tdy = call.array("dy", dy);
    const Tensor ty = call.array("y", y);
    const Activation function = call.activation(activation);
    const auto [dz, db] = Call::without_gil([&] { return activation_bias_grad(tdy, ty, function); });
    return py::make_tuple(call.wrap(dz), call.wrap(db));
  });
  m.def("scale", [](const py::object& x, const py::object& s) {
    Call call("scale", Devices::all);
    const Tensor tx = call.array("x", x);
    const double factor = parse_float("scale", "s", s);
    return call.run([&] { return scale(tx, factor); });
  });

  m.def("cast", [](const py::object& x, const py::object& dtype) {
    Call call("cast", Devices::all);
    const Tensor tx = call.array("x", x);
    const DType target = parse_dtype("cast", dtype);
    const Tensor y = Call::without_gil([&] { return cast(tx, target); });
    // The array itself, not a view of it that can be written to.
    const bool itself = tx.dtype() == target && (py::isinstance<py::array>(x) || py::isinstance<Tensor>(x));
    return itself ? x : call.wrap(y);
  });

  // Arrays, or lists of them.
  m.def("cast_into", [](const py::object& x, const py::object& y) {
    Call call("cast_into", Devices::all);
    const auto listed = [](const py::object& value) {
      const bool list = py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value);
      return list ? py::list(value) : py::list(py::make_tuple(value));
    };
    std::vector<Tensor> xs, ys;
    for (const py::handle array : listed(x)) xs.push_back(call.array("x", array));
    for (const py::handle array : listed(y)) ys.push_back(call.output_array("y", array));
    Call::without_gil([&] {
      cast_into(xs, ys);
      return 0;
    });
  });

  // `name` is a function's and the tag of its errors; alpha is None where the function has none.
  m.def("activate", [](const char* name, const py::object& x, const py::object& alpha) {
    Call call(name, Devices::all);
    const Tensor tx = call.array("x", x);
    const Activation function = parse_activation(name, name);
    const double a = alpha.is_none() ? default_alpha(function) : parse_float(name, "alpha", alpha);
    return call.run([&] { return activate(name, tx, function, a); });
  });
  m.def("activate_grad",
        [](const std::string& name, const py::object& dy, const py::object& x, const py::object& alpha) {
          const std::string op = name + "_grad";
          Call call(op.c_str(), Devices::all);
          const Tensor tdy = call.array("dy", dy);
          const Tensor tx = call.array("x", x);
          const Activation function = parse_activation(call.op(), name);
          const double a = alpha.is_none() ? default_alpha(function) : parse_float(call.op(), "alpha", alpha);
          return call.run([&] { return activate_grad(call.op(), tdy, tx, function, a); });
        });
  m.def("activation", [](const py::object& x, const py::object& name) {
    Call call("activation", Devices::all);
    const Tensor tx = call.array("x", x);
    const Activation function = call.activation(name);
    return call.run([&] { return activate("activation", tx, function, default_alpha(function)); });
  });
  m.def("activation_grad_from_output", [](const py::object& dy, const py::object& y, const py::object& name) {
    Call call("activation_grad_from_output", Devices::all);
    const Tensor tdy = call.array("dy", dy);
    const Tensor ty = call.array("y", y);
    const Activation function = call.activation(name);
    return call.run([&] { return activate_grad_of(tdy, ty, function); });
  });

  m.def("concat", [](const py::object& arrays, const py::object& axis) {
    Call call("concat", Devices::all);
    if (!py::isinstance<py::tuple>(arrays) && !py::isinstance<py::list>(arrays)) {
      type_error("[concat] arrays must be a list or tuple of arrays; got ", Py_TYPE(arrays.ptr())->tp_name);
    }
    std::vector<Tensor> parts;
    std::vector<std::string> names;  // which messages point to
    names.reserve(py::len(arrays));
    for (const py::handle array : arrays) {
      names.push_back("arrays[" + std::to_string(parts.size()) + "]");
      parts.push_back(call.array(names.back().c_str(), array));
    }
    const int64_t along = parse_int("concat", "axis", axis);
    return call.run([&] { return concat(parts, along); });
  });
  m.def("split", [](const py::object& x, const py::object& sizes, const py::object& axis) {
    Call call("split", Devices::all);
    const Tensor tx = call.array("x", x);
    const std::vector<int64_t> lengths = parse_ints("split", "sizes", sizes);
    const int64_t along = parse_int("split", "axis", axis);
    py::list result;
    for (const Tensor& part : Call::without_gil([&] { return split(tx, lengths, along); }))
      result.append(call.wrap(part));
    return result;
  });
  m.def("zero_pad2d", [](const py::object& x, const py::object& padding) {
    Call call("zero_pad2d", Devices::all);
    const Tensor tx = call.array("x", x);
    const Window border = parse_border(call, padding);
    return call.run([&] { return zero_pad2d(tx, border); });
  });
  m.def("crop2d", [](const py::object& x, const py::object& padding) {
    Call call("crop2d", Devices::all);
    const Tensor tx = call.array("x", x);
    const Window border = parse_border(call, padding);
    return call.run([&] { return crop2d(tx, border); });
  });
  m.def("from_nchw", [](const py::object& array) {
    Call call("from_nchw", Devices::all);
    const Tensor x = call.array("array", array);
    return call.run([&] { return from_nchw(x); });
  });
  m.def("to_nchw", [](const py::object& array) {
    Call call("to_nchw", Devices::all);
    const Tensor x = call.array("array", array);
    return call.run([&] { return to_nchw(x); });
  });
  m.def("moving_average",
        [](const py::object& running, const py::object& value, const py::object& momentum, const py::object& factor) {
          Call call("moving_average", Devices::all);
          const Tensor r = call.output_array("running", running);
          const Tensor v = call.array("value", value);
          const double share = parse_float("moving_average", "momentum", momentum);
          const double rest = parse_float("moving_average", "factor", factor);
          Call::without_gil([&] { moving_average(r, v, share, rest); });
        });
  m.def("copy_bandwidth", [](const py::object& bytes) {
    const int64_t total = parse_int("copy_bandwidth", "bytes", bytes);
    if (total < 1) value_error("[copy_bandwidth] bytes must be positive; got ", total);
    return Call::without_gil([&] { return measure_copy_bandwidth(total); });
  });
}

}  // namespace sixloop
