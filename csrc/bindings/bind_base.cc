#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>

#include "base/allocator.h"
#include "base/arch.h"
#include "base/error.h"
#include "base/kernel.h"
#include "base/thread_pool.h"
#include "base/validate.h"
#include "bindings/bindings.h"
#include "cuda/runtime.h"

namespace sixloop {
namespace {

py::tuple shape_tuple(const Tensor& t) {
  py::tuple shape(t.shape().rank());
  for (int i = 0; i < t.shape().rank(); ++i) shape[i] = t.shape()[i];
  return shape;
}

// ml_dtypes' bfloat16 where that package is there: NumPy itself has none.
std::optional<py::dtype> numpy_bfloat16() {
  try {
    return py::dtype::from_args(py::module_::import("ml_dtypes").attr("bfloat16"));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_ImportError)) throw;
    return std::nullopt;
  }
}

bool names_bfloat16(py::handle dtype) {
  if (py::isinstance<py::str>(dtype)) return dtype.cast<std::string>() == "bfloat16";
  for (const char* attribute : {"name", "__name__"}) {
    const py::object name = py::getattr(dtype, attribute, py::none());
    if (py::isinstance<py::str>(name)) return name.cast<std::string>() == "bfloat16";
  }
  return false;
}

// A NumPy array over memory of the CPU, for the time that `keeper` lives in it.
template <class Keeper>
py::array numpy_over(const Tensor& t, const Shape& shape, const py::dtype& dtype, std::unique_ptr<Keeper> keeper) {
  const py::capsule base(keeper.get(), [](void* p) { delete static_cast<Keeper*>(p); });
  (void)keeper.release();
  py::ssize_t dims[Shape::kMaxRank];
  for (int i = 0; i < shape.rank(); ++i) dims[i] = shape[i];
  return py::array(dtype, py::array::ShapeContainer(dims, dims + shape.rank()), t.raw(), base);
}

// The elements of a tensor on the CPU, for Python to look at before this call returns: nobody may write to them.
py::array to_read(const Tensor& t) {
  return numpy_over(t, t.shape(), numpy_dtype(t.dtype()), std::make_unique<Tensor>(t));
}

// The elements for Python to look at: of bfloat16, widened.
py::array readable(const Tensor& t) {
  if (t.dtype() != DType::bfloat16) return t.device() == Device::cpu ? to_read(t) : numpy_view(t);
  return numpy_view(Call::without_gil([&] {
    const Tensor bits = Tensor::empty({t.bytes()}, DType::uint8);
    copy_bytes(bits.raw(), Device::cpu, t.raw(), t.device(), static_cast<size_t>(t.bytes()));
    const Tensor values = Tensor::empty(t.shape(), DType::float32);
    std::copy_n(bits.data<BFloat16>(), t.size(), values.data<float>());
    return values;
  }));
}

// A copy, on the GPU, of what lies there.
Tensor make_cuda_tensor(py::handle data, py::handle dtype) {
  const Tensor source = py::isinstance<Tensor>(data) ? data.cast<Tensor>() : from_dlpack_cuda("Tensor", "data", data);
  if (!dtype.is_none() && parse_dtype("Tensor", dtype) != source.dtype()) {
    throw NotImplemented("[Tensor] no conversion to another dtype on cuda: use ops.cast, or data's .to(\"cpu\")");
  }
  return source.copy_to(Device::cuda);
}

