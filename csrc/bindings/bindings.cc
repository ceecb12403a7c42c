#include "bindings/bindings.h"

#include <unistd.h>

#if defined(__GLIBCXX__)
#include <cxxabi.h>
#endif

#include "base/error.h"
#include "cuda/runtime.h"

namespace sixloop {
namespace {

std::string type_name(py::handle value) { return Py_TYPE(value.ptr())->tp_name; }

// A reference that may be dropped on a thread without the GIL.
std::shared_ptr<void> keep_alive(py::handle object) {
  return std::shared_ptr<void>(object.inc_ref().ptr(), [](void* p) {
    py::gil_scoped_acquire gil;
    py::handle(static_cast<PyObject*>(p)).dec_ref();
  });
}

std::optional<DType> native_dtype(const py::array& a) {
  const py::dtype d = a.dtype();
  if (d.byteorder() != '=' && d.byteorder() != '|') return std::nullopt;
  const char kind = d.kind();
  const auto size = d.itemsize();
  if (kind == 'f' && size == 4) return DType::float32;
  if (kind == 'f' && size == 8) return DType::float64;
  if (kind == 'i' && size == 4) return DType::int32;
  if (kind == 'i' && size == 8) return DType::int64;
  if (kind == 'u' && size == 1) return DType::uint8;
  return std::nullopt;
}

bool is_dense(const py::array& a) {
  constexpr int kNeeded = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  return (a.flags() & kNeeded) == kNeeded;
}

Tensor borrow(const py::array& a, DType dtype) {
  int64_t dims[Shape::kMaxRank];
  for (py::ssize_t i = 0; i < a.ndim(); ++i) dims[i] = a.shape(i);
  return Tensor::borrow(const_cast<void*>(a.data()), Shape(dims, static_cast<int>(a.ndim())), dtype, keep_alive(a));
}

Tensor from_numpy(const char* op, const char* name, py::array a) {
  const std::optional<DType> dtype = native_dtype(a);
  if (!dtype) {
    type_error("[", op, "] ", name, " must be a float32 or float64 array of native byte order; got dtype ",
               py::str(a.dtype()).cast<std::string>());
  }
  if (a.ndim() > Shape::kMaxRank) {
    value_error("[", op, "] ", name, " has too many dimensions; at most ", Shape::kMaxRank, " are supported, got ",
                a.ndim());
  }
  if (!is_dense(a)) a = py::module_::import("numpy").attr("require")(a, py::none(), "CA");
  return borrow(a, *dtype);
}

}  // namespace

std::optional<Tensor> borrow_numpy(py::handle value) {
  if (!py::isinstance<py::array>(value)) return std::nullopt;
  const auto a = py::reinterpret_borrow<py::array>(value);
  if (a.ndim() > Shape::kMaxRank || !is_dense(a)) return std::nullopt;
  const std::optional<DType> dtype = native_dtype(a);
  if (!dtype) return std::nullopt;
  return borrow(a, *dtype);
}

GilRelease::~GilRelease() {
#if defined(__GLIBCXX__)
  try {
    PyEval_RestoreThread(state_);
  } catch (const abi::__forced_unwind&) {
    // Python before 3.14 ends this thread by pthread_exit(), whose unwinding would leave this destructor and
    // drop references without the GIL. Python 3.14 lets such threads hang until the process is gone.
    for (;;) pause();
  }
#else
  PyEval_RestoreThread(state_);
#endif
}

Call::~Call() {
  // Who owns the memory will use it again, most likely in the order of the default stream.
  if (!foreign_gpu_) return;
  try {
    cuda::make_stream_wait(1);
  } catch (const std::exception&) {
    // The op itself failed by the same cause, and its error is on the way.
  }
}

Tensor Call::array(const char* name, py::handle value) {
  const Tensor t = parse(name, value);
  if (first_.empty()) {
    first_ = name;
    device_ = t.device();
  } else if (t.device() != device_) {
    value_error("[", op_, "] all arrays must be on one device: ", first_, " is on ", name_of(device_), ", ", name,
                " on ", name_of(t.device()));
  }
  if (t.device() == Device::cuda && devices_ == Devices::cpu) {
    throw NotImplemented(message("[", op_, "] has no CUDA kernel yet; ", name, " is on cuda: use its .to(\"cpu\")"));
  }
  return t;
}

Tensor Call::parse(const char* name, py::handle value) {
  // isinstance and cast would each look the type up.
  if (py::detail::make_caster<Tensor> tensor; tensor.load(value, false)) {
    any_tensor_ = true;
    return py::detail::cast_op<const Tensor&>(tensor);
  }
  if (py::isinstance<py::array>(value)) return from_numpy(op_, name, py::reinterpret_borrow<py::array>(value));
  if (py::hasattr(value, "__dlpack__")) {
    any_tensor_ = true;
    if (is_on_cuda(value)) {
      foreign_gpu_ = true;
      return from_dlpack_cuda(op_, name, value);
    }
    py::object converted;
    try {
      converted = py::module_::import("numpy").attr("from_dlpack")(value);
    } catch (py::error_already_set& error) {
      type_error("[", op_, "] ", name, " could not be read through DLPack: ", error.what());
    }
    return from_numpy(op_, name, converted.cast<py::array>());
  }
  type_error("[", op_, "] ", name, " must be a sixloop.Tensor, a NumPy array or a DLPack provider; got ",
             type_name(value));
}

std::optional<Tensor> Call::optional_array(const char* name, py::handle value) {
  if (value.is_none()) return std::nullopt;
  return array(name, value);
}

Tensor Call::output_array(const char* name, py::handle value) {
  if (py::isinstance<py::array>(value)) {
    const auto a = py::reinterpret_borrow<py::array>(value);
    if (!a.writeable() || !is_dense(a)) {
      value_error("[", op_, "] ", name, " is written in place: it must be a writable, dense, aligned array");
    }
  } else if (!py::isinstance<Tensor>(value)) {
    type_error("[", op_, "] ", name, " is written in place: it must be a sixloop.Tensor or a NumPy array; got ",
               type_name(value));
  }
  Tensor t = array(name, value);
  writers_.emplace_back(t);
  return t;
}

py::object Call::wrap(const Tensor& t) const {
  if (any_tensor_) return py::cast(t);
  return numpy_view(t);
}

int64_t parse_int(const char* op, const char* name, py::handle value) {
  if (PyBool_Check(value.ptr()) || !PyIndex_Check(value.ptr())) {
    type_error("[", op, "] ", name, " must be a whole number; got ", py::repr(value).cast<std::string>());
  }
  const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long result = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) {
    value_error("[", op, "] ", name, " must fit into 64 bits; got ", py::str(index).cast<std::string>());
  }
  return result;
}

