#include "bindings/bindings.h"
#include "optimizer/optimizer.h"

namespace sixloop {

void bind_optimizer(py::module_& m) {
  m.def("sgd_update",
        [](const py::object& param, const py::object& grad, const py::object& velocity, const py::object& lr,
           const py::object& momentum, const py::object& nesterov, const py::object& weight_decay) {
          Call call("sgd_update", Devices::all);
          const Tensor p = call.output_array("param", param);
          const Tensor g = call.array("grad", grad);
          std::optional<Tensor> v;
          if (!velocity.is_none()) v = call.output_array("velocity", velocity);
          const double rate = parse_float(call.op(), "lr", lr);
          const double mu = parse_float(call.op(), "momentum", momentum);
          const double decay = parse_float(call.op(), "weight_decay", weight_decay);
          const bool look_ahead = parse_bool(call.op(), "nesterov", nesterov);
          Call::without_gil([&] { sgd_update(p, g, v, rate, mu, look_ahead, decay); });
        });
  m.def("adam_update",
        [](const py::object& param, const py::object& grad, const py::object& m1, const py::object& m2,
           const py::object& step, const py::object& lr, const py::object& beta1, const py::object& beta2,
           const py::object& epsilon, const py::object& weight_decay, const py::object& decoupled) {
          Call call("adam_update", Devices::all);
          const Tensor p = call.output_array("param", param);
          const Tensor g = call.array("grad", grad);
          const Tensor first = call.output_array("m", m1);
          const Tensor second = call.output_array("v", m2);
          const int64_t number = parse_int(call.op(), "step", step);
          const double rate = parse_float(call.op(), "lr", lr);
          const double b1 = parse_float(call.op(), "beta1", beta1);
          const double b2 = parse_float(call.op(), "beta2", beta2);
          const double eps = parse_float(call.op(), "epsilon", epsilon);
          const double decay = parse_float(call.op(), "weight_decay", weight_decay);
          const bool apart = parse_bool(call.op(), "decoupled", decoupled);
          Call::without_gil([&] { adam_update(p, g, first, second, number, rate, b1, b2, eps, decay, apart); });
        });
  m.def("rmsprop_update",
        [](const py::object& param, const py::object& grad, const py::object& square_avg, const py::object& lr,
           const py::object& rho, const py::object& epsilon, const py::object& weight_decay) {
          Call call("rmsprop_update", Devices::all);
          const Tensor p = call.output_array("param", param);
          const Tensor g = call.array("grad", grad);
          const Tensor s = call.output_array("square_avg", square_avg);
          const double rate = parse_float(call.op(), "lr", lr);
          const double decay_rate = parse_float(call.op(), "rho", rho);
          const double eps = parse_float(call.op(), "epsilon", epsilon);
          const double decay = parse_float(call.op(), "weight_decay", weight_decay);
          Call::without_gil([&] { rmsprop_update(p, g, s, rate, decay_rate, eps, decay); });
        });
}

}  // namespace sixloop