Tensor make_tensor(py::handle data, py::handle dtype) {
  if (dtype.is_none()) {
    if (const std::optional<Tensor> there = borrow_numpy(data)) return there->copy_to(Device::cpu);
  }
  if (is_on_cuda(data)) return make_cuda_tensor(data, dtype);
  const py::module_ numpy = py::module_::import("numpy");
  py::object source = py::reinterpret_borrow<py::object>(data);
  if (!py::isinstance<py::array>(source) && py::hasattr(source, "__dlpack__")) {
    source = numpy.attr("from_dlpack")(source);
  }
  py::array array = numpy.attr("asarray")(source);
  DType target;
  if (!dtype.is_none()) {
    target = parse_dtype("Tensor", dtype);
  } else if (py::isinstance<py::list>(data) || py::isinstance<py::tuple>(data) || PyFloat_Check(data.ptr())) {
    // Python's own floats carry no precision that was chosen: they become the library's default.
    target = array.dtype().kind() == 'f' ? DType::float32 : parse_dtype("Tensor", array.dtype());
  } else {
    target = parse_dtype("Tensor", array.dtype());
  }
  if (array.ndim() > Shape::kMaxRank) {
    value_error("[Tensor] at most ", Shape::kMaxRank, " dimensions are supported; got ", array.ndim());
  }
  if (target == DType::bfloat16) {
    type_error(
        "[Tensor] bfloat16 is a dtype of cuda alone: move float32 there and use ops.cast, or "
        "sixloop.empty(shape, \"bfloat16\", \"cuda\") and its assign()");
  }
  array = numpy.attr("require")(array, numpy_dtype(target), "CA");
  int64_t dims[Shape::kMaxRank];
  for (py::ssize_t i = 0; i < array.ndim(); ++i) dims[i] = array.shape(i);
  Tensor t = Tensor::empty(Shape(dims, static_cast<int>(array.ndim())), target);
  std::memcpy(t.raw(), array.data(), static_cast<size_t>(t.bytes()));
  return t;
}

Tensor reshape(const Tensor& t, const py::args& args) {
  const py::object sizes = args.size() == 1 && !PyIndex_Check(args[0].ptr()) ? py::object(args[0]) : py::object(args);
  const py::tuple list(sizes);
  if (list.size() > static_cast<size_t>(Shape::kMaxRank)) {
    value_error("[reshape] at most ", Shape::kMaxRank, " dimensions are supported; got ", list.size());
  }
  int64_t dims[Shape::kMaxRank];
  int wild = -1;
  int64_t known = 1;
  for (size_t i = 0; i < list.size(); ++i) {
    dims[i] = parse_int("reshape", "shape", list[i]);
    if (dims[i] == -1 && wild < 0) {
      wild = static_cast<int>(i);
    } else if (dims[i] < 0) {
      value_error("[reshape] sizes must not be negative, and one may be -1; got ", py::str(list).cast<std::string>());
    } else if (__builtin_mul_overflow(known, dims[i], &known)) {
      known = 0;  // divides nothing
    }
  }
  if (wild >= 0) {
    if (known == 0 || t.size() % known != 0) {
      value_error("[reshape] ", t.size(), " elements of shape ", t.shape(), " do not divide into ",
                  py::str(list).cast<std::string>());
    }
    dims[wild] = t.size() / known;
  }
  return t.reshape(Shape(dims, static_cast<int>(list.size())));
}

Tensor copy(const Tensor& t) {
  return Call::without_gil([&] { return t.copy_to(t.device()); });
}

std::string repr(const Tensor& t) {
  const std::string body = py::repr(readable(t)).cast<std::string>();
  return "Tensor(shape=" + t.shape().str() + ", dtype=" + name_of(t.dtype()) + ", device=" + name_of(t.device()) +
         ")\n" + body;
}

Tensor to_device(const Tensor& t, const std::string& device) {
  const Device target = parse_device("Tensor.to", device);
  if (target == t.device()) return t;
  if (t.dtype() == DType::bfloat16) {
    type_error("[Tensor.to] bfloat16 is a dtype of cuda alone: use ops.cast(x, \"float32\").to(\"cpu\"); got shape ",
               t.shape());
  }
  return Call::without_gil([&] { return t.copy_to(target); });
}

void fill(const Tensor& t, const py::object& value) {
  if (t.device() == Device::cpu) {
    numpy_view(t).attr("fill")(value);
    return;
  }
  Tensor filled;
  if (t.dtype() == DType::bfloat16) {
    filled = Tensor::empty({t.bytes()}, DType::uint8);
    std::fill_n(filled.data<BFloat16>(), t.size(), BFloat16(parse_float("Tensor.fill", "value", value)));
  } else {
    filled = Tensor::empty(t.shape(), t.dtype());
    numpy_view(filled).attr("fill")(value);
  }
  Call::without_gil([&] {
    copy_bytes(t.raw(), Device::cuda, filled.raw(), Device::cpu, static_cast<size_t>(t.bytes()));
    return 0;
  });
}

