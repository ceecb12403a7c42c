// DLPack (https://dmlc.github.io/dlpack) for memory on the GPU, both ways.
#include <memory>

#include "base/error.h"
#include "bindings/bindings.h"
#include "cuda/runtime.h"

namespace sixloop {
namespace {

// The structures of dlpack.h, whose layout is the protocol.
struct DlDevice {
  int32_t type;
  int32_t id;
};
struct DlType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DlTensor {
  void* data;
  DlDevice device;
  int32_t rank;
  DlType type;
  int64_t* shape;
  int64_t* strides;  // in elements; null where dense
  uint64_t byte_offset;
};
struct DlManaged {
  DlTensor tensor;
  void* context;
  void (*deleter)(DlManaged*);
};
struct DlManagedVersioned {
  uint32_t major;
  uint32_t minor;
  void* context;
  void (*deleter)(DlManagedVersioned*);
  uint64_t flags;
  DlTensor tensor;
};

constexpr const char* kName = "dltensor";
constexpr const char* kUsedName = "used_dltensor";
constexpr const char* kVersionedName = "dltensor_versioned";
constexpr const char* kUsedVersionedName = "used_dltensor_versioned";

enum TypeCode : uint8_t { kInt = 0, kUnsigned = 1, kFloat = 2, kBrain = 4 };

struct TypeRow {
  DType dtype;
  TypeCode code;
};
constexpr TypeRow kTypes[] = {{DType::float32, kFloat}, {DType::float64, kFloat},  {DType::int32, kInt},
                              {DType::int64, kInt},     {DType::uint8, kUnsigned}, {DType::bfloat16, kBrain}};

Tensor view(const char* op, const char* name, const DlTensor& t, const std::shared_ptr<void>& owner) {
  if (t.device.type != kDlpackCuda || t.device.id != 0) {
    value_error("[", op, "] ", name, " must be on the first CUDA device; got DLPack device (", t.device.type, ", ",
                t.device.id, ")");
  }
  const TypeRow* type = nullptr;
  for (const TypeRow& row : kTypes) {
    if (row.code == t.type.code && 8 * size_of(row.dtype) == t.type.bits && t.type.lanes == 1) type = &row;
  }
  if (type == nullptr) {
    type_error("[", op, "] ", name, " must be float32, float64, bfloat16, int32, int64 or uint8; got DLPack type code ",
               int{t.type.code}, " with ", int{t.type.bits}, " bits");
  }
  if (t.rank > Shape::kMaxRank) {
    value_error("[", op, "] ", name, " has too many dimensions; at most ", Shape::kMaxRank, " are supported, got ",
                t.rank);
  }
  const Shape shape(t.shape, t.rank);
  if (t.strides != nullptr) {
    int64_t dense = 1;
    for (int i = t.rank - 1; i >= 0; --i) {
      if (shape[i] != 1 && shape.size() != 0 && t.strides[i] != dense) {
        value_error("[", op, "] ", name, " must be dense and row-major on cuda; got shape ", shape, " with stride ",
                    t.strides[i], " along axis ", i, ": make a contiguous copy first");
      }
      dense *= shape[i];
    }
  }
  return Tensor::borrow(static_cast<char*>(t.data) + t.byte_offset, shape, type->dtype, owner, Device::cuda);
}

// Gives somebody else's tensor back, with the GIL, which its deleter may need.
template <class Managed>
std::shared_ptr<void> owner_of(Managed* managed) {
  return std::shared_ptr<void>(managed, [](void* p) {
    auto* const m = static_cast<Managed*>(p);
    if (m->deleter == nullptr) return;
    py::gil_scoped_acquire gil;
    m->deleter(m);
  });
}

struct Export {
  Tensor tensor;
  int64_t shape[Shape::kMaxRank];
  int64_t strides[Shape::kMaxRank];
  int64_t stream;
  DlManaged plain;
  DlManagedVersioned versioned;

