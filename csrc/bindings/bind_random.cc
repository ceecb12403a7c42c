#include "base/error.h"
#include "bindings/bindings.h"
#include "random/random.h"

namespace sixloop {
namespace {

PhiloxKey parse_key(const char* op, py::handle seed, py::handle purpose, py::handle step) {
  const int64_t s = parse_int(op, "seed", seed);
  if (s < 0) value_error("[", op, "] seed must be from 0 to 2**63 - 1; got ", s);
  const auto word = [op](const char* name, py::handle value) {
    const int64_t result = parse_int(op, name, value);
    if (result < 0 || result > int64_t{0xFFFFFFFF}) {
      value_error("[", op, "] ", name, " must be from 0 to 2**32 - 1; got ", result);
    }
    return static_cast<uint32_t>(result);
  };
  return {static_cast<uint64_t>(s), word("purpose", purpose), word("step", step)};
}

DType parse_floating(const char* op, py::handle dtype) {
  py::dtype d;
  try {
    d = py::dtype::from_args(py::reinterpret_borrow<py::object>(dtype));
  } catch (py::error_already_set&) {
    type_error("[", op, "] dtype must be float32 or float64; got ", py::repr(dtype).cast<std::string>());
  }
  for (const DType candidate : {DType::float32, DType::float64}) {
    if (d.equal(numpy_dtype(candidate))) return candidate;
  }
  type_error("[", op, "] dtype must be float32 or float64; got ", py::repr(dtype).cast<std::string>());
}

}  // namespace

void bind_random(py::module_& m) {
  m.def("random_bits",
        [](const py::object& n, const py::object& seed, const py::object& purpose, const py::object& step) {
          const int64_t count = parse_int("random_bits", "n", n);
          if (count < 0) value_error("[random_bits] n must not be negative; got ", count);
          const PhiloxKey key = parse_key("random_bits", seed, purpose, step);
          const Tensor bits = Tensor::empty({count}, DType::int64);
          Call::without_gil([&] { random_bits(key, count, bits.data<int64_t>()); });
          return py::object(numpy_view(bits).attr("view")("uint64"));
        });
  m.def("random_uniform",
        [](const py::object& shape, const py::object& low, const py::object& high, const py::object& seed,
           const py::object& purpose, const py::object& step, const py::object& dtype, const std::string& device) {
          const Call call("random_uniform");
          const Shape extents = call.shape("shape", shape);
          const double a = parse_float(call.op(), "low", low);
          const double b = parse_float(call.op(), "high", high);
          const PhiloxKey key = parse_key(call.op(), seed, purpose, step);
          const DType kind = parse_floating(call.op(), dtype);
          const Device where = parse_device(call.op(), device);
          return Call::without_gil([&] { return random_uniform(extents, a, b, key, kind, where); });
        });
  m.def("random_normal",
        [](const py::object& shape, const py::object& mean, const py::object& std, const py::object& seed,
           const py::object& purpose, const py::object& step, const py::object& dtype, const std::string& device) {
          const Call call("random_normal");
          const Shape extents = call.shape("shape", shape);
          const double mu = parse_float(call.op(), "mean", mean);
          const double sigma = parse_float(call.op(), "std", std);
          const PhiloxKey key = parse_key(call.op(), seed, purpose, step);
          const DType kind = parse_floating(call.op(), dtype);
          const Device where = parse_device(call.op(), device);
          return Call::without_gil([&] { return random_normal(extents, mu, sigma, key, kind, where); });
        });
  // `op` is dropout or dropout_grad, `name` that of its array.
  m.def("dropout", [](const char* op, const char* name, const py::object& x, const py::object& rate,
                      const py::object& seed, const py::object& purpose, const py::object& step) {
    Call call(op, Devices::all);
    const Tensor tx = call.array(name, x);
    const double share = parse_float(op, "rate", rate);
    if (!py::isinstance<Tensor>(step)) {
      const PhiloxKey key = parse_key(op, seed, purpose, step);
      return call.run([&] { return dropout(op, tx, share, key); });
    }
    const Tensor live = call.array("step", step);
    if (live.device() != Device::cuda || live.dtype() != DType::float64 || live.size() != 1) {
      value_error("[", op, "] step must be a whole number, or one float64 on cuda that holds it; got ",
                  name_of(live.dtype()), " of shape ", live.shape(), " on ", name_of(live.device()));
    }
    PhiloxKey key = parse_key(op, seed, purpose, py::int_(0));
    key.live_step = live.data<double>();
    return call.run([&] { return dropout(op, tx, share, key); });
  });
}

}  // namespace sixloop