// An array of ml_dtypes' bfloat16 as bytes, or nothing where `values` is something else.
std::optional<py::array> bfloat16_bytes(const Tensor& t, const py::object& values) {
  if (t.dtype() != DType::bfloat16 || !py::isinstance<py::array>(values)) return std::nullopt;
  const auto array = py::reinterpret_borrow<py::array>(values);
  if (!names_bfloat16(array.dtype())) return std::nullopt;
  bool same = array.ndim() == t.shape().rank();
  for (int i = 0; same && i < t.shape().rank(); ++i) same = array.shape(i) == t.shape()[i];
  if (!same) {
    value_error("[Tensor.assign] the tensor and values must have the same shape; got ", t.shape(), " and ",
                py::str(array.attr("shape")).cast<std::string>());
  }
  return py::array(py::module_::import("numpy").attr("ascontiguousarray")(array));
}

void assign(const Tensor& t, const py::object& values) {
  if (const std::optional<py::array> bytes = bfloat16_bytes(t, values)) {
    const void* const from = bytes->data();
    Call::without_gil([&] {
      copy_bytes(t.raw(), t.device(), from, Device::cpu, static_cast<size_t>(t.bytes()));
      return 0;
    });
    return;
  }
  Call call("Tensor.assign", Devices::all);
  const Tensor source = call.array("values", values);
  check_same_dtype("Tensor.assign", "the tensor", t, "values", source);
  check_same_shape("Tensor.assign", "the tensor", t, "values", source);
  Call::without_gil([&] {
    const Writer writer(t);
    copy_bytes(t.raw(), t.device(), source.raw(), source.device(), static_cast<size_t>(t.bytes()));
    return 0;
  });
}

py::object to_array(const Tensor& t, const py::object& dtype, const py::object& copy_flag) {
  const bool refuses = py::isinstance<py::bool_>(copy_flag) && !copy_flag.cast<bool>();
  const bool wants = py::isinstance<py::bool_>(copy_flag) && copy_flag.cast<bool>();
  if (t.device() == Device::cuda) {
    type_error("[Tensor] a tensor on cuda does not become a NumPy array by itself: use numpy(), which copies it");
  }
  if (!dtype.is_none() && !py::dtype::from_args(dtype).equal(numpy_dtype(t.dtype()))) {
    if (refuses) value_error("[Tensor] a conversion to another dtype needs a copy; got copy=False");
    return py::object(to_read(t).attr("astype")(dtype));
  }
  if (wants) return py::object(to_read(t).attr("copy")());
  return numpy_view(t);
}

py::object to_dlpack(const Tensor& t, const py::kwargs& kwargs) {
  if (t.device() == Device::cpu) return py::object(numpy_view(t).attr("__dlpack__")(**kwargs));
  py::object stream = py::none(), max_version = py::none(), device = py::none(), copy_flag = py::none();
  for (const auto& [key, value] : kwargs) {
    const std::string name = key.cast<std::string>();
    py::object* const known = name == "stream"        ? &stream
                              : name == "max_version" ? &max_version
                              : name == "dl_device"   ? &device
                              : name == "copy"        ? &copy_flag
                                                      : nullptr;
    if (known == nullptr) type_error("[Tensor] __dlpack__ has no argument ", name);
    *known = py::reinterpret_borrow<py::object>(value);
  }
  if (!device.is_none() && !device.equal(py::make_tuple(kDlpackCuda, 0))) {
    throw py::buffer_error(
        message("[Tensor] lies on cuda and is exported there; got dl_device=", py::repr(device).cast<std::string>()));
  }
  const bool versioned = !max_version.is_none() && max_version.cast<py::tuple>()[0].cast<int>() >= 1;
  const bool wants = py::isinstance<py::bool_>(copy_flag) && copy_flag.cast<bool>();
  return to_dlpack_cuda(wants ? copy(t) : t, stream, versioned);
}

// https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html, version 3.
py::dict cuda_array_interface(const Tensor& t) {
  if (t.device() != Device::cuda) throw py::attribute_error("the tensor is on the CPU: no __cuda_array_interface__");
  if (t.dtype() == DType::bfloat16) {
    throw py::attribute_error("NumPy's type strings have no bfloat16: no __cuda_array_interface__, use DLPack");
  }
  py::dict d;
  d["shape"] = shape_tuple(t);
  d["typestr"] = numpy_dtype(t.dtype()).attr("str");
  d["data"] = py::make_tuple(reinterpret_cast<uintptr_t>(t.raw()), false);
  d["version"] = 3;
  d["strides"] = py::none();
  d["stream"] = cuda::stream_number();
  return d;
}