double parse_float(const char* op, const char* name, py::handle value) {
  if (!PyBool_Check(value.ptr()) && PyNumber_Check(value.ptr())) {
    const double result = PyFloat_AsDouble(value.ptr());
    if (!PyErr_Occurred()) return result;
    const bool too_large = PyErr_ExceptionMatches(PyExc_OverflowError);
    PyErr_Clear();
    if (too_large) {
      value_error("[", op, "] ", name, " must fit into a double; got ", py::repr(value).cast<std::string>());
    }
  }
  type_error("[", op, "] ", name, " must be a number; got ", py::repr(value).cast<std::string>());
}

bool parse_bool(const char* op, const char* name, py::handle value) {
  try {
    if (PyBool_Check(value.ptr()) || py::hasattr(value, "dtype")) return value.cast<bool>();
  } catch (const py::cast_error&) {
    // The message below has the name and the value.
  }
  type_error("[", op, "] ", name, " must be True or False; got ", py::repr(value).cast<std::string>());
}

std::array<int64_t, 2> Call::pair(const char* name, py::handle value) const {
  if (py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value)) {
    const auto items = py::reinterpret_borrow<py::sequence>(value);
    if (items.size() != 2) {
      value_error("[", op_, "] ", name, " must be a whole number or a pair (h, w); got ",
                  py::repr(value).cast<std::string>());
    }
    return {parse_int(op_, name, items[0]), parse_int(op_, name, items[1])};
  }
  if (PyBool_Check(value.ptr()) || !PyIndex_Check(value.ptr())) {
    type_error("[", op_, "] ", name, " must be a whole number or a pair (h, w); got ",
               py::repr(value).cast<std::string>());
  }
  const int64_t both = parse_int(op_, name, value);
  return {both, both};
}

Activation Call::activation(py::handle value) const {
  if (value.is_none()) return Activation::none;
  if (!py::isinstance<py::str>(value)) {
    type_error("[", op_, "] activation must be None or a name; got ", py::repr(value).cast<std::string>());
  }
  return parse_activation(op_, value.cast<std::string>());
}

Precision Call::precision(py::handle value) const {
  if (!py::isinstance<py::str>(value)) {
    type_error("[", op_, "] precision must be a name; got ", py::repr(value).cast<std::string>());
  }
  return parse_precision(op_, value.cast<std::string>());
}

Shape Call::shape(const char* name, py::handle value) const {
  if (!py::isinstance<py::tuple>(value) && !py::isinstance<py::list>(value)) {
    type_error("[", op_, "] ", name, " must be a tuple of whole numbers; got ", py::repr(value).cast<std::string>());
  }
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  if (items.size() > static_cast<size_t>(Shape::kMaxRank)) {
    value_error("[", op_, "] ", name, " has too many dimensions; at most ", Shape::kMaxRank, " are supported, got ",
                items.size());
  }
  int64_t dims[Shape::kMaxRank];
  for (size_t i = 0; i < items.size(); ++i) {
    dims[i] = parse_int(op_, name, items[i]);
    if (dims[i] < 0) {
      value_error("[", op_, "] ", name, " must not have negative sizes; got ", py::repr(value).cast<std::string>());
    }
  }
  return Shape(dims, static_cast<int>(items.size()));
}

std::optional<cuda::Capability> parse_capability(const char* op, py::handle value) {
  if (value.is_none()) return std::nullopt;
  const bool is_pair = (py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value)) && py::len(value) == 2;
  if (!is_pair) {
    type_error("[", op, "] capability must be a pair (major, minor); got ", py::repr(value).cast<std::string>());
  }
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  return cuda::Capability{parse_int(op, "capability", items[0]), parse_int(op, "capability", items[1])};
}

py::tuple tuple_of(const cuda::Plan& plan) {
  py::list launches;
  for (const cuda::LaunchNote& launch : plan.launches) {
    const auto& tile = launch.tile;
    const py::object sizes = tile ? py::object(py::make_tuple(tile->m, tile->n, tile->k)) : py::object(py::none());
    launches.append(py::make_tuple(launch.kernel, sizes, tile ? tile->parts : 1, launch.blocks, launch.threads,
                                   launch.shared_bytes, launch.count));
  }
  return py::make_tuple(plan.algorithm, plan.reason, plan.method, launches, plan.scratch);
}

}  // namespace sixloop
