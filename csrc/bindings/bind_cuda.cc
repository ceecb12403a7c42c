#include "bindings/bindings.h"
#include "cuda/graph.h"
#include "cuda/guards.h"
#include "cuda/runtime.h"
#include "cuda/staging.h"
#include "images/images.h"
#include "loss/loss.h"

namespace sixloop {
namespace {

py::tuple parts_of(const LossOnDevice& loss) { return py::make_tuple(loss.sum, loss.divisor, loss.gradient); }

auto of_terms(Terms terms) {
  return [terms](const Tensor& output, const Tensor& target) {
    return parts_of(Call::without_gil([&] { return loss_on_device(terms, output, target, 0); }));
  };
}

}  // namespace

void bind_cuda(py::module_& m) {
  m.def("cuda_why", [] { return Call::without_gil([] { return cuda::why(); }); });
  m.def("cuda_device", [] {
    const cuda::DeviceInfo info = Call::without_gil([] { return cuda::device_info(); });
    return py::make_tuple(info.name, info.major, info.minor, info.processors, info.memory);
  });
  m.def("cuda_memory_stats", [] {
    const cuda::MemoryStats stats = Call::without_gil([] { return cuda::memory_stats(); });
    py::dict d;
    d["allocated"] = stats.allocated;
    d["peak"] = stats.peak;
    d["reserved"] = stats.reserved;
    d["requests"] = stats.requests;
    d["free"] = stats.free;
    d["total"] = stats.total;
    return d;
  });
  m.def("cuda_reset_peak_memory", &cuda::reset_peak_memory);
  m.def("cuda_set_guards", [](const py::object& on) {
    const bool guards = parse_bool("cuda.set_guards", "on", on);
    Call::without_gil([&] { cuda::set_guards(guards); });
  });
  m.def("cuda_check_guards", [] { Call::without_gil([] { cuda::check_guards(); }); });
  m.def("cuda_empty_cache", [] {
    GilRelease release;
    cuda::empty_cache();
  });
  m.def("cuda_synchronize", [] {
    GilRelease release;
    cuda::synchronize();
  });
  m.def("cuda_stream", &cuda::stream_number);
  // 0 is the library's own.
  m.def("cuda_set_stream", [](const py::object& handle) {
    const int64_t number = parse_int("cuda.set_stream", "handle", handle);
    if (number < 0) throw py::value_error("[cuda.set_stream] handle must not be negative");
    cuda::set_stream(static_cast<uintptr_t>(number));
  });

  const auto method = [](void (cuda::Graph::*f)()) {
    return [f](cuda::Graph& graph) {
      GilRelease release;
      (graph.*f)();
    };
  };
  py::class_<cuda::Graph>(m, "CudaGraph", "A step that is traced, captured and launched again.")
      .def(py::init<>())
      .def("trace_begin", method(&cuda::Graph::trace_begin))
      .def("trace_end", method(&cuda::Graph::trace_end))
      .def("capture_begin", method(&cuda::Graph::capture_begin))
      .def("capture_end", method(&cuda::Graph::capture_end))
      .def("abandon", &cuda::Graph::abandon)
      .def("launch", method(&cuda::Graph::launch))
      .def_property_readonly("is_captured", &cuda::Graph::is_captured, "Whether launch() has something to run.")
      .def_property_readonly("nbytes", &cuda::Graph::bytes, "Bytes of its own memory.");

  py::class_<cuda::Staging>(m, "CudaStaging", "Pinned memory from which batches go to the GPU.")
      .def(py::init<>())
      .def("upload", [](cuda::Staging& staging, const py::args& arrays) {
        Call call("upload");
        std::vector<Tensor> parsed;
        for (const py::handle array : arrays) parsed.push_back(call.array("array", array));
        return Call::without_gil([&] { return staging.upload(parsed); });
      });

  // Functions of the training step on the GPU, which ops.py does not show: Tensors there go in and come out.
  m.def("loss_squared_error", of_terms(Terms::squared_error));
  m.def("loss_binary_cross_entropy", of_terms(Terms::binary_cross_entropy));
  m.def("loss_hinge", [](const Tensor& output, const Tensor& target, double margin) {
    return parts_of(Call::without_gil([&] { return loss_on_device(Terms::hinge, output, target, margin); }));
  });
  m.def("loss_cross_entropy", [](const Tensor& logits, const Tensor& labels) {
    return parts_of(Call::without_gil([&] { return cross_entropy_on_device(logits, labels); }));
  });
  m.def("count_top_k", [](const Tensor& scores, const Tensor& labels, int64_t k) {
    return Call::without_gil([&] { return count_top_k(scores, labels, k); });
  });
  m.def("count_binary", [](const Tensor& output, const Tensor& target, double edge) {
    return Call::without_gil([&] { return count_binary(output, target, edge); });
  });
  m.def("add_penalty", [](const std::vector<Tensor>& weights, const std::vector<Tensor>& gradients, double l2) {
    return Call::without_gil([&] { return add_penalty(weights, gradients, l2); });
  });
  m.def("set_record", [](const Tensor& record, double lr, double root, double shrink, int64_t step) {
    Call::without_gil([&] { set_record(record, lr, root, shrink, step); });
  });
  m.def("end_batch", [](const Tensor& record, const std::vector<Tensor>& sums, const std::vector<double>& divisors,
                        const std::vector<double>& factors, const std::vector<Tensor>& counts,
                        const std::optional<Tensor>& squares, double l2, int64_t samples, bool stops) {
    Call::without_gil(
        [&] { end_batch(record, sums, divisors, factors, counts, squares ? &*squares : nullptr, l2, samples, stops); });
  });
  m.def("take_images", [](const Tensor& x, const Tensor& index, const Tensor& places, int64_t height, int64_t width,
                          double scale, const std::optional<Tensor>& mean, const std::optional<Tensor>& std,
                          const std::string& dtype) {
    const DType kind = dtype == "float64" ? DType::float64 : DType::float32;
    return Call::without_gil([&] { return take_images(x, index, places, height, width, scale, mean, std, kind); });
  });
}

}  // namespace sixloop