py::dict stats_dict() {
  const MemoryStats stats = memory_stats();
  py::dict d;
  d["allocated"] = stats.allocated;
  d["peak"] = stats.peak;
  d["cached"] = stats.cached;
  d["cache_limit"] = stats.cache_limit;
  d["requests"] = stats.requests;
  d["system_requests"] = stats.system_requests;
  d["kept_filters"] = kept_form_bytes();
  return d;
}

}  // namespace

py::dtype numpy_dtype(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return py::dtype::of<float>();
    case DType::float64:
      return py::dtype::of<double>();
    case DType::int32:
      return py::dtype::of<int32_t>();
    case DType::int64:
      return py::dtype::of<int64_t>();
    case DType::uint8:
      return py::dtype::of<uint8_t>();
    case DType::bfloat16:
      if (const std::optional<py::dtype> found = numpy_bfloat16()) return *found;
      type_error("[Tensor] NumPy has no bfloat16: use ops.cast(x, \"float32\").numpy(), or install ml_dtypes");
  }
  throw std::logic_error("unknown dtype");
}

DType parse_dtype(const char* op, py::handle value) {
  if (names_bfloat16(value)) return DType::bfloat16;
  const py::dtype d = py::dtype::from_args(py::reinterpret_borrow<py::object>(value));
  for (DType dtype : {DType::float32, DType::float64, DType::int32, DType::int64, DType::uint8}) {
    if (d.equal(numpy_dtype(dtype))) return dtype;
  }
  type_error("[", op, "] dtype must be float32, float64, bfloat16, int32, int64 or uint8; got ",
             py::str(d).cast<std::string>());
}

py::array numpy_view(const Tensor& tensor) {
  const py::dtype dtype = numpy_dtype(tensor.dtype());
  // Bytes hold what has no name on the CPU.
  const Tensor t = tensor.device() == Device::cpu ? tensor : Call::without_gil([&] {
    const bool plain = tensor.dtype() != DType::bfloat16;
    const Tensor host =
        plain ? Tensor::empty(tensor.shape(), tensor.dtype()) : Tensor::empty({tensor.bytes()}, DType::uint8);
    copy_bytes(host.raw(), Device::cpu, tensor.raw(), Device::cuda, static_cast<size_t>(tensor.bytes()));
    return host;
  });
  return numpy_over(t, tensor.shape(), dtype, std::make_unique<Writer>(t));
}

