#include "base/batch_invariant.h"
#include "base/error.h"
#include "bindings/bindings.h"
#include "conv2d/conv2d.h"

namespace sixloop {
namespace {

// The arguments that all three passes share.
struct Geometry {
  Window window;
  int64_t groups;
  Conv2dAlgorithm algorithm;
};

Geometry parse_geometry(const Call& call, const Shape& x, const Shape& w, const py::object& strides,
                        const py::object& padding, const py::object& dilation, const py::object& groups,
                        const py::object& algorithm) {
  if (x.rank() != 4) {
    value_error("[", call.op(), "] x must have 4 dimensions [N, H, W, C]; got ", x.rank(), " in shape ", x);
  }
  if (w.rank() != 4) {
    value_error("[", call.op(), "] weight must have 4 dimensions [KH, KW, C / groups, O]; got ", w.rank(), " in shape ",
                w);
  }
  const Window window = parse_window(call, {w[0], w[1]}, strides, padding, dilation, x[1], x[2]);
  if (!py::isinstance<py::str>(algorithm)) {
    type_error("[", call.op(), "] algorithm must be a name; got ", py::repr(algorithm).cast<std::string>());
  }
  return {window, parse_int(call.op(), "groups", groups),
          parse_conv2d_algorithm(call.op(), algorithm.cast<std::string>())};
}

Conv2dPass parse_pass(const Call& call, const py::object& pass) {
  if (!py::isinstance<py::str>(pass)) {
    type_error("[", call.op(), "] which must be a name; got ", py::repr(pass).cast<std::string>());
  }
  return parse_conv2d_pass(call.op(), pass.cast<std::string>());
}

// What is planned; throws where there cannot be such arrays, whose numbers of pixels would overflow.
std::pair<Geometry, Conv2dParams> parse_planned(const Call& call, const py::object& x_shape, const py::object& w_shape,
                                                const py::object& strides, const py::object& padding,
                                                const py::object& dilation, const py::object& groups,
                                                const py::object& algorithm) {
  const Shape x = call.shape("x_shape", x_shape);
  const Shape w = call.shape("w_shape", w_shape);
  const Geometry g = parse_geometry(call, x, w, strides, padding, dilation, groups, algorithm);
  const Conv2dParams p = conv2d_params(call.op(), x, w, g.window, g.groups);
  for (const Shape& shape : {x, w, Shape{p.n, p.h, p.w}, Shape{p.n, p.oh, p.ow}, Shape{p.n, p.oh, p.ow, p.o}}) {
    (void)shape.size();
  }
  return {g, p};
}

}  // namespace

void bind_conv2d(py::module_& m) {
  m.def("conv2d", [](const py::object& x, const py::object& w, const py::object& bias, const py::object& strides,
                     const py::object& padding, const py::object& dilation, const py::object& groups,
                     const py::object& activation, const py::object& algorithm, const py::object& precision,
                     const py::object& residual, const py::object& keep_filters) {
    Call call("conv2d", Devices::all);
    const Tensor tx = call.array("x", x);
    const Tensor tw = call.array("weight", w);
    const std::optional<Tensor> tbias = call.optional_array("bias", bias);
    const Activation act = call.activation(activation);
    const Geometry g = parse_geometry(call, tx.shape(), tw.shape(), strides, padding, dilation, groups, algorithm);
    const Precision products = call.precision(precision);
    const std::optional<Tensor> tresidual = call.optional_array("residual", residual);
    const bool keeps = parse_bool(call.op(), "keep_filters", keep_filters);
    if (keeps && !py::isinstance<Tensor>(w)) {
      type_error(
          "[conv2d] keep_filters=True needs a weight that is a sixloop.Tensor, beside whose memory they stay; "
          "got ",
          py::str(py::type::of(w).attr("__name__")).cast<std::string>(), ": sixloop.Tensor(w) makes one");
    }
    return call.run(
        [&] { return conv2d(tx, tw, tbias, g.window, g.groups, act, g.algorithm, products, tresidual, keeps); });
  });
  m.def("conv2d_statistics", [](const py::object& x, const py::object& w, const py::object& bias,
                                const py::object& strides, const py::object& padding, const py::object& dilation,
                                const py::object& groups, const py::object& algorithm, const py::object& precision) {
    Call call("conv2d_statistics", Devices::all);
    const Tensor tx = call.array("x", x);
    const Tensor tw = call.array("weight", w);
    const std::optional<Tensor> tbias = call.optional_array("bias", bias);
    const Geometry g = parse_geometry(call, tx.shape(), tw.shape(), strides, padding, dilation, groups, algorithm);
    const Precision products = call.precision(precision);
    const Conv2dStatistics out =
        Call::without_gil([&] { return conv2d_statistics(tx, tw, tbias, g.window, g.groups, g.algorithm, products); });
    return py::make_tuple(call.wrap(out.y), call.wrap(out.mean), call.wrap(out.variance));
  });
  m.def("conv2d_grad_input", [](const py::object& dy, const py::object& w, const py::object& x_shape,
                                const py::object& strides, const py::object& padding, const py::object& dilation,
                                const py::object& groups, const py::object& algorithm, const py::object& precision) {
    Call call("conv2d_grad_input", Devices::all);
    const Tensor tdy = call.array("dy", dy);
    const Tensor tw = call.array("weight", w);
    const Shape shape = call.shape("x_shape", x_shape);
    const Geometry g = parse_geometry(call, shape, tw.shape(), strides, padding, dilation, groups, algorithm);
    const Precision products = call.precision(precision);
    return call.run([&] { return conv2d_grad_input(tdy, tw, shape, g.window, g.groups, g.algorithm, products); });
  });
  m.def("conv2d_grad_weight", [](const py::object& x, const py::object& dy, const py::object& w_shape,
                                 const py::object& strides, const py::object& padding, const py::object& dilation,
                                 const py::object& groups, const py::object& algorithm, const py::object& precision) {
    Call call("conv2d_grad_weight", Devices::all);
    const Tensor tx = call.array("x", x);
    const Tensor tdy = call.array("dy", dy);
    const Shape shape = call.shape("w_shape", w_shape);
    const Geometry g = parse_geometry(call, tx.shape(), shape, strides, padding, dilation, groups, algorithm);
    const Precision products = call.precision(precision);
    return call.run([&] { return conv2d_grad_weight(tx, tdy, shape, g.window, g.groups, g.algorithm, products); });
  });
  m.def("conv2d_output_shape", [](const py::object& x_shape, const py::object& w_shape, const py::object& strides,
                                  const py::object& padding, const py::object& dilation, const py::object& groups) {
    const Call call("conv2d");
    const Shape x = call.shape("x_shape", x_shape);
    const Shape w = call.shape("w_shape", w_shape);
    const Geometry g = parse_geometry(call, x, w, strides, padding, dilation, groups, py::str("auto"));
    const Conv2dParams p = conv2d_params("conv2d", x, w, g.window, g.groups);
    return py::make_tuple(p.n, p.oh, p.ow, p.o);
  });
  m.def("conv2d_algorithm",
        [](const py::object& pass, const py::object& x_shape, const py::object& w_shape, const py::object& strides,
           const py::object& padding, const py::object& dilation, const py::object& groups) {
          const Call call("conv2d_algorithm");
          const Shape x = call.shape("x_shape", x_shape);
          const Shape w = call.shape("w_shape", w_shape);
          const Geometry g = parse_geometry(call, x, w, strides, padding, dilation, groups, py::str("auto"));
          const Conv2dParams p = conv2d_params(call.op(), x, w, g.window, g.groups);
          return name_of(select_algorithm(call.op(), parse_pass(call, pass), p, g.algorithm));
        });
  m.def("conv2d_plan",
        [](const py::object& pass, const py::object& x_shape, const py::object& w_shape, const py::object& strides,
           const py::object& padding, const py::object& dilation, const py::object& groups, const py::object& algorithm,
           bool float64, const py::object& keep_filters) {
          const Call call("conv2d_plan");
          const auto [g, p] = parse_planned(call, x_shape, w_shape, strides, padding, dilation, groups, algorithm);
          const DType dtype = float64 ? DType::float64 : DType::float32;
          const Conv2dPlan plan = plan_conv2d(call.op(), parse_pass(call, pass), p, g.algorithm, dtype,
                                              parse_bool(call.op(), "keep_filters", keep_filters));
          py::tuple kernels(plan.kernels.size());
          for (size_t i = 0; i < plan.kernels.size(); ++i) kernels[i] = plan.kernels[i]->name;
          return py::make_tuple(name_of(plan.algorithm), plan.reason, plan.way, kernels, plan.scratch, plan.kept);
        });
  m.def("conv2d_plan_on_cuda",
        [](const py::object& pass, const py::object& x_shape, const py::object& w_shape, const py::object& strides,
           const py::object& padding, const py::object& dilation, const py::object& groups, const py::object& algorithm,
           const py::object& dtype, const py::object& precision, const py::object& capability) {
          const Call call("conv2d_plan");
          const auto [g, p] = parse_planned(call, x_shape, w_shape, strides, padding, dilation, groups, algorithm);
          return tuple_of(plan_conv2d_on_cuda(call.op(), parse_pass(call, pass), p, g.algorithm,
                                              parse_dtype(call.op(), dtype), call.precision(precision),
                                              parse_capability(call.op(), capability)));
        });
  m.def("im2col", [](const py::object& x, const py::object& kernel, const py::object& strides,
                     const py::object& padding, const py::object& dilation) {
    Call call("im2col", Devices::all);
    const Tensor tx = call.array("x", x);
    const Shape shape = tx.shape().rank() == 4 ? tx.shape() : Shape{1, 1, 1, 1};  // another rank is the op's error
    const Window window =
        parse_window(call, call.pair("kernel", kernel), strides, padding, dilation, shape[1], shape[2]);
    return call.run([&] { return im2col(tx, window); });
  });
  m.def("col2im", [](const py::object& col, const py::object& x_shape, const py::object& kernel,
                     const py::object& strides, const py::object& padding, const py::object& dilation) {
    Call call("col2im", Devices::all);
    const Tensor tcol = call.array("col", col);
    const Shape shape = call.shape("x_shape", x_shape);
    const Shape extent = shape.rank() == 4 ? shape : Shape{1, 1, 1, 1};
    const Window window =
        parse_window(call, call.pair("kernel", kernel), strides, padding, dilation, extent[1], extent[2]);
    return call.run([&] { return col2im(tcol, shape, window); });
  });
  m.def("batch_invariant", &batch_invariant);
  m.def("set_batch_invariant", &set_batch_invariant);
}

}  // namespace sixloop
