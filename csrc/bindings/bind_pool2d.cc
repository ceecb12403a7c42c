#include "base/error.h"
#include "base/validate.h"
#include "bindings/bindings.h"
#include "pool2d/pool2d.h"

namespace sixloop {
namespace {

// strides None: those of the window.
Window pool_window(const Call& call, py::handle pool, py::handle strides, py::handle padding, const Shape& x) {
  return parse_window(call, call.pair("pool", pool), strides.is_none() ? pool : strides, padding, py::int_(1), x[1],
                      x[2]);
}

Shape image_shape(const Call& call, const char* name, py::handle value) {
  const Shape shape = call.shape(name, value);
  if (shape.rank() != 4) {
    value_error("[", call.op(), "] ", name, " must have 4 dimensions [N, H, W, C]; got ", shape);
  }
  return shape;
}

template <class Op>
auto forward(const char* name, Op op) {
  return [name, op](const py::object& x, const py::object& pool, const py::object& strides, const py::object& padding) {
    Call call(name, Devices::all);
    const Tensor tx = call.array("x", x);
    check_rank(name, "x", tx, 4, "[N, H, W, C]");
    const Window window = pool_window(call, pool, strides, padding, tx.shape());
    return call.run([&] { return op(tx, window); });
  };
}

}  // namespace

void bind_pool2d(py::module_& m) {
  m.def("max_pool2d", forward("max_pool2d", &max_pool2d));
  m.def("max_pool2d_indices",
        [](const py::object& x, const py::object& pool, const py::object& strides, const py::object& padding) {
          Call call("max_pool2d", Devices::all);
          const Tensor tx = call.array("x", x);
          check_rank("max_pool2d", "x", tx, 4, "[N, H, W, C]");
          const Window window = pool_window(call, pool, strides, padding, tx.shape());
          const auto [y, indices] = Call::without_gil([&] { return max_pool2d_indices(tx, window); });
          return py::make_tuple(call.wrap(y), call.wrap(indices));
        });
  m.def("avg_pool2d", forward("avg_pool2d", &avg_pool2d));
  m.def("max_pool2d_grad", [](const py::object& dy, const py::object& x, const py::object& pool,
                              const py::object& strides, const py::object& padding) {
    Call call("max_pool2d_grad", Devices::all);
    const Tensor tdy = call.array("dy", dy);
    const Tensor tx = call.array("x", x);
    check_rank("max_pool2d_grad", "x", tx, 4, "[N, H, W, C]");
    const Window window = pool_window(call, pool, strides, padding, tx.shape());
    return call.run([&] { return max_pool2d_grad(tdy, tx, window); });
  });
  m.def("max_pool2d_grad_from_indices",
        [](const py::object& dy, const py::object& x_shape, const py::object& indices, const py::object& pool,
           const py::object& strides, const py::object& padding) {
          Call call("max_pool2d_grad", Devices::all);
          const Tensor tdy = call.array("dy", dy);
          const Shape shape = image_shape(call, "x", x_shape);
          const Tensor tindices = call.array("indices", indices);
          const Window window = pool_window(call, pool, strides, padding, shape);
          return call.run([&] { return max_pool2d_grad(tdy, shape, tindices, window); });
        });
  m.def("avg_pool2d_grad", [](const py::object& dy, const py::object& x_shape, const py::object& pool,
                              const py::object& strides, const py::object& padding) {
    Call call("avg_pool2d_grad", Devices::all);
    const Tensor tdy = call.array("dy", dy);
    const Shape shape = image_shape(call, "x_shape", x_shape);
    const Window window = pool_window(call, pool, strides, padding, shape);
    return call.run([&] { return avg_pool2d_grad(tdy, shape, window); });
  });
  m.def("global_avg_pool2d", [](const py::object& x) {
    Call call("global_avg_pool2d", Devices::all);
    const Tensor tx = call.array("x", x);
    return call.run([&] { return global_avg_pool2d(tx); });
  });
  m.def("global_avg_pool2d_grad", [](const py::object& dy, const py::object& x_shape) {
    Call call("global_avg_pool2d_grad", Devices::all);
    const Tensor tdy = call.array("dy", dy);
    const Shape shape = call.shape("x_shape", x_shape);
    return call.run([&] { return global_avg_pool2d_grad(tdy, shape); });
  });
  m.def("pool2d_output_shape",
        [](const py::object& x_shape, const py::object& pool, const py::object& strides, const py::object& padding) {
          const Call call("pool2d_output_shape");
          const Shape shape = image_shape(call, "x_shape", x_shape);
          const Shape y = pool2d_output_shape(call.op(), shape, pool_window(call, pool, strides, padding, shape));
          return py::make_tuple(y[0], y[1], y[2], y[3]);
        });
}

}  // namespace sixloop