void bind_base(py::module_& m) {
  py::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const TypeError& error) {
      PyErr_SetString(PyExc_TypeError, error.what());
    } catch (const NotImplemented& error) {
      PyErr_SetString(PyExc_NotImplementedError, error.what());
    }
  });

  py::class_<Tensor>(m, "Tensor", "A dense row-major array in the library's own memory.")
      .def(py::init([](const py::object& data, const py::object& dtype) { return make_tensor(data, dtype); }),
           py::arg("data"), py::arg("dtype") = py::none(),
           "Copies an array, nested lists or a DLPack provider. dtype None keeps an array's own dtype; Python "
           "floats become float32.")
      .def_property_readonly("shape", &shape_tuple, "Extents, a tuple of int.")
      .def_property_readonly(
          "dtype",
          [](const Tensor& t) {
            return t.dtype() == DType::bfloat16 ? py::object(py::str(name_of(t.dtype()))) : numpy_dtype(t.dtype());
          },
          "NumPy's dtype; of bfloat16, which NumPy has not, the name \"bfloat16\".")
      .def_property_readonly(
          "device", [](const Tensor& t) { return name_of(t.device()); }, "Where the memory lies: \"cpu\" or \"cuda\".")
      .def_property_readonly(
          "ndim", [](const Tensor& t) { return t.shape().rank(); }, "Number of dimensions.")
      .def_property_readonly("size", &Tensor::size, "Number of elements.")
      .def_property_readonly("nbytes", &Tensor::bytes, "Bytes of the elements.")
      .def("numpy", &numpy_view,
           "A writable NumPy view of the same memory, which it keeps alive; a copy where the tensor is on cuda. Of "
           "bfloat16 an array of ml_dtypes' where that package is there, else a TypeError: use ops.cast.")
      .def("to", &to_device, py::arg("device"), "The tensor on another device; itself where it is there already.")
      .def(
          "_move", [](Tensor& t, const std::string& device) { t = to_device(t, device); }, py::arg("device"),
          "What this object stands for becomes its copy on a device: whoever holds the object goes with it.")
      .def(
          "_part",
          [](const Tensor& t, int64_t begin, int64_t end) {
            if (begin < 0 || begin > end || end > t.size()) {
              value_error("[Tensor] expected 0 <= begin <= end <= ", t.size(), "; got ", begin, " and ", end);
            }
            char* const data = static_cast<char*>(t.raw()) + begin * static_cast<int64_t>(size_of(t.dtype()));
            return Tensor::borrow(data, {end - begin}, t.dtype(), t.owner(), t.device());
          },
          py::arg("begin"), py::arg("end"), "Elements [begin, end) in the order of memory, which they share.")
      .def("reshape", &reshape, "The same memory under another shape; one size may be -1.")
      .def("copy", &copy, "A new tensor with the same elements.")
      .def("fill", &fill, py::arg("value"), "Sets every element.")
      .def("assign", &assign, py::arg("values"),
           "Copies the elements of an array of the same shape and dtype, from either device, into this tensor. Into "
           "bfloat16 those of an array of ml_dtypes' bfloat16, too.")
      .def(
          "item", [](const Tensor& t) { return py::object(readable(t).attr("item")()); },
          "The only element, as a Python number.")
      .def("__array__", &to_array, py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def("__dlpack__", &to_dlpack)
      .def("__dlpack_device__",
           [](const Tensor& t) { return py::make_tuple(t.device() == Device::cuda ? kDlpackCuda : kDlpackCpu, 0); })
      .def_property_readonly(
          "_version",
          [](const Tensor& t) {
            const OwnMemory* const memory = memory_of(t);
            return memory != nullptr ? memory->version() : 0;
          },
          "How often somebody had the right to write to the memory; 0 on cuda.")
      .def_property_readonly(
          "_kept_bytes",
          [](const Tensor& t) {
            const OwnMemory* const memory = memory_of(t);
            return memory != nullptr ? memory->kept_bytes() : 0;
          },
          "Of filters that are kept beside the memory.")
      .def_property_readonly(
          "_address", [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.raw()); }, "Of the first byte.")
      .def_property_readonly("__cuda_array_interface__", &cuda_array_interface)
      .def("__len__",
           [](const Tensor& t) {
             if (t.shape().rank() == 0) type_error("[Tensor] a tensor without dimensions has no length");
             return t.shape()[0];
           })
      .def("__repr__", &repr);

  m.def("empty", [](const py::object& shape, const py::object& dtype, const std::string& device) {
    Call call("empty");
    return Tensor::empty(call.shape("shape", shape), parse_dtype("empty", dtype), parse_device("empty", device));
  });
  m.def("zeros", [](const py::object& shape, const py::object& dtype, const std::string& device) {
    Call call("zeros");
    return Tensor::zeros(call.shape("shape", shape), parse_dtype("zeros", dtype), parse_device("zeros", device));
  });
  m.def("num_threads", &num_threads);
  m.def("set_num_threads",
        [](const py::object& threads) { set_num_threads(parse_int("set_num_threads", "threads", threads)); });
  m.def("isa", [] { return name_of(best_isa(current_arch())); });
  m.def("available_isas", &available_isas);
  m.def("set_isa", &set_isa);
  m.def("allocated_bytes", [](const py::object& size) {
    const int64_t bytes = parse_int("allocated_bytes", "size", size);
    if (bytes < 0 || bytes > (int64_t{1} << 60)) value_error("[allocated_bytes] size must be from 0 to 2**60");
    return allocated_bytes(bytes);
  });
  m.def("memory_stats", &stats_dict);
  m.def("reset_peak_memory", &reset_peak_memory);
  m.def("empty_cache", [] {
    drop_kept_forms();
    empty_cache();
  });
  m.def("set_cache_limit", [](const py::object& bytes) {
    const int64_t limit = parse_int("set_cache_limit", "bytes", bytes);
    if (kept_form_bytes() > limit) drop_kept_forms();
    set_cache_limit(limit);
  });
  m.attr("__version__") = SIXLOOP_VERSION;
  // Reads SIXLOOP_ISA and SIXLOOP_NUM_THREADS, so that a wrong value is an error of the import.
  (void)current_arch();
  (void)num_threads();
  (void)l2_bytes();  // a child forked while another thread asks for the first time would wait for it for ever
}

}  // namespace sixloop