  static void end(void* context) {
    auto* const self = static_cast<Export*>(context);
    cuda::take_back_from_stream(self->stream);
    delete self;
  }
};

// A capsule that nobody took.
void drop(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, kName) != 0) {
    auto* const m = static_cast<DlManaged*>(PyCapsule_GetPointer(capsule, kName));
    m->deleter(m);
  } else if (PyCapsule_IsValid(capsule, kVersionedName) != 0) {
    auto* const m = static_cast<DlManagedVersioned*>(PyCapsule_GetPointer(capsule, kVersionedName));
    m->deleter(m);
  }
}

}  // namespace

bool is_on_cuda(py::handle provider) {
  if (py::isinstance<Tensor>(provider)) return provider.cast<Tensor>().device() == Device::cuda;
  if (py::isinstance<py::array>(provider) || !py::hasattr(provider, "__dlpack_device__")) return false;
  try {
    return provider.attr("__dlpack_device__")().cast<py::tuple>()[0].cast<int>() == kDlpackCuda;
  } catch (const std::exception&) {
    return false;  // reading it will fail, too, with an error that names the argument
  }
}

Tensor from_dlpack_cuda(const char* op, const char* name, py::handle provider) {
  if (!cuda::available()) {
    throw std::runtime_error(message("[", op, "] ", name, " is on cuda, which is not available: ", cuda::why()));
  }
  // The provider makes this stream wait for what it has under way.
  py::object capsule;
  try {
    capsule = provider.attr("__dlpack__")(py::arg("stream") = cuda::stream_number());
  } catch (py::error_already_set& error) {
    type_error("[", op, "] ", name, " could not be read through DLPack: ", error.what());
  }
  if (PyCapsule_IsValid(capsule.ptr(), kName) != 0) {
    auto* const m = static_cast<DlManaged*>(PyCapsule_GetPointer(capsule.ptr(), kName));
    PyCapsule_SetName(capsule.ptr(), kUsedName);
    return view(op, name, m->tensor, owner_of(m));
  }
  if (PyCapsule_IsValid(capsule.ptr(), kVersionedName) != 0) {
    auto* const m = static_cast<DlManagedVersioned*>(PyCapsule_GetPointer(capsule.ptr(), kVersionedName));
    PyCapsule_SetName(capsule.ptr(), kUsedVersionedName);
    return view(op, name, m->tensor, owner_of(m));
  }
  type_error("[", op, "] ", name, ": __dlpack__ gave no capsule of DLPack");
}

py::capsule to_dlpack_cuda(const Tensor& t, py::handle stream, bool versioned) {
  // The protocol: None is the legacy default stream, -1 asks for no order, 0 has two meanings and is not allowed.
  const int64_t number = stream.is_none() ? 1 : parse_int("Tensor", "stream", stream);
  if (number == 0 || number < -1) {
    value_error("[Tensor] __dlpack__(stream=): None, -1, 1, 2 or the handle of a stream; got ", number);
  }
  if (number > 0) cuda::make_stream_wait(static_cast<uintptr_t>(number));
  auto self = std::make_unique<Export>();
  self->tensor = t;
  self->stream = number;
  int64_t stride = 1;
  for (int i = t.shape().rank() - 1; i >= 0; --i) {
    self->shape[i] = t.shape()[i];
    self->strides[i] = stride;
    stride *= t.shape()[i];
  }
  DlTensor tensor{};
  tensor.data = t.raw();
  tensor.device = {kDlpackCuda, 0};
  tensor.rank = t.shape().rank();
  for (const TypeRow& row : kTypes) {
    if (row.dtype == t.dtype()) tensor.type = {row.code, static_cast<uint8_t>(8 * size_of(row.dtype)), 1};
  }
  tensor.shape = self->shape;
  tensor.strides = self->strides;
  self->plain = {tensor, self.get(), [](DlManaged* m) { Export::end(m->context); }};
  self->versioned = {1, 0, self.get(), [](DlManagedVersioned* m) { Export::end(m->context); }, 0, tensor};
  void* const managed = versioned ? static_cast<void*>(&self->versioned) : static_cast<void*>(&self->plain);
  PyObject* const capsule = PyCapsule_New(managed, versioned ? kVersionedName : kName, &drop);
  if (capsule == nullptr) throw py::error_already_set();
  (void)self.release();
  return py::reinterpret_steal<py::capsule>(capsule);
}

}  // namespace sixloop
