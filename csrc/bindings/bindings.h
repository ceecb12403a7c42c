// What every bind_<op>.cc uses: arrays in, arrays out, and the parsing of small arguments. A binding
// parses, releases the GIL, calls the op and wraps the result; the op validates.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <list>
#include <optional>
#include <string>

#include "base/own_memory.h"
#include "base/tensor.h"
#include "base/window.h"
#include "cuda/dry_run.h"
#include "elementwise/activation.h"
#include "gemm/precision.h"

namespace sixloop {

namespace py = pybind11;

// Runs its block without the GIL. py::gil_scoped_release would abort the process where a daemon thread comes
// back while the interpreter shuts down.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease();
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

// Where an op has kernels.
enum class Devices { cpu, all };

// The arrays of one call. NumPy in gives NumPy out; any Tensor in gives Tensors out. All arrays lie on one device, and
// on a GPU only where the op says so: here is the one place that checks it.
class Call {
 public:
  explicit Call(const char* op, Devices devices = Devices::cpu) : op_(op), devices_(devices) {}
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // A Tensor, a NumPy array (without a copy where it is dense, aligned and of native byte order) or a DLPack provider,
  // whose memory on a GPU must be dense.
  Tensor array(const char* name, py::handle value);
  std::optional<Tensor> optional_array(const char* name, py::handle value);
  // An array that the op writes to: it must be writable and dense, since a copy would lose the result.
  Tensor output_array(const char* name, py::handle value);

  // Runs the op without the GIL and wraps its result.
  template <class F>
  py::object run(F&& f) const {
    return wrap(without_gil(f));
  }
  py::object wrap(const Tensor& t) const;

  template <class F>
  static auto without_gil(F&& f) {
    GilRelease release;
    return f();
  }

  // int or (h, w).
  std::array<int64_t, 2> pair(const char* name, py::handle value) const;
  // None or the name of an activation function.
  Activation activation(py::handle value) const;
  // "fp32" or "tf32".
  Precision precision(py::handle value) const;
  // A tuple or list of whole numbers.
  Shape shape(const char* name, py::handle value) const;

  const char* op() const { return op_; }

 private:
  Tensor parse(const char* name, py::handle value);

  const char* op_;
  Devices devices_;
  bool any_tensor_ = false;
  bool foreign_gpu_ = false;  // somebody else's memory on the GPU is among the arrays
  std::string first_;         // the first array's name
  std::list<Writer> writers_;
  Device device_ = Device::cpu;
};

// The memory of a NumPy array as it lies, where it is dense, aligned, and of a dtype and rank that a Tensor has.
std::optional<Tensor> borrow_numpy(py::handle value);
// A writable NumPy array over the memory of t, which it keeps alive. A tensor on the GPU is copied. Of bfloat16 only
// where the package ml_dtypes gives NumPy that dtype, else a TypeError.
py::array numpy_view(const Tensor& t);

constexpr int kDlpackCpu = 1, kDlpackCuda = 2;  // numbers of DLPack's devices
// DLPack for memory on the GPU; NumPy does it for memory of the CPU.
bool is_on_cuda(py::handle dlpack_provider);
Tensor from_dlpack_cuda(const char* op, const char* name, py::handle provider);
// `stream` is what the consumer's __dlpack__(stream=) said.
py::capsule to_dlpack_cuda(const Tensor& t, py::handle stream, bool versioned);
py::dtype numpy_dtype(DType dtype);
// What NumPy takes for a dtype, or "bfloat16" (of ml_dtypes, too).
DType parse_dtype(const char* op, py::handle value);

// A whole number that fits into 64 bits; numpy integers count, bool and float do not.
int64_t parse_int(const char* op, const char* name, py::handle value);
// A number; bool and str do not count.
double parse_float(const char* op, const char* name, py::handle value);
// Python's or NumPy's True or False.
bool parse_bool(const char* op, const char* name, py::handle value);

// The window of a convolution or pooling over an input of input_h x input_w: strides and dilation are an int or
// (h, w), padding is an int, (h, w), ((top, bottom), (left, right)), "valid" or "same".
Window parse_window(const Call& call, std::array<int64_t, 2> kernel, py::handle strides, py::handle padding,
                    py::handle dilation, int64_t input_h, int64_t input_w);

// (major, minor), or None.
std::optional<cuda::Capability> parse_capability(const char* op, py::handle value);
// (algorithm, reason, method, launches, scratch bytes); a launch is (kernel, (m, n, k) or None, parts, blocks, threads,
// bytes of shared memory, count).
py::tuple tuple_of(const cuda::Plan& plan);

void bind_base(py::module_& m);
void bind_conv2d(py::module_& m);
void bind_cuda(py::module_& m);
void bind_elementwise(py::module_& m);
void bind_gemm(py::module_& m);
void bind_optimizer(py::module_& m);
void bind_random(py::module_& m);
void bind_window(py::module_& m);
void bind_pool2d(py::module_& m);
void bind_softmax(py::module_& m);
void bind_norm(py::module_& m);

}  // namespace sixloop
