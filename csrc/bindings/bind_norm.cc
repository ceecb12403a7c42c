#include "bindings/bindings.h"
#include "norm/norm.h"

namespace sixloop {
void bind_norm(py::module_& m) {
  m.def("batch_norm",
        [](const py::object& x, const py::object& gamma, const py::object& beta, const py::object& mean,
           const py::object& variance, const py::object& epsilon, const py::object& activation, bool return_affine,
           const py::object& residual) -> py::tuple {
          Call call("batch_norm", Devices::all);
          const Tensor tx = call.array("x", x);
          const Tensor tg = call.array("gamma", gamma);
          const Tensor tb = call.array("beta", beta);
          const std::optional<Tensor> tm = call.optional_array("mean", mean);
          const std::optional<Tensor> tv = call.optional_array("variance", variance);
          const std::optional<Tensor> tr = call.optional_array("residual", residual);
          const double e = parse_float("batch_norm", "epsilon", epsilon);
          const Activation a = call.activation(activation);
          const BatchNorm out = Call::without_gil([&] { return batch_norm(tx, tg, tb, tm, tv, e, a, tr); });
          // Statistics that were given are given back, not a view of them that can be written to.
          const py::object own_mean = mean.is_none() ? call.wrap(out.mean) : py::reinterpret_borrow<py::object>(mean);
          const py::object own_variance =
              variance.is_none() ? call.wrap(out.variance) : py::reinterpret_borrow<py::object>(variance);
          if (!return_affine) return py::make_tuple(call.wrap(out.y), own_mean, own_variance);
          return py::make_tuple(call.wrap(out.y), own_mean, own_variance, call.wrap(out.affine));
        });
  m.def("batch_norm_grad",
        [](const py::object& dy, const py::object& x, const py::object& gamma, const py::object& mean,
           const py::object& variance, const py::object& epsilon, bool training, const py::object& relu_affine,
           const py::object& relu_output) -> py::tuple {
          Call call("batch_norm_grad", Devices::all);
          const Tensor tdy = call.array("dy", dy);
          const Tensor tx = call.array("x", x);
          const Tensor tg = call.array("gamma", gamma);
          const Tensor tm = call.array("mean", mean);
          const Tensor tv = call.array("variance", variance);
          const std::optional<Tensor> ta = call.optional_array("relu_affine", relu_affine);
          const std::optional<Tensor> ty = call.optional_array("relu_output", relu_output);
          const double e = parse_float("batch_norm_grad", "epsilon", epsilon);
          const BatchNormGrad out =
              Call::without_gil([&] { return batch_norm_grad(tdy, tx, tg, tm, tv, e, training, ta, ty); });
          if (!out.dresidual) return py::make_tuple(call.wrap(out.dx), call.wrap(out.dgamma), call.wrap(out.dbeta));
          return py::make_tuple(call.wrap(out.dx), call.wrap(out.dgamma), call.wrap(out.dbeta),
                                call.wrap(*out.dresidual));
        });
  m.def("local_response_norm", [](const py::object& x, const py::object& size, const py::object& alpha,
                                  const py::object& beta, const py::object& k) {
    const char* op = "local_response_norm";
    Call call(op, Devices::all);
    const Tensor tx = call.array("x", x);
    const int64_t n = parse_int(op, "size", size);
    const double a = parse_float(op, "alpha", alpha);
    const double b = parse_float(op, "beta", beta);
    const double c = parse_float(op, "k", k);
    return call.run([&] { return local_response_norm(tx, n, a, b, c); });
  });
  m.def("local_response_norm_grad", [](const py::object& dy, const py::object& x, const py::object& size,
                                       const py::object& alpha, const py::object& beta, const py::object& k) {
    const char* op = "local_response_norm_grad";
    Call call(op, Devices::all);
    const Tensor tdy = call.array("dy", dy);
    const Tensor tx = call.array("x", x);
    const int64_t n = parse_int(op, "size", size);
    const double a = parse_float(op, "alpha", alpha);
    const double b = parse_float(op, "beta", beta);
    const double c = parse_float(op, "k", k);
    return call.run([&] { return local_response_norm_grad(tdy, tx, n, a, b, c); });
  });
}

}  // namespace sixloop
