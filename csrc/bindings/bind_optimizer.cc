#include "bindings/bindings.h"
#include "optimizer/optimizer.h"

namespace sixloop {
namespace {

// One array, or a list of them.
template <class Parse>
Tensors listed(py::handle value, Parse parse) {
  Tensors found;
  if (py::isinstance<py::list>(value) || py::isinstance<py::tuple>(value)) {
    for (const py::handle item : value) found.push_back(parse(item));
  } else {
    found.push_back(parse(value));
  }
  return found;
}

Tensors inputs(Call& call, const char* name, py::handle value) {
  return listed(value, [&](py::handle item) { return call.array(name, item); });
}

Tensors outputs(Call& call, const char* name, py::handle value) {
  return listed(value, [&](py::handle item) { return call.output_array(name, item); });
}

LiveNumbers live_numbers(Call& call, py::handle value) { return call.optional_array("live", value); }

}  // namespace

void bind_optimizer(py::module_& m) {
  m.def(
      "sgd_update",
      [](const py::object& param, const py::object& grad, const py::object& velocity, const py::object& lr,
         const py::object& momentum, const py::object& nesterov, const py::object& weight_decay,
         const py::object& live) {
        Call call("sgd_update", Devices::all);
        const Tensors p = outputs(call, "param", param);
        const Tensors g = inputs(call, "grad", grad);
        std::optional<Tensors> v;
        if (!velocity.is_none()) v = outputs(call, "velocity", velocity);
        const double rate = parse_float(call.op(), "lr", lr);
        const double mu = parse_float(call.op(), "momentum", momentum);
        const double decay = parse_float(call.op(), "weight_decay", weight_decay);
        const bool look_ahead = parse_bool(call.op(), "nesterov", nesterov);
        const LiveNumbers numbers = live_numbers(call, live);
        Call::without_gil([&] { sgd_update(p, g, v, rate, mu, look_ahead, decay, numbers); });
      },
      py::arg("param"), py::arg("grad"), py::arg("velocity"), py::arg("lr"), py::arg("momentum"), py::arg("nesterov"),
      py::arg("weight_decay"), py::arg("live") = py::none());
  m.def(
      "adam_update",
      [](const py::object& param, const py::object& grad, const py::object& m1, const py::object& m2,
         const py::object& step, const py::object& lr, const py::object& beta1, const py::object& beta2,
         const py::object& epsilon, const py::object& weight_decay, const py::object& decoupled,
         const py::object& live) {
        Call call("adam_update", Devices::all);
        const Tensors p = outputs(call, "param", param);
        const Tensors g = inputs(call, "grad", grad);
        const Tensors first = outputs(call, "m", m1);
        const Tensors second = outputs(call, "v", m2);
        const int64_t number = parse_int(call.op(), "step", step);
        const double rate = parse_float(call.op(), "lr", lr);
        const double b1 = parse_float(call.op(), "beta1", beta1);
        const double b2 = parse_float(call.op(), "beta2", beta2);
        const double eps = parse_float(call.op(), "epsilon", epsilon);
        const double decay = parse_float(call.op(), "weight_decay", weight_decay);
        const bool apart = parse_bool(call.op(), "decoupled", decoupled);
        const LiveNumbers numbers = live_numbers(call, live);
        Call::without_gil([&] { adam_update(p, g, first, second, number, rate, b1, b2, eps, decay, apart, numbers); });
      },
      py::arg("param"), py::arg("grad"), py::arg("m"), py::arg("v"), py::arg("step"), py::arg("lr"), py::arg("beta1"),
      py::arg("beta2"), py::arg("epsilon"), py::arg("weight_decay"), py::arg("decoupled"),
      py::arg("live") = py::none());
  m.def(
      "rmsprop_update",
      [](const py::object& param, const py::object& grad, const py::object& square_avg, const py::object& lr,
         const py::object& rho, const py::object& epsilon, const py::object& weight_decay, const py::object& live) {
        Call call("rmsprop_update", Devices::all);
        const Tensors p = outputs(call, "param", param);
        const Tensors g = inputs(call, "grad", grad);
        const Tensors s = outputs(call, "square_avg", square_avg);
        const double rate = parse_float(call.op(), "lr", lr);
        const double decay_rate = parse_float(call.op(), "rho", rho);
        const double eps = parse_float(call.op(), "epsilon", epsilon);
        const double decay = parse_float(call.op(), "weight_decay", weight_decay);
        const LiveNumbers numbers = live_numbers(call, live);
        Call::without_gil([&] { rmsprop_update(p, g, s, rate, decay_rate, eps, decay, numbers); });
      },
      py::arg("param"), py::arg("grad"), py::arg("square_avg"), py::arg("lr"), py::arg("rho"), py::arg("epsilon"),
      py::arg("weight_decay"), py::arg("live") = py::none());
  m.def("adam_numbers", [](int64_t step, double lr, double beta1, double beta2, double weight_decay, bool decoupled) {
    const auto numbers = adam_numbers(step, lr, beta1, beta2, weight_decay, decoupled);
    return std::vector<double>(numbers.begin(), numbers.end());
  });
}

}  // namespace sixloop
