#include "bindings/bindings.h"
#include "cuda/runtime.h"

namespace sixloop {

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
}

}  // namespace sixloop
