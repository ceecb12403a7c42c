// Memory that the library owns, and what may be kept beside it: forms of its contents that take time to make, such as
// the transformed filters of a convolution. A form serves until somebody may write to the memory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "base/allocator.h"
#include "base/tensor.h"

namespace sixloop {

// Which form: of what lies at `source`, for which kernel, and the sizes that its layout follows from.
struct FormKey {
  const void* source = nullptr;
  const void* kernel = nullptr;
  std::array<int64_t, 3> sizes{};

  bool operator==(const FormKey&) const = default;
};

class Form {
 public:
  Form(const FormKey& form_key, int64_t bytes) : key(form_key), allocated(allocated_bytes(bytes)), data_(bytes) {}

  const FormKey key;
  const int64_t allocated;  // bytes

  template <class T>
  T* data() {
    return reinterpret_cast<T*>(data_.get());
  }
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(data_.get());
  }

 private:
  Buffer<std::byte> data_;
};

// All functions may be called by several threads at once.
class OwnMemory {
 public:
  explicit OwnMemory(size_t bytes) : bytes_(bytes), data_(allocate(bytes)) {}
  ~OwnMemory();
  OwnMemory(const OwnMemory&) = delete;
  OwnMemory& operator=(const OwnMemory&) = delete;

  void* data() const { return data_; }
  // How often somebody had the right to write.
  uint64_t version() const { return version_; }

  // In between the contents may change: what was kept is dropped, nothing is kept or found.
  void begin_write() noexcept;
  void end_write() noexcept;

  struct Found {
    std::shared_ptr<const Form> form;
    // Where there is none, but one of this key may be kept: for keep().
    std::optional<uint64_t> version;
  };
  // One form is kept. Another one takes its place when it is asked for twice in a row: batches of another size now and
  // then leave it alone.
  Found find(const FormKey& key, int64_t bytes);
  // Unless somebody wrote, or might have, since find() gave the version.
  void keep(std::shared_ptr<const Form> form, uint64_t version);
  void drop() noexcept;
  // Bytes of the form.
  int64_t kept_bytes() const;

 private:
  friend int64_t kept_form_bytes();
  friend void drop_kept_forms() noexcept;

  std::shared_ptr<const Form> unlink() noexcept;  // with the lock

  const size_t bytes_;
  void* const data_;
  std::atomic<uint64_t> version_{0};
  std::atomic<int64_t> writers_{0};
  std::atomic<bool> has_form_{false};
  // Under the lock of all memories:
  std::shared_ptr<const Form> form_;
  FormKey wanted_;                 // asked for last, in vain
  OwnMemory* previous_ = nullptr;  // of those with a form
  OwnMemory* next_ = nullptr;
};

// The owner of a tensor's memory, for Tensor::owner().
std::shared_ptr<void> new_own_memory(size_t bytes);
// The library's own memory on the CPU, all or a part of which a tensor is; null for any other.
OwnMemory* memory_of(const Tensor& t);

// The right to write to a tensor's memory, as long as this lives; whoever writes to what is not new has one.
class Writer {
 public:
  explicit Writer(Tensor tensor) : tensor_(std::move(tensor)), memory_(memory_of(tensor_)) {
    if (memory_ != nullptr) memory_->begin_write();
  }
  ~Writer() {
    if (memory_ != nullptr) memory_->end_write();
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

 private:
  Tensor tensor_;
  OwnMemory* memory_;
};

// Bytes of all forms that are kept, as allocated; they are bounded by the allocator's limit for its cache.
int64_t kept_form_bytes();
void drop_kept_forms() noexcept;

// The form of this key that is kept beside `memory`, made by make(form's elements) if it was not there; null if none
// may be kept, or `memory` is null.
template <class T, class Make>
std::shared_ptr<const Form> kept_form(OwnMemory* memory, const FormKey& key, int64_t elements, const Make& make) {
  if (memory == nullptr) return nullptr;
  const int64_t bytes = elements * static_cast<int64_t>(sizeof(T));
  OwnMemory::Found found = memory->find(key, bytes);
  if (!found.version) return found.form;
  std::shared_ptr<Form> form;
  try {
    form = std::make_shared<Form>(key, bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
  make(form->data<T>());
  memory->keep(form, *found.version);
  return form;
}

}  // namespace sixloop
